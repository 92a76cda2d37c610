"""Labels: what happens next, whether what is held slips, when it is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.learning.prediction.samples import _grasps, _hazards, grasp_frames
from salus_vla.safety.prediction.predictor_network import FailureKind

NAN = float("nan")
C, D, M = FailureKind.COLLISION, FailureKind.DROP, FailureKind.MISS


def test_the_next_event_of_each_decision_by_interval() -> None:
    time = np.array([0.0, 0.4, 0.7, 0.9, 1.2])
    found = _hazards(time, "DROP", 1.0, NAN)
    # Within 0.25, 0.5 and 1 s of 1.0.
    assert found.tolist() == [[-1, -1, D], [-1, -1, D], [-1, D, -2], [D, -2, -2], [-1, -1, -1]]


def test_a_closing_on_nothing_is_a_miss_whatever_comes_after() -> None:
    time = np.array([0.0, 0.45, 1.0, 2.4])
    found = _hazards(time, "COLLISION", 2.5, 0.5)
    assert found.tolist() == [[-1, M, -2], [M, -2, -2], [-1, -1, -1], [C, -2, -2]]


def test_the_end_of_the_clock_is_not_seen_beyond() -> None:
    time = np.array([0.0, 0.5, 1.0, 1.2])
    found = _hazards(time, "TIMEOUT", NAN, NAN)
    assert found.tolist() == [[-1, -1, -1], [-1, -1, -2], [-2, -2, -2], [-2, -2, -2]]
    assert (_hazards(time, "SUCCESS", 1.2, NAN) == -1).all()  # a success is no failure, and nothing follows it


@given(
    st.sampled_from(["SUCCESS", "DROP", "COLLISION", "MISS", "TIMEOUT"]),
    st.floats(0.1, 4.0),
    st.floats(0.1, 4.0) | st.none(),
)
def test_after_an_event_nothing_is_seen_and_before_it_nothing_happens(
    outcome: str, event_s: float, empty_s: float | None
) -> None:
    found = _hazards(np.arange(0.0, 4.0, 0.1), outcome, event_s, NAN if empty_s is None else empty_s)
    for row in found.tolist():
        happens = [place for place, value in enumerate(row) if value >= 0]
        assert len(happens) <= 1
        if happens:
            assert row[: happens[0]] == [-1] * happens[0]
            assert row[happens[0] + 1 :] == [-2] * (2 - happens[0])


def test_gaps_of_two_frames_are_bridged_and_touches_do_not_count() -> None:
    held = np.zeros(60)
    held[10:20] = held[22:30] = 1.0  # two frames without contact
    held[40:43] = 1.0  # a touch
    held[50:60] = 1.0
    assert grasp_frames(held) == [(10, 30), (50, 60)]


@pytest.mark.parametrize(("let_go", "lost"), [(True, False), (False, True)])
def test_slip_and_loss_of_a_grasp(let_go: bool, lost: bool) -> None:
    frames = 40  # 8 decisions
    held = np.zeros(frames)
    held[11:30] = 1.0
    cube = np.zeros((frames, 3))
    cube[18:, 2] = 0.004
    cube[23:, 2] = 0.0061
    told = np.where(np.arange(frames) >= (28 if let_go else 40), 0.08, 0.0)
    slips, since, loss = _grasps(held, cube, told, np.arange(8) / 10)
    # The last frames of the decisions 2 to 5 are 14, 19, 24 and 29.
    np.testing.assert_array_equal(slips, [NAN, NAN, 0.0, 0.0, 1.0, 1.0, NAN, NAN])
    np.testing.assert_allclose(since, [NAN, NAN, 0.06, 0.16, 0.26, 0.36, NAN, NAN])
    expected = 0.5 if lost else NAN  # frame 29 is the observation of decision 5
    np.testing.assert_allclose(loss, [NAN, NAN, *[expected] * 4, NAN, NAN])
