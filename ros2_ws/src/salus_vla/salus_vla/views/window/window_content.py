"""What the window shows at one moment: values for widgets, which decide nothing themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from salus_vla.contract.types import FloatArray
from salus_vla.views.graph_monitor import RoleLine


class Urgency(Enum):
    """What is asked of a person. Only `ACT` has a warning colour."""

    CALM = "calm"
    ACT = "act"


@dataclass(frozen=True)
class Headline:
    """State and reason in words.

    Attributes:
        title: a few words.
        detail: the reason in words, or empty.
        urgency: whether a person should act.
    """

    title: str
    detail: str
    urgency: Urgency = Urgency.CALM


@dataclass(frozen=True)
class SignalCurve:
    """One signal in this episode.

    Attributes:
        name, unit, group: of the signal.
        log: drawn on a logarithmic axis.
        seconds: since the episode's start, shape (N,) [s].
        values: shape (N,), NaN where it could not be computed; above 0 on a logarithmic axis.
        bounds: of the axis, the smaller one above 0 on a logarithmic one.
        now: newest value in words.
    """

    name: str
    unit: str
    group: str
    log: bool
    seconds: FloatArray
    values: FloatArray
    bounds: tuple[float, float]
    now: str


@dataclass(frozen=True)
class RiskCurve:
    """The probability of one kind of failure in this episode.

    Attributes:
        kind: of `foreseen_risk.PREDICTED`.
        seconds: since the episode's start, shape (N,) [s].
        values, thresholds: shape (N,), NaN where not known.
        top: of the axis, which begins at 0.
        now: newest value and threshold in words.
    """

    kind: str
    seconds: FloatArray
    values: FloatArray
    thresholds: FloatArray
    top: float
    now: str


@dataclass(frozen=True)
class Span:
    """A stretch of the episode: seconds since its start, and what was then."""

    begin_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class MotionContent:
    """What the intervention chose.

    Attributes:
        title: the motion in force in words.
        why: the reason, or that nothing is known.
        risks: probability of failure with each motion that was weighed, the chosen one first.
        story: interventions of the episode so far in words, or empty.
        spans: stretches with another motion than the plan.
    """

    title: str
    why: str
    risks: tuple[tuple[str, float], ...] = ()
    story: str = ""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class EpisodeRow:
    """An episode of the list.

    Attributes:
        run_id, episode, seed: which.
        outcome: how it ended; `running`, or `end not heard` when another one began.
        decisions: that it took so far; None while none was heard.
        alarm: decision and kind of its first alarm, or empty.
        motions: interventions in words, or empty.
        detail: the event in words.
    """

    run_id: str
    episode: int
    seed: int
    outcome: str
    decisions: int | None = None
    alarm: str = ""
    motions: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Buttons:
    """What can be asked of the policy's node now.

    Attributes:
        hold: that the arm brakes and holds.
        go_on: that a hold which somebody asked for ends.
        reset: that a hold which the watchdog latched ends; this is what the graph waits for.
    """

    hold: bool = False
    go_on: bool = False
    reset: bool = False


@dataclass(frozen=True)
class WindowContent:
    """Everything.

    Attributes:
        headline: state and reason.
        where: run, episode, seed, time, in words.
        task: what the policy was told, or empty.
        origin: what the time axis counts from, in words.
        span_s: end of the time axis, which begins at 0 [s].
        curves: the twelve signals in the order of the vector.
        risks: by kind; empty where no predictor was heard.
        alarms: stretches with an alarm, named by its kind.
        alarm: the alarm in words: now, or the first one; empty without.
        watched: whether somebody must look at an alarm, because nothing intervenes.
        motion: what the intervention chose; None where none was heard.
        marks: events of the episode.
        episodes: the newest first.
        tally: outcomes in words.
        roles: nodes by name.
        cameras: what is wrong with each camera's picture in words; empty where it is as it should be.
        buttons: what can be asked.
    """

    headline: Headline
    where: str
    task: str
    origin: str
    span_s: float
    curves: tuple[SignalCurve, ...]
    risks: tuple[RiskCurve, ...] = ()
    alarms: tuple[Span, ...] = ()
    alarm: str = ""
    watched: bool = False
    motion: MotionContent | None = None
    marks: tuple[Span, ...] = ()
    episodes: tuple[EpisodeRow, ...] = ()
    tally: str = ""
    roles: tuple[RoleLine, ...] = ()
    cameras: dict[str, str] = field(default_factory=dict)
    buttons: Buttons = Buttons()
