"""The checker of `make faults` finds what a fault could do to a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from episodes import SEED, observations, record, recording
from salus_vla.bench.faults.bag_checks import RunChecker


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one episode."""
    with recording(tmp_path) as recorder:
        record(recorder, 0, observations(3))
    return tmp_path / "run1"


def _edit(file: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_whole_run_has_no_problems(run: Path) -> None:
    checker = RunChecker(run, SEED)
    assert checker.problems() == []
    assert checker.problems() == []
    assert RunChecker(run, SEED + 1).problems() == [f"episode_000000: its seed is {SEED}"]


def test_a_lost_message_is_found(run: Path) -> None:
    def change(content: dict) -> None:
        content["audit"]["topics"][0]["count"] += 1

    _edit(run / "episode_000000" / "audit.json", change)
    (problem,) = RunChecker(run, SEED).problems()
    assert "its audit says" in problem


def test_a_damaged_bag_is_found(run: Path) -> None:
    bag = next((run / "episode_000000").glob("*.mcap"))
    bag.write_bytes(bag.read_bytes()[:-100])
    assert any("cannot be opened" in problem for problem in RunChecker(run, SEED).problems())


def test_a_later_change_of_a_finished_bag_is_found(run: Path) -> None:
    checker = RunChecker(run, SEED)
    assert checker.problems() == []
    (run / "episode_000000" / "metadata.yaml").write_text("")
    assert checker.problems() == ["episode_000000: the bag has changed"]


def test_an_episode_that_is_there_twice_or_gone_is_found(run: Path) -> None:
    checker = RunChecker(run, SEED)
    assert checker.problems() == []
    shutil.copytree(run / "episode_000000", run / "episode_000000_recovered")
    _edit(
        run / "run.json",
        lambda content: content["episodes"].append(content["episodes"][0] | {"path": "episode_000000_recovered"}),
    )
    assert "episode 0 is there 2 times" in checker.problems()
    _edit(run / "run.json", lambda content: content["episodes"].clear())
    assert any("is gone" in problem for problem in checker.problems())
