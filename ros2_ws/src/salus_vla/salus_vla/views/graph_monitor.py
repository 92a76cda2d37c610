"""What was heard of a graph lately: rates and ages of its topics, the signals, who does what and why."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from salus_vla.contract import CLOCK, TOPICS, Source, Topic
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.health.meters import SLOW
from salus_vla.safety.intervention.told_motion import EpisodeMotions, ToldMotion
from salus_vla.signals.safety_signals import NAMES

WINDOW_S = 3.0  # wall time over which rates are measured
HISTORY = 60  # decisions whose signals are kept
_JUDGED = 5.0  # messages due in the window from which a rate says something
# Names of `state` in Status.msg, by value.
STATES = ("STARTING", "READY", "RUNNING", "HOLDING", "FAILED")


class Pace(Enum):
    """How a topic does."""

    OK = "ok"
    SLOW = "slow"
    SILENT = "silent"  # it was heard, but not within the window
    UNHEARD = "unheard"


@dataclass(frozen=True)
class TopicLine:
    """One topic.

    Attributes:
        name: of the topic.
        count: messages heard.
        rate_hz: messages per second of sim time (of wall time without a /clock); None while unknown.
        due_hz: of the contract; None on event and for topics of several publishers.
        age_s: wall time since the newest message [s]; None before the first.
        pace: judged.
    """

    name: str
    count: int
    rate_hz: float | None
    due_hz: float | None
    age_s: float | None
    pace: Pace


@dataclass(frozen=True)
class RoleLine:
    """What one node says of itself on /salus/status: state, and the reason with its words where it has one."""

    role: str
    state: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Snapshot:
    """Everything to show.

    Attributes:
        heard: whether anything came.
        silent_s: wall time since the newest message of any topic, or since the beginning [s].
        sim_s: newest /clock [s]; None before the first.
        speed: seconds of sim time per second of wall time; None without a /clock.
        topics: those of the contract, in its order; optional ones only once heard.
        roles: the nodes, in the order in which they were first heard.
        episode: newest message on /salus/episode.
        outcomes: of the episodes that ended meanwhile.
        decision, inference_ms: of the newest decision.
        signals: name -> newest values, oldest first, NaN where not computable.
        risk: of the newest prediction of this episode; None without one.
        risks: newest probabilities that the episode does not succeed, oldest first.
        first_alarm: of this episode; None without one.
        motion: what was chosen at the newest decision of this episode; None where nobody can intervene.
        interventions: of this episode, in words; empty without.
        handed_over: why the arm was left to a person in this episode; empty if it was not.
    """

    heard: bool
    silent_s: float
    sim_s: float | None
    speed: float | None
    topics: tuple[TopicLine, ...]
    roles: tuple[RoleLine, ...]
    episode: EpisodeEvent | None
    outcomes: Counter[str]
    decision: int | None
    inference_ms: float | None
    signals: dict[str, tuple[float, ...]]
    risk: ForeseenRisk | None = None
    risks: tuple[float, ...] = ()
    first_alarm: ForeseenRisk | None = None
    motion: ToldMotion | None = None
    interventions: str = ""
    handed_over: str = ""


@dataclass
class _Heard:
    count: int = 0
    last_s: float | None = None
    recent: deque[float] = field(default_factory=deque)


class GraphMonitor:
    """Collects what is heard; wall times are of any monotonic clock [s]."""

    def __init__(self, wall_s: float) -> None:
        """Starts listening at `wall_s`."""
        self._began_s = wall_s
        self._topics = {topic.name: _Heard() for topic in TOPICS}
        self._clock: deque[tuple[float, float]] = deque()  # wall time, sim time [s]
        self._roles: dict[str, RoleLine] = {}
        self._episode: EpisodeEvent | None = None
        self._start_ns = 0  # sim time of the newest STARTED
        self._outcomes: Counter[str] = Counter()
        self._decision: int | None = None
        self._inference_ms: float | None = None
        self._signals: dict[str, deque[float]] = {name: deque(maxlen=HISTORY) for name in NAMES}
        self._risk: ForeseenRisk | None = None
        self._risks: deque[float] = deque(maxlen=HISTORY)
        self._first_alarm: ForeseenRisk | None = None
        self._motions = EpisodeMotions()

    @property
    def heard(self) -> bool:
        """Whether anything came yet."""
        return any(heard.count for heard in self._topics.values())

    def message(self, topic: str, wall_s: float) -> None:
        """Notes that a message came."""
        heard = self._topics[topic]
        heard.count += 1
        heard.last_s = wall_s
        heard.recent.append(wall_s)

    def clock(self, sim_s: float, wall_s: float) -> None:
        """Notes the time [s]; after a jump back speed and rates are measured anew."""
        if self._clock and sim_s < self._clock[-1][1]:
            self._clock.clear()
            for heard in self._topics.values():
                heard.recent.clear()
        self._clock.append((wall_s, sim_s))

    def status(self, role: str, state: int, reason: str, detail: str) -> None:
        """Notes a message on /salus/status."""
        name = STATES[state] if 0 <= state < len(STATES) else f"state {state}"
        self._roles[role] = RoleLine(role, name, reason, detail)

    def episode(self, event: EpisodeEvent) -> None:
        """Notes a message on /salus/episode; an episode that starts begins new histories of the signals."""
        if event.kind is EventKind.STARTED:
            self._start_ns = event.stamp_ns
            for values in self._signals.values():
                values.clear()
            self._decision = self._risk = self._first_alarm = None
            self._risks.clear()
            self._motions.reset()
        elif event.kind is EventKind.ENDED:
            self._outcomes[event.outcome] += 1
        self._episode = event

    def decision(self, number: int, inference_ms: float, signals: Sequence[float], stamp_ns: int = 0) -> None:
        """Notes a message on /salus/safety_signals; the twelve in the order of `signals.NAMES`.

        Its stamp [ns] is for whoever draws by sim time, and tells one of the episode before that comes late.
        """
        if 0 < stamp_ns < self._start_ns:
            return
        self._decision, self._inference_ms = number, inference_ms
        for name, value in zip(NAMES, signals, strict=True):
            self._signals[name].append(float(value))

    def prediction(self, risk: ForeseenRisk) -> None:
        """Notes a message on /salus/failure_prediction; one of the episode before that comes late says nothing."""
        if 0 < risk.stamp_ns < self._start_ns:
            return
        self._risk = risk
        self._risks.append(risk.failure)
        if risk.alarm and self._first_alarm is None:
            self._first_alarm = risk

    def intervention(self, told: ToldMotion) -> None:
        """Notes a message on /salus/intervention; likewise."""
        if 0 < told.stamp_ns < self._start_ns:
            return
        self._motions.take(told)

    def snapshot(self, wall_s: float) -> Snapshot:
        """What is known at this time."""
        start_s = wall_s - WINDOW_S
        while len(self._clock) > 1 and self._clock[0][0] < start_s:
            self._clock.popleft()
        lines = tuple(self._line(topic, wall_s, start_s) for topic in TOPICS)
        newest = max((heard.last_s for heard in self._topics.values() if heard.last_s is not None), default=None)
        handed = self._motions.handed_over
        return Snapshot(
            heard=newest is not None,
            silent_s=wall_s - (self._began_s if newest is None else newest),
            sim_s=self._clock[-1][1] if self._clock else None,
            speed=self._speed(wall_s),
            topics=tuple(line for line, topic in zip(lines, TOPICS, strict=True) if line.count or not topic.optional),
            roles=tuple(self._roles.values()),
            episode=self._episode,
            outcomes=self._outcomes.copy(),
            decision=self._decision,
            inference_ms=self._inference_ms,
            signals={name: tuple(values) for name, values in self._signals.items()},
            risk=self._risk,
            motion=self._motions.newest,
            interventions=self._motions.in_words,
            handed_over="" if handed is None else handed.reason or "to a person",
            risks=tuple(self._risks),
            first_alarm=self._first_alarm,
        )

    def _speed(self, wall_s: float) -> float | None:
        if not self._clock:
            return None
        first_wall, first_sim = self._clock[0]
        span_s = wall_s - first_wall
        return (self._clock[-1][1] - first_sim) / span_s if span_s > 0.0 else None

    def _line(self, topic: Topic, wall_s: float, start_s: float) -> TopicLine:
        heard = self._topics[topic.name]
        while heard.recent and heard.recent[0] < start_s:
            heard.recent.popleft()
        due = topic.rate_hz if topic.source is not Source.NODES else None
        rate, expected = self._rate(heard, topic, wall_s, due)
        if not heard.count:
            pace = Pace.UNHEARD
        elif not heard.recent and topic.rate_hz is not None:
            pace = Pace.SILENT
        else:
            slow = rate is not None and due is not None and expected >= _JUDGED and rate < SLOW * due
            pace = Pace.SLOW if slow else Pace.OK
        age_s = None if heard.last_s is None else wall_s - heard.last_s
        return TopicLine(topic.name, heard.count, rate, due, age_s, pace)

    def _rate(self, heard: _Heard, topic: Topic, wall_s: float, due: float | None) -> tuple[float | None, float]:
        """Messages per second from the first in the window on, and how many were due by then."""
        if topic.rate_hz is None or len(heard.recent) < 2:
            return None, 0.0
        first_s = heard.recent[0]
        if self._clock and topic.name != CLOCK.name:
            began = next((sim for wall, sim in self._clock if wall >= first_s), self._clock[-1][1])
            span_s = self._clock[-1][1] - began
        elif self._clock:
            span_s = self._clock[-1][1] - self._clock[0][1]
        else:
            span_s = wall_s - first_s
        rate = (len(heard.recent) - 1) / span_s if span_s > 0.0 else None
        return rate, span_s * (due or 0.0)
