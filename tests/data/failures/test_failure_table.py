"""The failure table: what goes in comes out, aligned by stamps; damage, mixtures and reserved seeds are refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from salus_vla.cli.main import main
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.failures import failure_table
from salus_vla.data.failures.failure_table import read_tables
from salus_vla.data.failures.make_table import make_failure_table
from salus_vla.data.failures.split import Part, part_of
from salus_vla.data.rollouts.rollout_store import StoredEpisode
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS
from salus_vla.safety.prediction.state_basis import StateBasis
from synthetic import rollout_run, stored

DECISIONS = 8
FRAMES = 5 * DECISIONS + 1
HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])


def recorded(seed: int, outcome: Outcome = Outcome.SUCCESS, **changes: Any) -> StoredEpisode:
    """An episode in which every number can be told: joint 0 moves by 0.01 rad a frame, the gripper stays wide open."""
    random = np.random.default_rng(seed)
    position = np.tile(np.append(HOME, [0.04, 0.04]), (FRAMES, 1))
    position[:, 0] += 0.01 * np.arange(FRAMES)
    tool, rotation = tool_poses(position[:, :7])
    cube = tool + np.einsum("nij,j->ni", rotation, [0.001, 0.002, 0.003])
    commands = position[:-1].copy()
    commands[:, 0] += 0.05
    values: dict[str, Any] = {
        "frame_position": position,
        "frame_velocity": np.full((FRAMES, 9), 0.5, dtype=np.float32),
        "frame_effort": np.tile(np.arange(9, dtype=np.float32), (FRAMES, 1)),
        "commands": commands,
        "cube_pose": np.concatenate([cube, np.tile([0.0, 0.0, 0.0, 1.0], (FRAMES, 1))], axis=1),
        "holding": (np.arange(FRAMES) >= 20).astype(np.uint8),
        "expert_state": random.normal(size=(DECISIONS + 1, 6)).astype(np.float32),
        "prefix_parts": random.normal(size=(DECISIONS + 1, 4, 3)).astype(np.float32),
    }
    return stored(seed, outcome, decisions=DECISIONS, **(values | changes))


def made(out: Path, *episodes: StoredEpisode, **options: Any) -> failure_table.FailureTable:
    run = rollout_run(out, "run", episodes)
    return read_tables(make_failure_table([run], out / "F.parquet", **options).files)


def test_rows_are_aligned_by_stamps(tmp_path: Path) -> None:
    table = made(tmp_path, recorded(1), recorded(2, Outcome.DROP))
    assert (len(table), table.episodes) == (2 * DECISIONS, 2)
    assert table.texts["outcome"].tolist() == ["SUCCESS"] * DECISIONS + ["DROP"] * DECISIONS
    np.testing.assert_allclose(table.times["time_s"][:DECISIONS], 0.1 * np.arange(DECISIONS), atol=1e-6)
    np.testing.assert_allclose(table.times["event_s"], 0.1 * DECISIONS, atol=1e-6)
    position = table.lists["position"].reshape(len(table), 5, 9)
    assert np.isnan(position[0, :4]).all()  # before the first observation
    moved = 0.01 * np.arange(FRAMES)
    for decision in range(1, DECISIONS):
        np.testing.assert_allclose(position[decision, :, 0], moved[5 * decision - 4 : 5 * decision + 1], atol=1e-3)
    error = table.lists["error"].reshape(len(table), 5, 9)
    np.testing.assert_allclose(error[1:DECISIONS, :, 0], 0.04, atol=1e-3)  # told 0.05 more, a frame before
    np.testing.assert_allclose(error[1:DECISIONS, :, 1:], 0.0, atol=1e-6)
    np.testing.assert_array_equal(table.lists["effort"].reshape(-1, 5, 9)[3, 0], np.arange(9))
    held = table.lists["held"]
    assert held[3].tolist() == [0.0] * 5  # the frames 11 to 15
    assert held[4].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]  # 16 to 20
    local = table.lists["cube_in_tool"].reshape(-1, 5, 3)
    np.testing.assert_allclose(local[2:DECISIONS], np.broadcast_to([0.001, 0.002, 0.003], (6, 5, 3)), atol=1e-5)


def test_hidden_states_come_back_in_the_basis(tmp_path: Path) -> None:
    episode = recorded(1)
    table = made(tmp_path, episode)
    assert episode.expert_state is not None
    expected = table.basis.expert.apply(episode.expert_state[:DECISIONS])
    found = table.lists["expert"]
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=0.5 / 16 + 1e-6)
    assert np.isnan(found[:, expected.shape[1] :]).all()


def test_when_grasps_went_wrong_is_known(tmp_path: Path) -> None:
    position = np.tile(np.append(HOME, [0.04, 0.04]), (FRAMES, 1))
    position[15:, 7:] = 0.001
    table = made(tmp_path, recorded(1, Outcome.TIMEOUT, frame_position=position))
    np.testing.assert_allclose(table.times["empty_closing_s"], 0.3, atol=1e-6)
    assert np.isnan(table.times["crooked_s"]).all()
    assert np.isnan(table.times["event_s"]).all()  # the end of the clock is no event


def test_what_was_not_recorded_is_nan(tmp_path: Path) -> None:
    bare = recorded(5, holding=None, frame_effort=None, frame_velocity=None, expert_state=None, prefix_parts=None)
    table = made(tmp_path, recorded(1), bare)
    for name in ("held", "effort", "velocity", "expert", "prefix"):
        assert np.isnan(table.lists[name][DECISIONS:]).all(), name
        assert not np.isnan(table.lists[name][1:DECISIONS, 0]).any(), name


def drawn(seed: int) -> StoredEpisode:
    """An episode in which a motion was drawn for its second half, and nothing is told of the terminal decision."""
    chosen = np.zeros(DECISIONS + 1, dtype=np.uint8)
    chosen[4:8], chosen[-1] = CHOICES.index("careful_0.5"), 255
    probability = np.ones(DECISIONS + 1, dtype=np.float32)
    probability[4:8] = 0.25
    failure = np.full((DECISIONS + 1, len(MOTIONS)), np.nan, dtype=np.float32)
    return recorded(seed, chosen=chosen, chosen_probability=probability, motion_failure=failure)


def test_what_interventions_chose_comes_back(tmp_path: Path) -> None:
    table = made(tmp_path, drawn(3), drawn(4))
    assert table.motions is not None
    assert table.motion_probability is not None
    assert table.motions.tolist() == (["plan"] * 4 + ["careful_0.5"] * 4) * 2
    assert table.motion_probability.tolist() == ([1.0] * 4 + [0.25] * 4) * 2


def test_tables_with_and_without_interventions_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    without = made(tmp_path / "a", recorded(1))
    assert without.motions is None
    files = without.files
    run = rollout_run(tmp_path / "b", "run", [drawn(3)])
    with_them = make_failure_table([run], tmp_path / "b" / "F.parquet", basis=files[0]).files
    both = read_tables([*files, *with_them])
    assert both.motions is not None
    assert both.motions.tolist() == ["plan"] * (DECISIONS + 4) + ["careful_0.5"] * 4
    mixed = rollout_run(tmp_path, "mixed", [recorded(5), drawn(6)])
    with pytest.raises(DatasetError, match="has interventions, the runs before have none"):
        make_failure_table([mixed], tmp_path / "M.parquet", basis=files[0])


def test_episodes_that_say_nothing_of_the_policy_are_left_out(tmp_path: Path) -> None:
    taken = {"taken_over_ns": 300_000_000, "taken_over_by": "expert", "taken_over_when": "stuck"}
    run = rollout_run(tmp_path, "run", [recorded(1), recorded(2, Outcome.ABORTED), recorded(3, **taken)])
    result = make_failure_table([run], tmp_path / "F.parquet")
    assert (result.episodes, result.decisions) == (1, DECISIONS)
    assert result.left_out == Counter({"ABORTED": 1, "SUCCESS taken over": 1})


def test_a_table_that_is_too_large_becomes_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rollout_run(tmp_path, "run", [recorded(seed) for seed in range(6)])
    whole = read_tables(make_failure_table([run], tmp_path / "whole.parquet").files)
    size = (tmp_path / "whole.parquet").stat().st_size
    monkeypatch.setattr(failure_table, "LARGEST", size - 1)
    files = make_failure_table([run], tmp_path / "F.parquet").files
    assert [file.name for file in files] == ["F-00.parquet", "F-01.parquet"]
    parts = read_tables(files)
    assert parts.episodes == whole.episodes == 6
    for name, column in whole.lists.items():
        np.testing.assert_array_equal(parts.lists[name], column, err_msg=name)
    np.testing.assert_array_equal(parts.numbers["episode"], whole.numbers["episode"])


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [recorded(seed) for seed in range(3)])
    one, two = (make_failure_table([run], tmp_path / name).files[0] for name in ("a.parquet", "b.parquet"))
    assert one.read_bytes() == two.read_bytes()


# -- what does not go together -----------------------------------------------------------------------------------------


def test_another_ensemble_is_refused_with_both_hashes(tmp_path: Path) -> None:
    runs = [
        rollout_run(tmp_path, "a", [recorded(1)]),
        rollout_run(tmp_path, "b", [recorded(2)], members=("dddd", "eeee")),
    ]
    with pytest.raises(DatasetError, match=r"b: is of the ensemble dddd,eeee, .*a of aaaa,bbbb,cccc"):
        make_failure_table(runs, tmp_path / "F.parquet")
    tables = [make_failure_table([run], tmp_path / f"{run.name}.parquet").files[0] for run in runs]
    with pytest.raises(DatasetError, match=r"b\.parquet: is of the ensemble dddd,eeee"):
        read_tables(tables)
    with pytest.raises(DatasetError, match=r"--basis .*a\.parquet: is of the ensemble aaaa"):
        make_failure_table([runs[1]], tmp_path / "c.parquet", basis=tables[0])


def test_one_basis_for_all_tables_or_a_refusal(tmp_path: Path) -> None:
    runs = [rollout_run(tmp_path, name, [recorded(seed)]) for seed, name in ((1, "a"), (2, "b"))]
    first = make_failure_table([runs[0]], tmp_path / "a.parquet").files[0]
    own = make_failure_table([runs[1]], tmp_path / "own.parquet").files[0]
    with pytest.raises(DatasetError, match=r"another basis .* make it with --basis"):
        read_tables([first, own])
    same = make_failure_table([runs[1]], tmp_path / "same.parquet", basis=first).files[0]
    assert read_tables([first, same]).episodes == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": ()}, "which is no ensemble"),
        ({"seed": 900_000}, "reserved for acceptance"),
        ({"outcome": Outcome.ABORTED}, "no finished episode .*: 1 ABORTED"),
        ({"expert_state": None}, "no episode of the training part"),
        ({"seed": 7}, "no episode of the training part"),
    ],
)
def test_runs_that_give_no_table_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    options = {"members": change.pop("members")} if "members" in change else {}
    run = rollout_run(tmp_path, "run", [recorded(**({"seed": 1} | change))], **options)
    with pytest.raises(DatasetError, match=message):
        make_failure_table([run], tmp_path / "F.parquet")
    assert not list(tmp_path.glob("*.parquet"))


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    runs = [rollout_run(tmp_path, name, [recorded(1)]) for name in ("a", "b")]
    with pytest.raises(DatasetError, match=r"b: has seed 1 of profile eval, as .*a has"):
        make_failure_table(runs, tmp_path / "F.parquet")


# -- damage ------------------------------------------------------------------------------------------------------------


def rewritten(file: Path, column: str, row: int, value: object) -> Path:
    """The table with one value changed."""
    table = parquet.read_table(file)
    values = table[column].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(column)
    changed = table.set_column(
        index, table.schema.field(column), pa.array(values, type=table.schema.field(column).type)
    )
    parquet.write_table(changed.replace_schema_metadata(table.schema.metadata), file)
    return file


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("time_s", 5, float("nan"), "row 5: time_s is nan, expected a later time"),
        ("time_s", 3, 0.05, "row 3: time_s is"),
        ("outcome", 2, "MAYBE", "row 2: outcome is MAYBE, expected one of"),
        ("decision", 4, 9, "row 4: decision is 9"),
        ("episode", 6, 3, "row 6: episode is 3"),
        ("profile", 1, "dark", "row 1: profile is dark, the row before has another"),
        ("seed", 0, -4, "row 0: seed is -4"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, column: str, row: int, value: object, message: str) -> None:
    run = rollout_run(tmp_path, "run", [recorded(1)])
    file = rewritten(make_failure_table([run], tmp_path / "F.parquet").files[0], column, row, value)
    with pytest.raises(DatasetError, match=message):
        read_tables([file])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_flipped_byte_gives_another_table(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """An error, or the same numbers: parts of the file's footer are read by nobody."""
    folder = tmp_path_factory.mktemp("flip")
    run = rollout_run(folder, "run", [recorded(1)])
    file = make_failure_table([run], folder / "F.parquet").files[0]
    before, content = read_tables([file]), bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        after = read_tables([file])
    except DatasetError:
        with pytest.raises(DatasetError, match=re.escape(str(file))):
            read_tables([file])
        return
    for name, column in before.lists.items():
        np.testing.assert_array_equal(after.lists[name], column)
    for name, times in before.times.items():
        np.testing.assert_array_equal(after.times[name], times)


def test_a_column_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [recorded(1)])
    file = make_failure_table([run], tmp_path / "F.parquet").files[0]
    content = file.read_bytes()
    assert b"crooked_s" in content
    file.write_bytes(content.replace(b"crooked_s", b"\xe3rooked_s"))
    with pytest.raises(DatasetError, match=f"{re.escape(str(file))}: is damaged"):
        read_tables([file])


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is damaged"), (b"PAR1" * 20, "is damaged"), (None, "does not")]
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "F.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_tables([file])


def test_another_parquet_file_is_no_table(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="has format 'none', expected 'salus-failures-2'"):
        read_tables([tmp_path / "x.parquet"])


# -- parts and bases ---------------------------------------------------------------------------------------------------


def test_a_seed_is_in_one_part_whatever_the_profile() -> None:
    parts = [part_of(seed) for seed in range(1000)]
    counts = Counter(parts)
    assert counts == {Part.TRAIN: 500, Part.VALIDATION: 100, Part.CALIBRATION: 200, Part.TEST: 200}


def test_a_basis_finds_the_directions_of_the_states_and_is_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    hidden = random.normal(size=(400, 2)) * [3.0, 0.5]
    expert = (hidden @ random.normal(size=(2, 10))).astype(np.float32)
    prefix = random.normal(size=(400, 4, 5)).astype(np.float32)
    prefix[7, 1] = np.nan  # a camera that was not seen
    basis = StateBasis.fit(expert, prefix)
    assert basis.expert.directions.shape == (2, 10)
    projected = basis.expert.apply(expert)
    np.testing.assert_allclose(projected.std(axis=0, ddof=1), 1.0, rtol=1e-3)
    assert basis.to_bytes() == StateBasis.fit(expert, prefix).to_bytes()
    again = StateBasis.from_bytes(basis.to_bytes(), "here")
    np.testing.assert_array_equal(again.expert.apply(expert), projected)
    assert np.isnan(basis.prefix.apply(prefix.reshape(400, -1))[7]).all()
    with pytest.raises(DatasetError, match="here: its basis of hidden states is damaged"):
        StateBasis.from_bytes(basis.to_bytes()[:-3], "here")


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rollout_run(tmp_path, "run", [recorded(1), recorded(2, Outcome.ABORTED)])
    assert main(["dataset", "failures", str(run), "--out", str(tmp_path / "F.parquet")]) == 0
    assert f"F.parquet: 1 episodes, {DECISIONS} decisions, 0.0 MB; left out: 1 ABORTED" in capsys.readouterr().out
    assert main(["dataset", "failures", str(run), "--out", str(tmp_path / "F.parquet")]) == 1
    assert "exists already" in capsys.readouterr().err
