"""Closings of the hand and what they are the cause of: drawn frames, and every kind of ending."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salus_vla.learning.prediction.failure_causes import Cause, Ending, cause_of
from salus_vla.learning.prediction.hand_attempts import Attempt, Frames, Grasp, attempts

NEVER = float("inf")
GRASP = Grasp(2.0, 3.0, width=0.049, off_centre=(0.002, 0.005), slid=0.001, told_to_open=False, widest_told=0.0)
GRIPPED = Attempt(1.9, beside=0.004, above=0.005, empty=False, grasp=GRASP)
BESIDE = Attempt(1.9, beside=0.06, above=0.005, empty=True, grasp=None)


def drawn(widths: list[float], held: slice = slice(0), slide: float = 0.0, told: float = 0.0) -> Frames:
    """Frames with these widths [m], the cube held in some and sliding along the approach in them."""
    count = len(widths)
    grips, cube = np.zeros(count), np.tile([0.003, 0.01, 0.004], (count, 1))
    grips[held] = 1.0
    cube[held, 2] += np.linspace(0.0, slide, len(grips[held]))
    return Frames(np.arange(count) * 0.02, np.array(widths), np.full(count, told), grips, cube)


def test_a_hand_that_stays_open_never_closed() -> None:
    assert attempts(drawn([0.08] * 50)) == []


def test_each_closing_on_nothing_counts_though_the_hand_opens_half_only() -> None:
    closing = [0.08, 0.05, 0.02, 0.0, 0.02, 0.065]
    found = attempts(drawn(closing * 3))
    assert [round(item.begin_s, 2) for item in found] == [0.02, 0.14, 0.26]
    assert all(item.empty and item.grasp is None for item in found)
    assert found[0].beside == pytest.approx(np.hypot(0.003, 0.01))
    assert found[0].above == pytest.approx(0.004)


def test_a_wide_grasp_is_one_closing_and_its_width_is_read_once_settled() -> None:
    widths = [0.08] * 5 + [0.059] * 5 + [0.064] * 10 + [0.056] * 30 + [0.08] * 5
    (found,) = attempts(drawn(widths, held=slice(5, 50), slide=0.012))
    assert found.grasp is not None
    assert found.grasp.width == 0.056
    assert found.grasp.slid == pytest.approx(0.012)
    assert not found.empty


@pytest.mark.parametrize(("told", "opens"), [(0.0, False), (0.046, False), (0.048, True), (0.07, True)])
def test_fingers_told_to_stand_where_they_are_no_longer_squeeze(told: float, opens: bool) -> None:
    (found,) = attempts(drawn([0.08] * 5 + [0.049] * 20, held=slice(5, 25), told=told))
    assert found.grasp is not None
    assert found.grasp.told_to_open is opens
    assert found.grasp.widest_told == told


def test_a_hand_without_commands_was_told_nothing() -> None:
    (found,) = attempts(drawn([0.08] * 5 + [0.049] * 20, held=slice(5, 25), told=float("nan")))
    assert found.grasp is not None
    assert not found.grasp.told_to_open
    assert np.isnan(found.grasp.widest_told)


def ending(outcome: str, *closings: Attempt, out_of_reach: bool = False, shove_s: float = NEVER) -> Ending:
    return Ending(outcome, closings, out_of_reach, shove_s)


def gripped(**changes: object) -> Attempt:
    return replace(GRIPPED, grasp=replace(GRASP, **changes))


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (ending("TIMEOUT"), Cause.STUCK),
        (ending("COLLISION", gripped(slid=0.02)), Cause.SAGGED_INTO_BIN),
        (ending("COLLISION", GRIPPED), Cause.COLLIDED),
        (ending("COLLISION"), Cause.COLLIDED),
        (ending("MISS", BESIDE, out_of_reach=True), Cause.OUT_OF_REACH),
        (ending("MISS"), Cause.OTHER),
        (ending("MISS", BESIDE, gripped(slid=0.02)), Cause.CLOSED_BESIDE),  # the first closing of a MISS counts
        (ending("MISS", replace(BESIDE, beside=0.01)), Cause.CLOSED_ON),
        (ending("MISS", BESIDE, shove_s=1.0), Cause.SHOVED_BEFORE),
        (ending("MISS", BESIDE, shove_s=2.5), Cause.CLOSED_BESIDE),  # it had missed before
        (ending("DROP", BESIDE, gripped(slid=0.02)), Cause.SLIPPED),  # the last one of a DROP
        (ending("DROP", gripped(slid=0.02, told_to_open=True)), Cause.SLIPPED),  # it slipped before the hand opened
        (ending("DROP", gripped(told_to_open=True)), Cause.LET_GO),
        (ending("DROP", gripped(width=0.056, told_to_open=True)), Cause.CROOKED_GRASP),
        (ending("DROP", gripped(width=0.056, end_s=2.2, slid=0.02)), Cause.SLIPPED),  # never settled
        (ending("DROP", gripped(off_centre=(-0.025, 0.0))), Cause.EDGE_GRIPPED),
        (ending("DROP", gripped(off_centre=(0.0, 0.02))), Cause.EDGE_GRIPPED),
        (ending("DROP", gripped(slid=0.02), shove_s=2.9), Cause.SHOVED_IN_HAND),
        (ending("DROP", gripped(slid=0.02), shove_s=1.0), Cause.SLIPPED),  # long before the grasp
        (ending("DROP", GRIPPED), Cause.OTHER),
    ],
)
def test_causes(found: Ending, cause: Cause) -> None:
    assert cause_of(found) is cause


@given(
    st.lists(st.floats(0.0, 0.08), min_size=1, max_size=40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from(["DROP", "MISS", "COLLISION", "TIMEOUT"]),
)
@settings(suppress_health_check=[HealthCheck.too_slow])  # shared cores stall
def test_closings_are_in_order_and_every_failure_has_a_cause(
    widths: list[float], begin: int, length: int, outcome: str
) -> None:
    found = attempts(drawn(widths, held=slice(begin, begin + length), slide=0.03))
    begins = [item.begin_s for item in found]
    assert begins == sorted(set(begins))
    assert all(item.grasp is None or item.grasp.end_s >= item.grasp.begin_s for item in found)
    assert isinstance(cause_of(ending(outcome, *found)), Cause)
