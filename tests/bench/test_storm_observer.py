"""The observer of the storm finds what it is there to find, and nothing where all is well."""

import numpy as np
import pytest

from salus_vla.bench.faults.observer import FRAME_S, Kind, Seen, observe
from salus_vla.bench.faults.storm import Gust, storm_table

HOME = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854])
WALL = 1000.0


def moving(frames: int, speed: float = 0.5, start: int = 0, wall: float = WALL) -> list[Seen]:
    """Joint 1 at a constant speed behind an acceleration; commands and joints of each frame."""
    events = []
    for frame in range(start, start + frames):
        arm = HOME + np.array([speed * FRAME_S * frame, 0, 0, 0, 0, 0, 0])
        for kind in (Kind.JOINTS, Kind.COMMAND):
            events.append(Seen(wall + frame * FRAME_S, kind, 5.0 + frame * FRAME_S, arm))
    return events


def test_a_good_stream_breaks_nothing_and_is_never_silent() -> None:
    found = observe(moving(50), WALL + 49 * FRAME_S)
    assert (found.commands, found.violations) == (50, ())
    assert found.silences[0].lasted_s == pytest.approx(FRAME_S)
    assert found.speed == pytest.approx(0.5 / 2.175)


def test_a_pause_in_motion_is_measured_also_one_that_goes_on() -> None:
    late = [Seen(e.wall_s + 0.3, e.kind, e.stamp_s, e.arm) for e in moving(10, start=20)]
    found = observe([*moving(20), *late], WALL + 1.5)
    assert found.silences[0].lasted_s == pytest.approx(1.5 - 0.3 - 29 * FRAME_S)
    assert found.silences[1].lasted_s == pytest.approx(0.32)
    assert found.silences[1].since_s == pytest.approx(WALL + 19 * FRAME_S)


def test_a_stream_that_ends_at_rest_may_be_silent() -> None:
    rest = [Seen(WALL + 20 * FRAME_S, Kind.COMMAND, 5.4, moving(20)[-1].arm)]
    assert observe([*moving(20), *rest], WALL + 60.0).silences[0].lasted_s < 0.03


@pytest.mark.parametrize(("joint", "value"), [(0, 2.9), (3, 0.0), (5, np.nan)])
def test_a_command_outside_the_limits_is_found(joint: int, value: float) -> None:
    wrong = HOME.copy()
    wrong[joint] = value
    found = observe([*moving(20), Seen(WALL + 1.0, Kind.COMMAND, 6.0, wrong)], WALL + 1.0)
    assert f"joint {joint + 1} was commanded" in found.violations[0]


def test_a_jump_in_motion_is_found() -> None:
    jump = Seen(WALL + 20 * FRAME_S, Kind.COMMAND, 5.0 + 20 * FRAME_S, HOME + 0.3)
    assert "was commanded by" in observe([*moving(20), jump], WALL + 1.0).violations[0]


def test_a_stream_that_begins_away_from_the_arm_is_found_and_one_behind_a_reset_is_not() -> None:
    reset = [Seen(WALL + 1.0, Kind.JOINTS, 6.0, HOME + 0.5), Seen(WALL + 1.02, Kind.JOINTS, 6.02, HOME + 1.5)]
    good = Seen(WALL + 1.03, Kind.COMMAND, 6.02, HOME + 1.5)
    away = Seen(WALL + 1.03, Kind.COMMAND, 6.02, HOME + 1.3)
    events = [Seen(WALL, Kind.JOINTS, 5.0, HOME)]
    assert observe([*events, *reset, good], WALL + 1.1).violations == ()
    assert "a stream began" in observe([*events, *reset, away], WALL + 1.1).violations[0]


def test_the_table_has_a_row_for_each_fault() -> None:
    gusts = [
        Gust("kill", "ended: node_lost", 0.15, 10, ()),
        Gust("kill", "went on", 0.19, 10, ("no command for 300 ms in motion",)),
        Gust("pause", "went on", 0.1, 10, ()),
    ]
    table = storm_table(gusts).splitlines()
    assert table[2] == "| kill | 2 | 1 ended: node_lost, 1 went on | 190 | **1 failed** |"
    assert table[3] == "| pause | 1 | 1 went on | 100 | passed |"
