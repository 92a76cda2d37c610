"""What the terminal shows is what was heard: rates in sim time, ages in wall time, states with their reasons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from salus_vla.contract import CLOCK, EPISODE, JOINT_STATES, TF, TOPICS, Topic
from salus_vla.contract.foreseen_risk import PREDICTED, ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.safety.intervention.told_motion import ToldMotion
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.graph_monitor import HISTORY, STATES, WINDOW_S, GraphMonitor, Pace, Snapshot, TopicLine

STARTED = EpisodeEvent(EventKind.STARTED, 10**9, "run", 4, 17, "lift", "ensemble", "RUNNING", "", None, 0, "")


def line(snapshot: Snapshot, topic: Topic) -> TopicLine:
    return next(item for item in snapshot.topics if item.name == topic.name)


def run_for(monitor: GraphMonitor, wall_s: float, seconds: float, *, speed: float = 1.0, every: int = 1) -> float:
    """Frames of 20 ms with a clock each, joints in each `every`th; gives the wall time at their end."""
    for frame in range(round(seconds * speed * 50)):
        wall_s += 0.02 / speed
        monitor.message(CLOCK.name, wall_s)
        monitor.clock(100.0 + frame * 0.02, wall_s)
        if frame % every == 0:
            monitor.message(JOINT_STATES.name, wall_s)
    return wall_s


def test_a_silent_domain_says_for_how_long() -> None:
    snapshot = GraphMonitor(5.0).snapshot(9.0)
    assert (snapshot.heard, snapshot.silent_s, snapshot.sim_s) == (False, 4.0, None)
    assert {item.pace for item in snapshot.topics} == {Pace.UNHEARD}


@pytest.mark.parametrize("speed", [0.1, 1.0, 4.0])
def test_rates_are_those_of_sim_time_at_any_speed(speed: float) -> None:
    monitor = GraphMonitor(0.0)
    snapshot = monitor.snapshot(run_for(monitor, 0.0, 6.0, speed=speed))
    for topic in (CLOCK, JOINT_STATES):
        found = line(snapshot, topic)
        assert found.rate_hz == pytest.approx(50.0, rel=0.1)
        assert (found.due_hz, found.pace) == (50.0, Pace.OK)
    assert snapshot.speed == pytest.approx(speed, rel=0.05)


def test_a_slow_topic_is_marked_and_the_others_are_not() -> None:
    monitor = GraphMonitor(0.0)
    snapshot = monitor.snapshot(run_for(monitor, 0.0, 4.0, every=2))
    assert line(snapshot, JOINT_STATES).pace is Pace.SLOW
    assert line(snapshot, JOINT_STATES).rate_hz == pytest.approx(25.0, rel=0.1)
    assert line(snapshot, CLOCK).pace is Pace.OK


def test_a_topic_that_stops_is_silent_and_ages() -> None:
    monitor = GraphMonitor(0.0)
    wall_s = run_for(monitor, 0.0, 2.0)
    monitor.message(EPISODE.name, wall_s)
    snapshot = monitor.snapshot(wall_s + WINDOW_S + 1.0)
    assert line(snapshot, JOINT_STATES).pace is Pace.SILENT
    assert line(snapshot, JOINT_STATES).age_s == pytest.approx(WINDOW_S + 1.0)
    assert line(snapshot, EPISODE).pace is Pace.OK  # comes on event
    assert snapshot.silent_s == pytest.approx(WINDOW_S + 1.0)


def test_without_a_clock_rates_are_those_of_wall_time() -> None:
    monitor = GraphMonitor(0.0)
    for frame in range(100):
        monitor.message(JOINT_STATES.name, frame * 0.02)
    assert line(monitor.snapshot(1.98), JOINT_STATES).rate_hz == pytest.approx(50.0)


def test_a_clock_that_jumps_back_begins_the_rates_anew() -> None:
    monitor = GraphMonitor(0.0)
    wall_s = run_for(monitor, run_for(monitor, 0.0, 2.0), 2.0)  # the second one begins at the same sim time
    snapshot = monitor.snapshot(wall_s)
    assert line(snapshot, JOINT_STATES).rate_hz == pytest.approx(50.0, rel=0.1)
    assert snapshot.speed == pytest.approx(1.0, rel=0.1)


def test_optional_topics_are_shown_once_they_are_heard() -> None:
    monitor = GraphMonitor(0.0)
    assert TF.name not in [item.name for item in monitor.snapshot(1.0).topics]
    monitor.message(TF.name, 1.0)
    assert TF.name in [item.name for item in monitor.snapshot(1.0).topics]
    assert len(monitor.snapshot(1.0).topics) == len([topic for topic in TOPICS if not topic.optional]) + 1


def test_the_newest_status_of_each_role_counts() -> None:
    monitor = GraphMonitor(0.0)
    monitor.status("policy", 0, "", "loading")
    monitor.status("recorder", 1, "", "")
    monitor.status("policy", 3, "stale_camera", "camera front: nothing new")
    monitor.status("other", 99, "", "")
    roles = {item.role: (item.state, item.reason) for item in monitor.snapshot(0.0).roles}
    assert roles == {"policy": ("HOLDING", "stale_camera"), "recorder": ("READY", ""), "other": ("state 99", "")}


def test_an_episode_begins_new_histories_and_ends_with_its_outcome() -> None:
    monitor = GraphMonitor(0.0)
    for number in range(HISTORY + 5):
        monitor.decision(number, 20.0, np.full(12, number))
    assert monitor.snapshot(0.0).signals[NAMES[3]] == tuple(range(5, HISTORY + 5))
    monitor.episode(STARTED)
    assert (monitor.snapshot(0.0).signals[NAMES[3]], monitor.snapshot(0.0).decision) == ((), None)
    monitor.episode(dataclasses.replace(STARTED, kind=EventKind.EVENT, event="DROP"))
    monitor.episode(dataclasses.replace(STARTED, kind=EventKind.ENDED, outcome="DROP"))
    assert monitor.snapshot(0.0).outcomes == {"DROP": 1}


def test_what_comes_late_of_the_episode_before_says_nothing_of_this_one() -> None:
    """Seen on a starved machine: HANDED OVER stood there for the whole next episode."""
    monitor = GraphMonitor(0.0)
    zeros = dict.fromkeys(PREDICTED, 0.0)
    start_ns = 5_000_000_000
    monitor.episode(dataclasses.replace(STARTED, stamp_ns=start_ns))
    for late_ns, heard in ((start_ns - 1, False), (start_ns, True)):
        monitor.decision(7, 1.0, [0.5] * len(NAMES), late_ns)
        monitor.prediction(ForeseenRisk(late_ns, 7, zeros | {"failure": 0.9}, zeros, "miss", "miss", 0.1))
        monitor.intervention(ToldMotion(late_ns, 7, {}, HAND_OVER, "closed on nothing twice"))
        shown = monitor.snapshot(1.0)
        assert [shown.decision is not None, shown.risk is not None, shown.first_alarm is not None] == [heard] * 3
        assert bool(shown.handed_over) is heard


def test_states_are_those_of_the_message() -> None:
    from salus_msgs.msg import Status

    assert [getattr(Status, state) for state in STATES] == list(range(len(STATES)))
