"""What rviz shows is where the gripper was when the policy looked, and unknown is never drawn as safe."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intervened import STUCK, told
from predicted import risk
from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.trail import (
    CALM,
    DOUBT,
    RISK,
    UNKNOWN,
    Trail,
    color_of,
    predicted_risk,
    risk_of,
    status_text,
)

SIGNAL = "max_joint_disagreement"
STARTED = EpisodeEvent(EventKind.STARTED, 10**9, "run", 4, 17, "lift", "ensemble", "RUNNING", "", None, 0, "")
ENDED = EpisodeEvent(EventKind.ENDED, 10**9, "run", 4, 17, "lift", "ensemble", "DROP", "DROP", 10**9, 31, "it fell")


def at(x: float) -> np.ndarray:
    return np.array([x, 0.0, 0.0])


@given(st.floats(allow_nan=False), st.floats(-10, 10), st.floats(0.001, 10))
def test_a_risk_lies_between_0_and_1(value: float, low: float, width: float) -> None:
    assert 0.0 <= risk_of(value, low, low + width) <= 1.0


def test_the_bounds_are_0_and_1_and_unknown_stays_unknown() -> None:
    assert [risk_of(value, 0.01, 0.04) for value in (0.0, 0.01, 0.025, 0.04, 9.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert math.isnan(risk_of(math.nan, 0.01, 0.04))


def test_colors_go_from_green_over_yellow_to_red_and_unknown_is_grey() -> None:
    assert [color_of(risk) for risk in (0.0, 0.5, 1.0)] == [CALM, DOUBT, RISK]
    assert color_of(math.nan) == UNKNOWN
    assert all(0.0 <= channel <= 1.0 for risk in np.linspace(0, 1, 21) for channel in color_of(float(risk)))


def test_a_decision_is_drawn_where_the_gripper_was_at_its_observation() -> None:
    trail = Trail(10)
    assert not trail.decision(0, 0.5)  # nobody knows where yet
    for frame in range(12):
        trail.frame(frame * 20, at(float(frame)))
    assert trail.decision(99, 0.5)  # late: the arm has gone on; frame 5 is nearest
    assert [(point.position[0], point.risk) for point in trail.points] == [(5.0, 0.5)]
    assert trail.newest_position is not None
    assert trail.newest_position[0] == 11.0


def test_a_decision_that_is_heard_before_its_frame_gets_the_frame_that_is_nearest() -> None:
    trail = Trail(10)
    trail.frame(0, at(0.0))
    for stamp_ns in (0, 38, 100):
        trail.decision(stamp_ns, 0.5)
    assert [point.position[0] for point in trail.points] == [0.0, 0.0, 0.0]
    for frame in range(1, 12):
        trail.frame(frame * 20, at(float(frame)))
    assert [point.position[0] for point in trail.points] == [0.0, 2.0, 5.0]


@pytest.mark.parametrize("late", [False, True])
def test_what_is_predicted_of_a_decision_takes_the_place_of_the_signal(late: bool) -> None:
    trail = Trail(10)
    trail.frame(0, at(0.0))
    if not late:  # topics are not ordered among each other
        trail.foreseen(20, 0.75)
    for stamp_ns in (0, 20, 40):
        trail.decision(stamp_ns, 0.25)
    if late:
        trail.foreseen(20, 0.75)
    trail.foreseen(30, 1.0)  # of no decision that was heard
    assert [point.risk for point in trail.points] == [0.25, 0.75, 0.25]
    trail.clear()
    trail.decision(20, 0.25)
    assert trail.points[0].risk == 0.25


@given(st.permutations([(kind, stamp) for kind in ("decision", "foreseen") for stamp in range(4)]))
def test_the_order_in_which_topics_come_does_not_matter(order: list[tuple[str, int]]) -> None:
    trail = Trail(10)
    trail.frame(0, at(0.0))
    for kind, stamp in order:
        (trail.decision if kind == "decision" else trail.foreseen)(stamp, 0.9 if kind == "decision" else stamp / 8)
    assert {point.stamp_ns: point.risk for point in trail.points} == {stamp: stamp / 8 for stamp in range(4)}


def test_the_predicted_risk_is_relative_to_the_threshold_and_an_alarm_is_the_highest() -> None:
    assert predicted_risk(risk(0, 0.125)) == pytest.approx(0.25)
    assert predicted_risk(risk(0, 0.9)) == 1.0
    assert predicted_risk(risk(0, 0.1, "miss")) == 1.0
    assert predicted_risk(risk(0, 0.125, alpha=0.0)) == pytest.approx(0.125)
    other = dataclasses.replace(risk(0, 0.125), values=risk(0).values | {"failure": 0.125, "drop": 0.375})
    assert predicted_risk(other) == pytest.approx(0.75)
    unknown = dataclasses.replace(risk(0), values=dict.fromkeys(PREDICTED, math.nan))
    assert math.isnan(predicted_risk(unknown))


def test_a_trail_forgets_the_oldest_points_and_all_of_them_when_time_goes_back() -> None:
    trail = Trail(3)
    for frame in range(5):
        trail.frame(frame, at(float(frame)))
        trail.decision(frame, 0.0)
    assert [point.position[0] for point in trail.points] == [2.0, 3.0, 4.0]
    trail.clear()
    assert not trail.points
    trail.decision(4, 0.0)
    trail.frame(1, at(9.0))
    assert not trail.points
    trail.decision(1, 0.0)
    assert trail.points[0].position[0] == 9.0


def test_the_text_names_the_episode_the_signal_and_whoever_does_not_run() -> None:
    monitor = GraphMonitor(0.0)
    assert status_text(monitor.snapshot(0.0), SIGNAL, "rad") == "no episode yet"
    monitor.episode(STARTED)
    monitor.decision(8, 1.0, [0.03125] * len(NAMES))
    monitor.status("recorder", 2, "", "")
    monitor.status("policy", 3, "stale_camera", "front: 0.3 s")
    assert status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines() == [
        "episode 4, seed 17: decision 8",
        "max_joint_disagreement 0.03125 rad",
        "policy HOLDING: stale_camera: front: 0.3 s",
    ]
    monitor.prediction(risk(8, 0.75, "drop"))
    words = status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines()[1:3]
    assert words == ["risk of failure 75%, alarm above 50%", "ALARM: drop: 75%, threshold 50%"]
    monitor.prediction(risk(9, 0.25))
    words = status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines()[1:3]
    assert words == ["risk of failure 25%, alarm above 50%", "first alarm at decision 8: drop: 75%, threshold 50%"]
    monitor.episode(STARTED)
    monitor.decision(9, 1.0, [math.nan] * len(NAMES))
    monitor.status("policy", 2, "", "")
    monitor.episode(ENDED)
    assert status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines() == [
        "episode 4, seed 17: DROP after 31 decisions",
        "max_joint_disagreement not known",
    ]


def test_the_text_says_the_intervention_and_that_the_arm_was_handed_over() -> None:
    monitor = GraphMonitor(0.0)
    monitor.episode(STARTED)
    monitor.intervention(told(3))
    assert status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines()[1:] == []
    monitor.intervention(told(4, "careful_0.35"))
    words = status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines()[1:]
    assert words == ["careful_0.35: best, failure 12%, with the plan 50%"]
    monitor.intervention(told(5, HAND_OVER))
    monitor.status("policy", 3, "handed_over", STUCK)  # the same once more
    assert status_text(monitor.snapshot(0.0), SIGNAL, "rad").splitlines()[1:] == [f"HANDED OVER: {STUCK}"]
