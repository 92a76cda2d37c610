"""Faults of a grasp are told from widths alone: each once, with when it began, and no straight grasp is one."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.control.grasp_monitor import GraspEvent, GraspFault, GraspMonitor, GraspRules

MS = 1_000_000


def watch(widths: Iterable[float], period_ms: int = 20) -> list[GraspEvent]:
    monitor = GraspMonitor()
    return [event for i, width in enumerate(widths) for event in monitor.update(i * period_ms * MS, float(width))]


def closing(end: float, frames: int = 100) -> np.ndarray:
    """From wide open at 0.16 m/s to this width, where it stays [m]."""
    return np.maximum(end, 0.08 - 0.16 * 0.02 * np.arange(frames))


@pytest.mark.parametrize("end", [0.0486, 0.05, 0.0529])
def test_a_straight_grasp_is_no_fault(end: float) -> None:
    assert watch(closing(end)) == []


@pytest.mark.parametrize("period_ms", [20, 100])
def test_a_closing_on_nothing_is_told_once_with_when_it_began(period_ms: int) -> None:
    widths = closing(0.0)[:: period_ms // 20]
    (event,) = watch(widths, period_ms)
    assert event.fault is GraspFault.EMPTY_CLOSING
    below = int(np.argmax(widths < 0.008)) * period_ms * MS
    assert event.began_ns == below
    assert event.stamp_ns == below + 300 * MS


def test_opened_and_closed_again_it_is_told_again() -> None:
    twice = np.concatenate([closing(0.0, 60), closing(0.0, 60)])
    assert [event.fault for event in watch(twice)] == [GraspFault.EMPTY_CLOSING] * 2


def test_closed_on_nothing_lasts_until_it_opens() -> None:
    monitor = GraspMonitor()
    for i in range(30):
        monitor.update(i * 20 * MS, 0.002)
    assert monitor.closed_on_nothing
    monitor.update(30 * 20 * MS, 0.02)
    assert not monitor.closed_on_nothing


@pytest.mark.parametrize("creep", [0.0, 0.01])
def test_fingers_that_stop_too_wide_and_creep_on_are_a_crooked_grasp(creep: float) -> None:
    """A millimetre in a decision, as the drops of the first ensemble did."""
    after = 0.062 - creep * 0.02 * np.arange(40)
    (event,) = watch([*np.arange(0.08, 0.062, -0.0032), *after])
    assert event.fault is GraspFault.CROOKED_GRASP
    assert event.stamp_ns - event.began_ns == 300 * MS


def test_letting_go_is_no_crooked_grasp() -> None:
    assert watch(0.05 + 0.04 * 0.02 * np.arange(40)) == []


def test_wide_open_fingers_are_no_grasp() -> None:
    assert watch([0.08] * 100) == []


@given(st.lists(st.floats(0.0, 0.08), min_size=1, max_size=60))
def test_no_fault_is_told_twice_without_being_over(widths: list[float]) -> None:
    monitor = GraspMonitor()
    told: set[GraspFault] = set()
    for i, width in enumerate(widths):
        if width >= 0.008:
            told.discard(GraspFault.EMPTY_CLOSING)
        for event in monitor.update(i * 20 * MS, width):
            if event.fault is GraspFault.EMPTY_CLOSING:
                assert event.fault not in told
                told.add(event.fault)
            assert event.began_ns <= event.stamp_ns - 300 * MS


@pytest.mark.parametrize("changes", [{"empty_width": 0.06}, {"crooked_width": (0.07, 0.06)}, {"empty_s": 0.0}])
def test_rules_that_contradict_themselves_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="grasp rules"):
        GraspRules(**changes)  # type: ignore[arg-type]
