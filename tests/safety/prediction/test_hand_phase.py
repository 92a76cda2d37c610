"""What the hand is doing is told from widths alone."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.safety.prediction.hand_phase import HandPhase

NAN = float("nan")


def followed(*stretches: tuple[float, float, int]) -> HandPhase:
    """A hand after stretches of (width, told width, frames)."""
    hand = HandPhase()
    for width, told, frames in stretches:
        for _ in range(frames):
            hand.update(width, told)
    return hand


def test_a_hand_that_squeezes_and_stands_still_holds() -> None:
    hand = followed((0.08, 0.08, 5), (0.065, 0.0, 1), (0.05, 0.0, 11))
    assert hand.holds
    assert math.isclose(hand.held_s, 0.2)  # the first frame at that width is still movement
    assert hand.width_at_grasp == 0.05


def test_a_hand_that_is_told_to_open_has_let_go() -> None:
    hand = followed((0.05, 0.0, 10), (0.05, 0.08, 1))
    assert not hand.holds
    assert math.isnan(hand.width_at_grasp)
    assert hand.losses == 0


def test_fingers_that_meet_after_a_grasp_have_lost_what_they_held() -> None:
    hand = followed((0.05, 0.0, 10), (0.004, 0.0, 20))
    assert (hand.losses, hand.empty_closings) == (1, 1)
    assert math.isclose(hand.empty_s, 0.4)


def test_fingers_that_meet_have_closed_on_nothing_once() -> None:
    hand = followed((0.08, 0.08, 2), (0.04, 0.0, 1), (0.0, 0.0, 30))
    assert (hand.losses, hand.empty_closings) == (0, 1)
    reopened = followed((0.0, 0.0, 5), (0.08, 0.08, 5), (0.0, 0.0, 5))
    assert reopened.empty_closings == 2


def test_without_commands_a_still_hand_is_taken_to_hold() -> None:
    assert followed((0.05, NAN, 3)).holds
    assert not followed((0.08, NAN, 3)).holds


def test_a_width_that_is_not_known_changes_nothing() -> None:
    hand = followed((0.05, 0.0, 10))
    before = hand.held_s
    hand.update(NAN, 0.0)
    assert hand.held_s == before


@given(st.lists(st.tuples(st.floats(0.0, 0.09), st.floats(0.0, 0.09) | st.just(NAN)), max_size=60))
def test_it_never_holds_something_and_nothing(frames: list[tuple[float, float]]) -> None:
    hand = HandPhase()
    for width, told in frames:
        began = hand.update(width, told)
        assert not (hand.holds and hand.empty_s > 0.0)
        assert hand.holds or not began
        assert math.isfinite(hand.width_at_grasp) == hand.holds
        assert 0 <= hand.losses <= hand.empty_closings
