"""The short form of `make faults`: faults of each kind once, on real graphs."""

from __future__ import annotations

from pathlib import Path

import pytest

from salus_vla.bench.faults.disk import fill_disk, refuse_folder
from salus_vla.bench.faults.kills import kill_at_random
from salus_vla.bench.faults.running_graph import Watch

KILLED = ("recorder", "whole graph")  # what loses data; all six in `make faults`

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_kill_loses_half_a_second_at_most_and_the_run_goes_on(tmp_path: Path) -> None:
    with Watch() as watch:
        injections = list(kill_at_random(tmp_path, KILLED, 1, watch))
    assert [injection.fault for injection in injections] == [f"kill -9 of the {name}" for name in KILLED]
    for injection in injections:
        assert injection.passed, injection


def test_a_full_disk_ends_the_run_with_everything_before_it_intact(tmp_path: Path) -> None:
    injection = fill_disk(tmp_path, seed=2)
    assert injection.passed, injection


def test_a_folder_that_cannot_be_written_is_refused_before_the_start(tmp_path: Path) -> None:
    injection = refuse_folder(tmp_path)
    assert injection.passed, injection
