"""A run and its copy are not taken together, whatever they are made into."""

import shutil
from pathlib import Path

import pytest

from recorded import bag_run, make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.contract.errors import DatasetError
from salus_vla.data.copies import check_no_copies
from salus_vla.data.episodes import open_run
from salus_vla.data.lerobot.dataset_export import export


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return rollout_run(tmp_path, "run", [make_episode(seed, decisions=6) for seed in range(2)])


def test_an_export_names_both(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "copy")
    assert main(["dataset", "export", str(run), str(tmp_path / "copy"), "--out", str(tmp_path / "set")]) == 1
    said = capsys.readouterr().err
    assert f"{run}/" in said
    assert f"{tmp_path}/copy/" in said
    assert "are the same episode (seed 0, the same content)" in said
    assert not (tmp_path / "set").exists()


def test_files_are_compared(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    with pytest.raises(DatasetError, match="are the same episode"):
        check_no_copies(episode for path in (run, copy) for episode in open_run(path).counted)


def test_a_bag_is_compared_by_its_messages(tmp_path: Path) -> None:
    bags = bag_run(tmp_path, "bags", [make_episode(0, decisions=6)])
    copy = Path(shutil.copytree(bags, tmp_path / "copy"))
    for file in copy.rglob("audit.json"):
        file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(DatasetError, match="are the same episode"):
        check_no_copies(episode for path in (bags, copy) for episode in open_run(path).counted)


def test_a_bag_and_a_rollout_with_the_same_frames_are_one_episode(tmp_path: Path) -> None:
    episode = make_episode(0, decisions=6)
    runs = [rollout_run(tmp_path, "rollouts", [episode]), bag_run(tmp_path, "bags", [episode])]
    with pytest.raises(DatasetError, match="are the same episode"):
        export(runs, tmp_path / "set", repo_id="salus/test")


def test_the_same_seed_with_other_actions_is_another_episode(run: Path, tmp_path: Path) -> None:
    other = rollout_run(tmp_path, "other", [make_episode(seed, decisions=7) for seed in range(2)])
    check_no_copies(episode for path in (run, other) for episode in open_run(path).counted)
    assert export([run, other], tmp_path / "set", repo_id="salus/test").episodes == 4
