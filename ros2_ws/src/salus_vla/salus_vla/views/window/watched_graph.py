"""Everything that was heard of a graph, and what the window shows of it now. No Qt, no ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from salus_vla.contract import CAMERAS, image_topic
from salus_vla.contract.foreseen_risk import PREDICTED, ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.told_motion import ToldMotion, interventions_in_words, stretches
from salus_vla.signals.safety_signals import SIGNALS, Signal
from salus_vla.views.graph_monitor import GraphMonitor, Snapshot
from salus_vla.views.window.episode_curves import Decided, EpisodeCurves, EpisodeView
from salus_vla.views.window.episode_list import EpisodeList
from salus_vla.views.window.headline import buttons, headline, ordered
from salus_vla.views.window.window_content import MotionContent, RiskCurve, SignalCurve, Span, WindowContent

# Variances and distances of activations span two decades and more within an episode of the shipped ensemble, the
# others less than one and a half: quantiles 1 % to 99 % over datasets/failures/compact-00.parquet.
LOG: Final = frozenset(signal.name for signal in SIGNALS if signal.unit == "rad^2" or signal.group == "activations")
SHORTEST_S: Final = 10.0  # of the time axis, so that the first seconds are not stretched
_STEP_S: Final = 5.0  # by which it grows
_DECISION_S: Final = 0.1
_IMAGE_OLD_S: Final = 3.0  # wall time
_NO_DECADES: Final = (1e-3, 1.0)  # of a logarithmic axis without a value above 0
_LEAST: Final = 1e-30


class WatchedGraph(GraphMonitor):
    """Collects what is heard, in any order; `content` is what there is to show.

    Attributes:
        revision: changes with everything that changes a curve or a word, apart from times.
    """

    def __init__(self, wall_s: float, domain: str) -> None:
        """Starts listening.

        Args:
            wall_s: any monotonic clock [s].
            domain: ROS domain, for words.
        """
        super().__init__(wall_s)
        self.revision = 0
        self._domain = domain
        self._curves = EpisodeCurves()
        self._episodes = EpisodeList()
        self._event: EpisodeEvent | None = None
        self._marks: list[EpisodeEvent] = []
        self._told_alarm: ForeseenRisk | None = None

    # -- what is heard -------------------------------------------------------------------------------------------------

    def clock(self, sim_s: float, wall_s: float) -> None:
        """See `GraphMonitor.clock`."""
        super().clock(sim_s, wall_s)
        self._curves.clock(round(sim_s * 1e9))

    def status(self, role: str, state: int, reason: str, detail: str) -> None:
        """See `GraphMonitor.status`."""
        super().status(role, state, reason, detail)
        self.revision += 1

    def episode(self, event: EpisodeEvent) -> None:
        """See `GraphMonitor.episode`."""
        if event.kind is EventKind.STARTED and event == self._event:
            return  # told once more
        super().episode(event)
        self._event = event
        self._curves.episode(event)
        self._episodes.take(event)
        if event.kind is EventKind.STARTED:
            self._marks.clear()
        elif event.event:
            self._marks = [mark for mark in self._marks if mark.event_stamp_ns != event.event_stamp_ns] + [event]
        self.revision += 1

    def decision(self, number: int, inference_ms: float, signals: Sequence[float], stamp_ns: int = 0) -> None:
        """See `GraphMonitor.decision`."""
        super().decision(number, inference_ms, signals, stamp_ns)
        decided = Decided(stamp_ns, number, np.asarray(signals, dtype=np.float64))
        self._curves.decided.add(decided, self._curves.clock_ns)
        self.revision += 1

    def prediction(self, risk: ForeseenRisk) -> None:
        """See `GraphMonitor.prediction`."""
        super().prediction(risk)
        self._curves.foreseen.add(risk, self._curves.clock_ns)
        self.revision += 1

    def alarm(self, risk: ForeseenRisk) -> None:
        """Notes a message on /salus/failure_alarm: for who came late the alarm that is in force."""
        self._told_alarm = risk
        self.revision += 1

    def intervention(self, told: ToldMotion) -> None:
        """See `GraphMonitor.intervention`."""
        super().intervention(told)
        self._curves.chosen.add(told, self._curves.clock_ns)
        self.revision += 1

    # -- what is shown -------------------------------------------------------------------------------------------------

    def content(self, wall_s: float) -> WindowContent:
        """What there is to show at this time."""
        snapshot, view = self.snapshot(wall_s), self._curves.view()
        risk = view.foreseen[-1] if view.foreseen else None
        alarm, first = self._alarm_in_force(view), self._first_alarm_of(view)
        motion = view.chosen[-1] if view.chosen else None
        begun = [stretch.first for stretch in stretches(view.chosen) if stretch.first.intervenes]
        story = interventions_in_words(begun)
        decisions = view.decided[-1].decision + 1 if view.decided else None
        first_words = "" if first is None else f"decision {first.decision}: {first.alarm}"
        self._episodes.tell(decisions, first_words, story)
        watched = motion is None or not motion.acted
        alarm_words = "" if alarm is None else alarm.detail or alarm.alarm
        if not alarm_words and first is not None:
            told_words = f"no alarm now; the first one was at {first_words}"
        else:
            told_words = alarm_words
        return WindowContent(
            headline=headline(
                heard=snapshot.heard,
                silent_s=snapshot.silent_s,
                domain=self._domain,
                roles=snapshot.roles,
                episode=self._event,
                motion=motion,
                handed_over=next((told for told in begun if told.hands_over), None),
                alarm=alarm_words,
                watched=watched,
            ),
            where=self._where(snapshot, view),
            task="" if self._event is None else self._event.task,
            origin="s since the episode's start" if view.started else "s since what was heard first",
            span_s=_span(view),
            curves=tuple(_signal_curve(index, signal, view) for index, signal in enumerate(SIGNALS)),
            risks=() if risk is None else tuple(_risk_curve(kind, view) for kind in PREDICTED),
            alarms=tuple(_alarms(view)),
            alarm=told_words,
            watched=watched,
            motion=None if motion is None else _motion_content(motion, story, view),
            marks=tuple(self._told_marks(view)),
            episodes=self._episodes.rows,
            tally=self._episodes.tally,
            roles=ordered(snapshot.roles),
            cameras={camera: _camera_words(snapshot, camera) for camera in CAMERAS},
            buttons=buttons(snapshot.roles),
        )

    def _alarm_in_force(self, view: EpisodeView) -> ForeseenRisk | None:
        newest = view.foreseen[-1] if view.foreseen else None
        if newest is not None:
            return newest if newest.alarm else None
        told = self._told_alarm
        return told if told is not None and told.alarm and _belongs(told, view) else None

    def _first_alarm_of(self, view: EpisodeView) -> ForeseenRisk | None:
        first = next((risk for risk in view.foreseen if risk.alarm), None)
        told = self._told_alarm
        if (
            told is not None
            and told.alarm
            and _belongs(told, view)
            and (first is None or told.decision < first.decision)
        ):
            return told
        return first

    def _told_marks(self, view: EpisodeView) -> list[Span]:
        """Events within what is shown; an event has one stamp."""
        if view.origin_ns is None:
            return []
        marks = []
        for event in self._marks:
            if event.event_stamp_ns is not None and event.event_stamp_ns >= view.origin_ns:
                at_s = view.seconds(event.event_stamp_ns)
                marks.append(Span(at_s, at_s, event.event))
        return marks

    def _where(self, snapshot: Snapshot, view: EpisodeView) -> str:
        """Run, episode, seed, decision, time and speed."""
        words = []
        if self._event is not None:
            words.append(f"run {self._event.run_id}, episode {self._event.episode}, seed {self._event.seed}")
        if view.decided:
            words.append(f"decision {view.decided[-1].decision} at {view.seconds(view.decided[-1].stamp_ns):.1f} s")
        if snapshot.inference_ms is not None and view.decided:
            words.append(f"decides in {snapshot.inference_ms:.0f} ms")
        if snapshot.sim_s is not None:
            words.append(f"sim time {snapshot.sim_s:.1f} s")
        if snapshot.speed is not None:
            words.append(f"{snapshot.speed:.1f} x real time")
        return ", ".join(words) if words else f"ROS_DOMAIN_ID={self._domain}"


def _belongs(told: ForeseenRisk, view: EpisodeView) -> bool:
    after = view.origin_ns is None or told.stamp_ns >= view.origin_ns
    return after and (view.end_ns is None or told.stamp_ns <= view.end_ns)


def _span(view: EpisodeView) -> float:
    newest = max((series[-1].stamp_ns for series in (view.decided, view.foreseen, view.chosen) if series), default=None)
    reached = 0.0 if newest is None else view.seconds(newest)
    return max(SHORTEST_S, math.ceil(reached / _STEP_S) * _STEP_S)


def _signal_curve(index: int, signal: Signal, view: EpisodeView) -> SignalCurve:
    seconds = np.array([view.seconds(item.stamp_ns) for item in view.decided], dtype=np.float64)
    values = np.array([item.values[index] for item in view.decided], dtype=np.float64)
    now = _short(float(values[-1])) if len(values) and math.isfinite(values[-1]) else "not known" if len(values) else ""
    log = signal.name in LOG
    if log:
        values, bounds = _on_log_axis(values)
    else:
        bounds = _on_linear_axis(values)
    return SignalCurve(signal.name, signal.unit, signal.group, log, seconds, values, bounds, now)


def _short(value: float) -> str:
    return f"{value:.0f}" if 100.0 <= abs(value) < 1e5 else f"{value:.2g}"


def _on_log_axis(values: FloatArray) -> tuple[FloatArray, tuple[float, float]]:
    """Values and whole decades around them; what is not above 0 lies on the lower edge."""
    finite = values[np.isfinite(values)]
    above = finite[finite > 0.0]
    low, high = (float(above.min()), float(above.max())) if len(above) else _NO_DECADES
    low = max(low, _LEAST)
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(max(high, low)))
    bounds = (10.0**bottom, 10.0 ** max(top, bottom + 1))
    return np.where(np.isfinite(values), np.maximum(values, bounds[0]), np.nan), bounds


def _on_linear_axis(values: FloatArray) -> tuple[float, float]:
    """From 0, or what is below, to a little above the largest value."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = min(0.0, float(finite.min())), max(0.0, float(finite.max()))
    return (low, high + 0.08 * (high - low)) if high > low else (0.0, 1.0)


def _risk_curve(kind: str, view: EpisodeView) -> RiskCurve:
    seconds = np.array([view.seconds(item.stamp_ns) for item in view.foreseen], dtype=np.float64)
    values = np.array([item.values[kind] for item in view.foreseen], dtype=np.float64)
    limits = np.array([item.thresholds[kind] for item in view.foreseen], dtype=np.float64)
    both = np.concatenate([values, limits])
    largest = float(np.max(both[np.isfinite(both)], initial=0.05))
    value, limit = float(values[-1]), float(limits[-1])
    words = f"{value:.0%}" if math.isfinite(value) else "not known"
    if math.isfinite(limit):
        words += f", limit {limit:.0%}" if limit >= 0.1 else f", limit {limit:.1%}"
    return RiskCurve(kind, seconds, values, limits, min(1.0, 1.1 * largest), words)


def _alarms(view: EpisodeView) -> list[Span]:
    """Decisions in a row with an alarm of one kind."""
    spans: list[Span] = []
    previous = ""
    for item in view.foreseen:
        at_s = view.seconds(item.stamp_ns)
        if item.alarm and item.alarm == previous:
            spans[-1] = Span(spans[-1].begin_s, at_s + _DECISION_S, item.alarm)
        elif item.alarm:
            spans.append(Span(at_s, at_s + _DECISION_S, item.alarm))
        previous = item.alarm
    return spans


def _motion_content(motion: ToldMotion, story: str, view: EpisodeView) -> MotionContent:
    chosen = {motion.chosen: motion.failure[motion.chosen]} if motion.chosen in motion.failure else {}
    risks = {**chosen, **motion.failure}
    spans = []
    for stretch in stretches(view.chosen):
        if stretch.first.intervenes:
            begin_s = view.seconds(stretch.first.stamp_ns)
            end_s = view.seconds(view.chosen[stretch.end - 1].stamp_ns) + _DECISION_S
            spans.append(Span(begin_s, end_s, stretch.first.name))
    return MotionContent(
        title="follows its plan" if not motion.intervenes else motion.name,
        why=motion.reason or ("nothing speaks against it" if not motion.intervenes else ""),
        risks=tuple(risks.items()),
        story=story,
        spans=tuple(spans),
    )


def _camera_words(snapshot: Snapshot, camera: str) -> str:
    line = next((line for line in snapshot.topics if line.name == image_topic(camera).name), None)
    if line is None or line.age_s is None:
        return "no picture yet"
    return f"nothing new for {line.age_s:.0f} s" if line.age_s > _IMAGE_OLD_S else ""
