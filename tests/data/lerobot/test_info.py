"""`salus dataset export` and `salus dataset info` as a user calls them, also on folders that are damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorded import bag_run, make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.lerobot.dataset_info import read_info

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
INFO = "meta/info.json"


def salus(*arguments: object) -> int:
    return main(["dataset", *map(str, arguments)])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    good = [make_episode(5, decisions=3), make_episode(8, decisions=2, outcome=Outcome.DROP)]
    runs = [rollout_run(folder, "a", good), bag_run(folder, "b", [make_episode(6)], decisions=9)]
    assert salus("export", *runs, "--out", folder / "set", "--outcomes", "SUCCESS,DROP", "--workers", "1") == 0
    return folder / "set"


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "set"))


def test_export_says_what_it_made_and_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unplanned = np.full_like(make_episode(0).planned, np.nan)
    runs = [
        rollout_run(tmp_path, "a", [make_episode(1), make_episode(2, outcome=Outcome.MISS)]),
        rollout_run(tmp_path, "b", [make_episode(seed, planned=unplanned) for seed in range(6)]),
    ]
    options = ["--action", "planned", "--repo-id", "me/cubes"]
    assert salus("export", *runs, "--out", tmp_path / "set", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'set'}: 1 episodes, 4 frames; left out: 6 not complete, 1 outcome MISS"
    assert lines[1] == "not complete: seed_000000 of b: decision 0 has no plan that is finite"
    assert lines[6:] == [
        "not complete: 1 more",
        f"lerobot-train --dataset.repo_id=me/cubes --dataset.root={tmp_path / 'set'}",
    ]


def test_info_shows_what_is_in_it(
    dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert salus("info", dataset) == 0
    text = capsys.readouterr().out
    size = sum(file.stat().st_size for file in dataset.rglob("*") if file.is_file()) / 2**20
    for expected in (
        f"{dataset}, LeRobotDataset v3.0, {size:.1f} MiB",
        "episodes  2",
        "5 at 10 Hz, 0.5 s",
        "2 pick up the red cube",
        "1 SUCCESS, 1 DROP",
        "2 train",
        "5 to 8, 2 different",
        "16 x 16 x 3",
    ):
        assert expected in text, expected


def test_info_reads_data_sets_of_others(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pq.read_table(copied / EPISODES)
    pq.write_table(table.select([name for name in table.column_names if "salus/" not in name]), copied / EPISODES)
    assert salus("info", copied) == 0
    assert read_info(copied).episodes[0].seed is None
    assert "seeds     -" in capsys.readouterr().out


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert salus("info", tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"salus: error: {tmp_path}: is not a LeRobotDataset: {tmp_path / INFO} cannot be read")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("command", [[], ["export"], ["info"]], ids=["dataset", "export", "info"])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        salus(*command, "--help")
    assert exit_.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.parametrize("names", ["", "LUCK", "SUCCESS,ABORTED", "RUNNING", "success"])
def test_outcomes_that_cannot_be_exported_are_refused(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        salus("export", "run", "--out", "set", "--outcomes", names)
    assert exit_.value.code == 2
    assert "expected one of SUCCESS, COLLISION, DROP, MISS, TIMEOUT" in capsys.readouterr().err


# -- damage ------------------------------------------------------------------------------------------------------------


def edited(folder: Path, **changes: object) -> None:
    info = json.loads((folder / INFO).read_text())
    (folder / INFO).write_text(json.dumps(info | changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fps": 0}, f"{INFO}: fps: Input should be greater than 0"),
        ({"codebase_version": "v2.1"}, f"{INFO}: codebase_version is 'v2.1', expected v3.x"),
        ({"total_frames": 7}, f"{INFO}: total_frames is 7, .*meta/episodes has 5"),
        ({"total_episodes": 1}, f"{INFO}: total_episodes is 1, .*meta/episodes has 2"),
        ({"features": {"action": {"dtype": "float32"}}}, f"{INFO}: features.action.shape: Field required"),
    ],
)
def test_metadata_that_are_wrong_are_named(copied: Path, changes: dict[str, object], text: str) -> None:
    edited(copied, **changes)
    with pytest.raises(DatasetError, match=text):
        read_info(copied)


def test_rows_without_a_length_are_named(copied: Path) -> None:
    pq.write_table(pa.table({"salus/seed": [1, 2]}), copied / EPISODES)
    with pytest.raises(DatasetError, match=f"{copied / EPISODES}: a row lacks length or tasks"):
        read_info(copied)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_gives_what_is_in_it_or_an_error_that_names_it(copied: Path, data: st.DataObject) -> None:
    file = copied / data.draw(st.sampled_from((INFO, EPISODES)))
    intact = file.read_bytes()
    at = data.draw(st.integers(0, len(intact) - 1))
    damaged = intact[:at] + data.draw(st.binary(max_size=8)) + intact[at + data.draw(st.integers(0, 8)) :]
    refusal: str | None = None
    try:
        file.write_bytes(damaged[: data.draw(st.sampled_from((len(damaged), at)))])
        assert len(read_info(copied).episodes) == 2
    except DatasetError as error:
        refusal = str(error)
    finally:
        file.write_bytes(intact)
    assert refusal is None or str(copied) in refusal
