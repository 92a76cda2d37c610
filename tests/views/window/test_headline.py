"""State and reason in words, and when a person is asked to act."""

from __future__ import annotations

import dataclasses

import pytest

from intervened import STUCK
from predicted import risk
from salus_vla.contract.message_readers import EventKind
from salus_vla.contract.reasons import (
    DEADMAN,
    HANDED_OVER,
    INACTIVE,
    LOCKSTEP_LOST,
    NO_EPISODE,
    RUN_COMPLETE,
    SECOND_PUBLISHER,
    WATCHDOG,
    NodeState,
)
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.views.window.watched_graph import WatchedGraph
from salus_vla.views.window.window_content import Buttons, Urgency
from watched import event, play, runs

START = 10**9
ALARMS = ("", "", "drop", "drop")


@pytest.fixture
def graph() -> WatchedGraph:
    return WatchedGraph(0.0, "7")


def test_before_anything_is_heard_it_says_where_it_listens(graph: WatchedGraph) -> None:
    content = graph.content(3.0)
    assert content.headline.title == "Nothing heard yet"
    assert "ROS_DOMAIN_ID=7" in content.headline.detail
    assert content.headline.urgency is Urgency.CALM
    assert content.buttons == Buttons()


def test_a_healthy_run_asks_for_nothing(graph: WatchedGraph) -> None:
    play(graph, 0, START, 4)
    runs(graph)
    content = graph.content(1.5)
    assert (content.headline.title, content.headline.urgency) == ("Running: follows its plan", Urgency.CALM)
    assert content.buttons == Buttons(hold=True)
    assert content.motion is not None
    assert content.motion.title == "follows its plan"


@pytest.mark.parametrize("reason", WATCHDOG)
def test_a_latched_hold_asks_for_its_reset(graph: WatchedGraph, reason: str) -> None:
    play(graph, 0, START, 4)
    runs(graph, policy=(NodeState.HOLDING, reason, "camera front: nothing new for 0.6 s"))
    content = graph.content(1.5)
    assert content.headline.title == f"Holding: {reason.replace('_', ' ')}"
    assert content.headline.detail.startswith("camera front: nothing new for 0.6 s")
    assert content.headline.urgency is Urgency.ACT
    assert content.buttons == Buttons(hold=True, reset=True)


@pytest.mark.parametrize("reason", [NO_EPISODE, DEADMAN, INACTIVE])
def test_a_hold_that_ends_by_itself_or_was_asked_for_has_no_colour(graph: WatchedGraph, reason: str) -> None:
    play(graph, 0, START, 4)
    runs(graph, policy=(NodeState.HOLDING, reason, ""))
    content = graph.content(1.5)
    assert content.headline.urgency is Urgency.CALM
    assert content.buttons == (Buttons(go_on=True) if reason == INACTIVE else Buttons(hold=True))


@pytest.mark.parametrize(
    ("state", "reason"),
    [(NodeState.FAILED, LOCKSTEP_LOST), (NodeState.HOLDING, SECOND_PUBLISHER), (NodeState.HOLDING, HANDED_OVER)],
)
def test_what_does_not_end_by_itself_has_one(graph: WatchedGraph, state: NodeState, reason: str) -> None:
    play(graph, 0, START, 4)
    runs(graph, policy=(state, reason, "because"))
    assert graph.content(1.5).headline.urgency is Urgency.ACT


@pytest.mark.parametrize(
    ("intervenes", "acted", "urgency"),
    [(True, True, Urgency.CALM), (True, False, Urgency.ACT), (False, True, Urgency.ACT)],
)
def test_an_alarm_asks_for_a_person_where_nothing_intervenes(
    graph: WatchedGraph, intervenes: bool, acted: bool, urgency: Urgency
) -> None:
    play(graph, 0, START, 4, alarms=ALARMS, intervenes=intervenes, acted=acted)
    runs(graph)
    content = graph.content(1.5)
    assert (content.headline.title, content.headline.urgency) == ("Alarm", urgency)
    assert "drop: 70%" in content.headline.detail
    assert [(round(span.begin_s, 3), round(span.end_s, 3), span.name) for span in content.alarms] == [
        (0.2, 0.4, "drop")
    ]
    assert content.episodes[0].alarm == "decision 2: drop"


def test_an_alarm_that_is_over_is_still_told(graph: WatchedGraph) -> None:
    play(graph, 0, START, 6, alarms=ALARMS)
    runs(graph)
    content = graph.content(1.5)
    assert content.headline.urgency is Urgency.CALM
    assert content.alarm == "no alarm now; the first one was at decision 2: drop"


def test_who_comes_late_hears_the_latched_alarm(graph: WatchedGraph) -> None:
    graph.message("/salus/episode", 1.0)
    graph.alarm(risk(12, 0.8, "drop", stamp_ns=START + 12 * 10**8))  # before the episode: topics are not ordered
    graph.episode(event(EventKind.STARTED, 0, START))
    content = graph.content(1.5)
    assert (content.headline.title, content.alarm) == ("Alarm", "drop: 80%, threshold 50%")
    graph.episode(event(EventKind.STARTED, 1, START + 10**11))
    assert graph.content(1.5).alarm == ""


def test_an_intervention_says_what_and_why(graph: WatchedGraph) -> None:
    chosen = [("plan", ""), ("careful", "the hand closes askew"), ("careful", "the hand closes askew")]
    play(graph, 0, START, 3, chosen=chosen)
    runs(graph)
    content = graph.content(1.5)
    assert content.headline.title == "Running: careful"
    assert content.headline.detail.startswith("the hand closes askew")
    assert content.motion is not None
    assert content.motion.risks[0][0] == "careful"
    assert [span.name for span in content.motion.spans] == ["careful"]
    assert content.episodes[0].motions == "careful from decision 1"


def test_a_hand_over_asks_until_the_episode_is_over(graph: WatchedGraph) -> None:
    end_ns = play(graph, 0, START, 3, chosen=[("plan", ""), ("plan", ""), (HAND_OVER, STUCK)])
    runs(graph)
    assert graph.content(1.5).headline.title == "Handed over to a person"
    assert graph.content(1.5).headline.urgency is Urgency.ACT
    graph.episode(dataclasses.replace(event(EventKind.ENDED, 0, end_ns, "HANDED_OVER"), decisions=3))
    assert graph.content(1.5).headline.urgency is Urgency.CALM
    assert graph.content(1.5).tally == "1 HANDED_OVER"


def test_silence_and_the_end_of_a_run_are_told(graph: WatchedGraph) -> None:
    end_ns = play(graph, 3, START, 3)
    graph.episode(event(EventKind.ENDED, 3, end_ns, "SUCCESS", "in the bin", 3))
    runs(graph)
    assert graph.content(1.5).headline.title == "Episode 3 ended: SUCCESS"
    assert graph.content(30.0).headline.title == "Nothing heard for 29 s"
    assert graph.content(30.0).cameras == dict.fromkeys(("front", "side", "top"), "nothing new for 29 s")
    graph.status("episode", NodeState.READY, RUN_COMPLETE, "1 SUCCESS")
    assert graph.content(1.5).headline.title == "The run is complete"
