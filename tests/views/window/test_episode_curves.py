"""What is drawn is the episode that goes on, in whatever order, with whatever holes and jumps its messages arrive."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from predicted import risk
from salus_vla.contract.message_readers import EventKind
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.window.episode_list import END_NOT_HEARD
from salus_vla.views.window.watched_graph import WatchedGraph
from salus_vla.views.window.window_content import WindowContent
from watched import DECISION_NS, event, motion, play, signals

SECOND = 10**9
START = 100 * SECOND


def times(content: WindowContent) -> list[float]:
    return list(content.curves[0].seconds)


def graph() -> WatchedGraph:
    return WatchedGraph(0.0, "7")


def test_time_counts_from_the_start_of_the_episode() -> None:
    watched = graph()
    play(watched, 0, START, 3)
    content = watched.content(1.0)
    np.testing.assert_allclose(times(content), [0.0, 0.1, 0.2], atol=1e-9)
    assert content.origin == "s since the episode's start"
    assert [curve.name for curve in content.curves] == list(NAMES)


def test_the_next_episode_begins_anew_and_keeps_what_came_before_its_start_was_told() -> None:
    watched = graph()
    end_ns = play(watched, 0, START, 5)
    watched.episode(event(EventKind.ENDED, 0, end_ns, "DROP", decisions=5))
    start_ns = end_ns + SECOND
    watched.decision(0, 80.0, signals(0), start_ns)
    watched.episode(event(EventKind.STARTED, 1, start_ns))
    watched.decision(1, 80.0, signals(1), start_ns + DECISION_NS)
    np.testing.assert_allclose(times(watched.content(1.0)), [0.0, 0.1], atol=1e-9)
    rows = watched.content(1.0).episodes
    assert [(row.episode, row.outcome, row.decisions) for row in rows] == [(1, "running", 2), (0, "DROP", 5)]


def test_a_loop_shows_the_new_pass_only_and_one_row() -> None:
    watched = graph()
    for _ in range(3):
        end_ns = play(watched, 0, START, 40)
        watched.episode(event(EventKind.ENDED, 0, end_ns, "SUCCESS", decisions=40))
    play(watched, 0, START, 4)
    content = watched.content(1.0)
    np.testing.assert_allclose(times(content), [0.0, 0.1, 0.2, 0.3], atol=1e-9)
    assert len(content.risks[0].seconds) == 4
    assert [row.outcome for row in content.episodes] == ["running"]


def test_what_still_waits_when_the_clock_goes_back_is_of_the_pass_before() -> None:
    watched = graph()
    end_ns = play(watched, 0, START, 40)
    watched.clock(START * 1e-9, 1.0)
    watched.decision(40, 80.0, signals(40), end_ns + DECISION_NS)  # topics are not ordered among each other
    assert times(watched.content(1.0)) == []
    watched.episode(event(EventKind.STARTED, 0, START))
    watched.decision(0, 80.0, signals(0), START)
    assert times(watched.content(1.0)) == [0.0]


def test_a_graph_that_starts_again_begins_anew() -> None:
    watched = graph()
    play(watched, 0, START, 30)
    play(watched, 0, 2 * SECOND, 2)
    np.testing.assert_allclose(times(watched.content(1.0)), [0.0, 0.1], atol=1e-9)
    # The same episode of the same run and seed is one row; another one shows that the end was not heard.
    watched.episode(event(EventKind.STARTED, 9, 90 * SECOND))
    assert [row.outcome for row in watched.content(1.0).episodes] == ["running", END_NOT_HEARD]


def test_without_a_start_time_counts_from_the_first_that_was_heard() -> None:
    watched = graph()
    for decision in (30, 31):
        watched.decision(decision, 80.0, signals(decision), START + decision * DECISION_NS)
    content = watched.content(1.0)
    np.testing.assert_allclose(times(content), [0.0, 0.1], atol=1e-9)
    assert content.origin == "s since what was heard first"
    watched.decision(0, 80.0, signals(0), START + 50 * DECISION_NS)  # another episode, whose start was not heard
    assert len(times(watched.content(1.0))) == 1


def test_an_overtaken_decision_finds_its_place_and_a_repeated_one_none() -> None:
    watched = graph()
    for decision in (0, 1, 3, 2, 4, 4):
        watched.decision(decision, 80.0, signals(decision), START + decision * DECISION_NS)
    content = watched.content(1.0)
    np.testing.assert_allclose(times(content), [0.0, 0.1, 0.2, 0.3, 0.4], atol=1e-9)
    expected = [signals(decision)[4] for decision in range(5)]
    np.testing.assert_allclose(content.curves[4].values, expected)


def test_a_start_that_is_told_once_more_changes_nothing() -> None:
    watched = graph()
    play(watched, 0, START, 3)
    before = watched.revision
    watched.episode(event(EventKind.STARTED, 0, START))
    assert (watched.revision, len(times(watched.content(1.0)))) == (before, 3)


def test_on_a_logarithmic_axis_nothing_is_below_it_and_nan_stays_a_gap() -> None:
    watched = graph()
    watched.decision(0, 80.0, [0.0, 1e-5, *[float("nan")] * 10], START)
    watched.decision(1, 80.0, [3e-5, 1e-4, *[float("nan")] * 10], START + DECISION_NS)
    epistemic, sampling, *rest = watched.content(1.0).curves
    assert epistemic.log
    assert epistemic.values[0] == epistemic.bounds[0] > 0.0
    assert sampling.bounds[0] <= 1e-5 < 1e-4 <= sampling.bounds[1]
    assert all(np.isnan(curve.values).all() and curve.now == "not known" for curve in rest)
    assert all(low < high for low, high in (curve.bounds for curve in rest))


class AnyOrder(RuleBasedStateMachine):
    """Episodes whose topics are late against each other, lose messages, loop and start again."""

    TOPICS = ("episode", "signals", "risk", "motion", "clock")

    @initialize()
    def begin(self) -> None:
        self.watched = graph()
        self.now_ns, self.episode, self.decision = START, 0, -1
        self.queues: dict[str, list[Any]] = {name: [] for name in self.TOPICS}

    def _deliver(self, topic: str, item: Any) -> None:
        watched = self.watched
        if topic == "episode":
            watched.episode(item)
        elif topic == "clock":
            watched.clock(item * 1e-9, 1.0)
        elif topic == "signals":
            watched.decision(item[0], 80.0, signals(item[0]), item[1])
        elif topic == "risk":
            watched.prediction(risk(item[0], stamp_ns=item[1]))
        else:
            watched.intervention(motion(item[0], item[1]))

    @rule(lost=st.sets(st.sampled_from(TOPICS), max_size=2), seconds=st.integers(1, 40))
    def starts(self, lost: set[str], seconds: int) -> None:
        self.now_ns += seconds * SECOND
        self.episode, self.decision = self.episode + 1, -1
        if "episode" not in lost:
            self.queues["episode"].append(event(EventKind.STARTED, self.episode, self.now_ns))
        if "clock" not in lost:
            self.queues["clock"].append(self.now_ns)

    @rule(lost=st.sets(st.sampled_from(TOPICS), max_size=4), count=st.integers(1, 12))
    def decides(self, lost: set[str], count: int) -> None:
        for _ in range(count):
            self.decision += 1
            self.now_ns += DECISION_NS
            for topic in ("signals", "risk", "motion"):
                if topic not in lost:
                    self.queues[topic].append((self.decision, self.now_ns))
            if "clock" not in lost:
                self.queues["clock"].append(self.now_ns)

    @precondition(lambda self: self.decision >= 0)
    @rule(heard=st.booleans())
    def ends(self, heard: bool) -> None:
        if heard:
            words = event(EventKind.ENDED, self.episode, self.now_ns, "MISS", decisions=self.decision)
            self.queues["episode"].append(words)

    @rule(seconds=st.integers(2, 400))
    def goes_back(self, seconds: int) -> None:
        self.now_ns = max(SECOND, self.now_ns - seconds * SECOND)
        self.decision = -1

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 40))
    def arrives(self, topic: str, count: int) -> None:
        for _ in range(min(count, len(self.queues[topic]))):
            self._deliver(topic, self.queues[topic].pop(0))

    @precondition(lambda self: len(self.queues["signals"]) > 1)
    @rule()
    def overtakes(self) -> None:
        first, second, *rest = self.queues["signals"]
        self.queues["signals"] = [second, first, *rest]

    @invariant()
    def curves_are_of_one_episode(self) -> None:
        if not hasattr(self, "watched"):
            return
        content = self.watched.content(1.0)
        for seconds in (times(content), *(list(curve.seconds) for curve in content.risks)):
            assert all(before < after for before, after in pairwise(seconds))
            assert not seconds or 0.0 <= seconds[0] <= seconds[-1] <= content.span_s + 1e-9
        assert all(len(curve.seconds) == len(curve.values) for curve in content.curves)
        assert all(span.begin_s < span.end_s for span in content.alarms)
        keys = [(row.run_id, row.episode) for row in content.episodes]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        """Whatever was before: an episode that is heard in full is shown in full, and nothing else."""
        if not hasattr(self, "watched"):
            return
        for topic in self.TOPICS:
            for item in self.queues[topic]:
                self._deliver(topic, item)
        start_ns = self.now_ns + 5 * SECOND
        play(self.watched, 10_000, start_ns, 25)
        content = self.watched.content(1.0)
        np.testing.assert_allclose(times(content), np.arange(25) * 0.1, atol=1e-6)
        expected = [signals(decision)[4] for decision in range(25)]
        np.testing.assert_allclose(content.curves[4].values, expected)
        assert len(content.risks[0].seconds) == 25
        assert content.episodes[0].episode == 10_000


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
