"""Alarms that were raised while a run was recorded, against how its episodes ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from salus_vla.contract.outcomes import Outcome, ended_as
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.data.recording import Predictions, Summary
from salus_vla.learning.evaluation.evaluated_episodes import APART
from salus_vla.learning.evaluation.intervals import Share

_NS = 1e-9


@dataclass(frozen=True)
class FirstAlarm:
    """Where an episode alarmed first: time since its first observation [s], number of the decision, kind, in words."""

    time_s: float
    decision: int
    kind: str
    detail: str


@dataclass(frozen=True)
class ForeseenEpisode:
    """What was foreseen of an episode.

    Attributes:
        outcome: how it ended.
        taken_over: another policy ended it.
        end_s: when the event that ended it was found, else its last observation, since the first one [s].
        alarm: the first before that; None without one.
        largest: largest probability that the episode does not succeed, before that; NaN where none is known.
        alpha: share of successes that may ever alarm; 0 of a predictor that was not calibrated and never alarms.
    """

    outcome: Outcome
    taken_over: bool
    end_s: float
    alarm: FirstAlarm | None
    largest: float
    alpha: float

    @property
    def complete(self) -> bool:
        """As `EvaluatedEpisode.complete`."""
        return self.outcome not in APART and not self.taken_over

    @property
    def lead_s(self) -> float | None:
        """From the first alarm to the end [s]; None without an alarm."""
        return None if self.alarm is None else self.end_s - self.alarm.time_s


@dataclass(frozen=True)
class AlarmKind:
    """Episodes whose first alarm was of this kind: successes, failures, and the lead of the latter [s]."""

    kind: str
    successes: int
    failures: int
    leads_s: tuple[float, ...]


@dataclass(frozen=True)
class AlarmOutcomes:
    """Alarms of a run; its shares are of complete episodes with predictions of a calibrated predictor.

    Attributes:
        successes: that alarmed.
        failures: that alarmed before their event, or their end.
        leads_s: of the failures that alarmed, ascending [s].
        kinds: by the kind of the first alarm, the most frequent one first.
        apart: how the others ended -> how many of them alarmed, and how many there are.
        unforeseen: complete episodes without predictions.
        uncalibrated: with predictions that cannot be alarms.
        alphas: shares that were promised; more than one when the predictor was changed within the run.
    """

    successes: Share
    failures: Share
    leads_s: tuple[float, ...]
    kinds: tuple[AlarmKind, ...]
    apart: dict[str, tuple[int, int]]
    unforeseen: int
    uncalibrated: int
    alphas: tuple[float, ...]

    @property
    def lead_s(self) -> float | None:
        """Median lead; None where no failure alarmed."""
        return median(self.leads_s) if self.leads_s else None


def foreseen_episode(
    predictions: Predictions,
    outcome: Outcome,
    *,
    start_ns: int,
    end_ns: int,
    event_ns: int | None = None,
    taken_over: bool = False,
) -> ForeseenEpisode:
    """What was foreseen before the event that ended an episode.

    Args:
        predictions: of the episode.
        outcome: how it ended.
        start_ns: stamp of the first observation [ns].
        end_ns: of the last one [ns].
        event_ns: when the event that ended it was found [ns]; None without one.
        taken_over: another policy ended it.
    """
    until_ns = end_ns if event_ns is None else min(event_ns, end_ns)
    stamps = predictions.stamps_ns
    # What is said of the last observation comes too late, by half a frame as everywhere where stamps are compared.
    inside = np.flatnonzero((stamps >= start_ns - HALF_FRAME_NS) & (stamps < until_ns - HALF_FRAME_NS))
    first = next((int(row) for row in inside if predictions.alarms[row]), None)
    risks = predictions.values["failure"][inside]
    known = risks[np.isfinite(risks)]
    return ForeseenEpisode(
        outcome=outcome,
        taken_over=taken_over,
        end_s=(until_ns - start_ns) * _NS,
        alarm=None
        if first is None
        else FirstAlarm(
            time_s=int(stamps[first] - start_ns) * _NS,
            decision=int(predictions.numbers[first]),
            kind=predictions.alarms[first],
            detail=predictions.details[first],
        ),
        largest=float(known.max()) if len(known) else float("nan"),
        alpha=predictions.alpha,
    )


def foreseen_of(summary: Summary, predictions: Predictions | None) -> ForeseenEpisode | None:
    """The same of an episode with its summary; None where nothing was foreseen or its end is not known."""
    if predictions is None or summary.end_ns is None:
        return None
    return foreseen_episode(
        predictions,
        summary.outcome,
        start_ns=summary.start_ns,
        end_ns=summary.end_ns,
        event_ns=summary.event_stamp_ns,
        taken_over=summary.taken_over,
    )


def alarm_outcomes(episodes: Sequence[ForeseenEpisode], unforeseen: int = 0) -> AlarmOutcomes:
    """Counts the alarms of the episodes of a run; `unforeseen` complete ones have no predictions."""
    counted = [item for item in episodes if item.complete and item.alpha > 0.0]
    good = [item for item in counted if item.outcome is Outcome.SUCCESS]
    bad = [item for item in counted if item.outcome is not Outcome.SUCCESS]
    others: dict[str, tuple[int, int]] = {}
    for item in episodes:
        if not item.complete:
            name = ended_as(item.outcome, taken_over=item.taken_over)
            alarmed, total = others.get(name, (0, 0))
            others[name] = (alarmed + (item.alarm is not None), total + 1)
    return AlarmOutcomes(
        successes=_alarmed(good),
        failures=_alarmed(bad),
        leads_s=_leads(bad),
        kinds=_kinds(good, bad),
        apart=dict(sorted(others.items())),
        unforeseen=unforeseen,
        uncalibrated=sum(item.complete and not item.alpha > 0.0 for item in episodes),
        alphas=tuple(sorted({round(item.alpha, 6) for item in counted})),
    )


def _alarmed(episodes: Sequence[ForeseenEpisode]) -> Share:
    return Share(sum(item.alarm is not None for item in episodes), len(episodes))


def _leads(failures: Sequence[ForeseenEpisode], kind: str | None = None) -> tuple[float, ...]:
    alarmed = [item for item in failures if item.alarm is not None and kind in (None, item.alarm.kind)]
    return tuple(sorted(lead for item in alarmed if (lead := item.lead_s) is not None))


def _kinds(successes: Sequence[ForeseenEpisode], failures: Sequence[ForeseenEpisode]) -> tuple[AlarmKind, ...]:
    good, bad = (
        Counter(item.alarm.kind for item in group if item.alarm is not None) for group in (successes, failures)
    )
    return tuple(
        AlarmKind(kind, good[kind], bad[kind], _leads(failures, kind)) for kind, _ in (good + bad).most_common()
    )
