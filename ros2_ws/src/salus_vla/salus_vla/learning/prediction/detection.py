"""Alarms against outcomes: how many failures are seen, when, and at the price of how many false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import FloatArray
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.prediction.questions import closing_s, rows_of
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.alarm_band import conformal_quantile


@dataclass(frozen=True)
class Detection:
    """A method at a threshold.

    Attributes:
        false_alarms: successes that ever alarm.
        seen: failures that alarm before their event, or their end.
        balanced_accuracy: mean of the shares seen and not falsely alarmed; NaN where one of them has no episode.
        time_weighted_accuracy: balanced accuracy with each failure seen weighted by the share of it that is left
            (2510.09459).
        lead_s: median of the event's time minus the first alarm's; NaN where none is seen.
        leads_s: all of them.
    """

    false_alarms: Share
    seen: Share
    balanced_accuracy: float
    time_weighted_accuracy: float
    lead_s: float
    leads_s: tuple[float, ...]


def detect(samples: Samples, episodes: NDArray[np.bool_], alarms: NDArray[np.bool_]) -> Detection:
    """Counts.

    Args:
        samples: of the episodes.
        episodes: those that count, (E,).
        alarms: of all decisions, (N,).
    """
    false, leads, weights, failures, successes = 0, [], [], 0, 0
    for rows in rows_of(samples, episodes):
        episode = int(samples.episode[rows[0]])
        at = samples.time_s[rows[alarms[rows]]]
        if samples.success[episode]:
            successes += 1
            false += bool(len(at))
            continue
        failures += 1
        end = samples.event_s[episode] if np.isfinite(samples.event_s[episode]) else samples.end_s[episode]
        if len(at) and at[0] < end:
            leads.append(float(end - at[0]))
            weights.append(float((end - at[0]) / max(end, 1e-9)))
    seen, not_false = Share(len(leads), failures), Share(successes - false, successes)
    share, kept = seen.share, not_false.share
    nan = float("nan")
    return Detection(
        false_alarms=Share(false, successes),
        seen=seen,
        balanced_accuracy=nan if share is None or kept is None else (share + kept) / 2,
        time_weighted_accuracy=nan if not failures or kept is None else (sum(weights) / failures + kept) / 2,
        lead_s=float(np.median(leads)) if leads else nan,
        leads_s=tuple(leads),
    )


def constant_threshold(samples: Samples, successes: NDArray[np.bool_], scores: FloatArray, alpha: float) -> float:
    """The threshold that a share alpha of successes (E,) ever passes, by the conformal quantile of their maxima."""
    return _quantile([float(scores[rows].max()) for rows in rows_of(samples, successes)], alpha)


@dataclass(frozen=True)
class Foreseen:
    """Events that were alarmed before they began.

    Attributes:
        seen: events alarmed before they began.
        false_alarms: successes that alarm in the same stretch.
        lead_s: median lead; NaN where none is seen.
    """

    seen: Share
    false_alarms: Share
    lead_s: float


def misses_foreseen(
    samples: Samples, calibration: NDArray[np.bool_], test: NDArray[np.bool_], scores: FloatArray, alpha: float
) -> Foreseen:
    """First closings on nothing that alarm before the hand closes; the threshold is of calibration successes' peaks."""

    def until_closing(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], float, bool]:
        closing, empty = closing_s(samples, rows)
        return rows[samples.time_s[rows] < closing - 1e-6], closing, empty

    peaks = [
        float(scores[before].max())
        for before, _, empty in map(until_closing, rows_of(samples, calibration & samples.success))
        if len(before) and not empty
    ]
    threshold = _quantile(peaks, alpha)
    seen, false, leads, events, others = 0, 0, [], 0, 0
    for rows in rows_of(samples, test):
        before, closing, empty = until_closing(rows)
        alarms = samples.time_s[before[scores[before] > threshold]]
        if empty:
            events += 1
            seen += bool(len(alarms))
            leads += [float(closing - alarms[0])] if len(alarms) else []
        elif samples.success[samples.episode[rows[0]]] and np.isfinite(closing):
            others += 1
            false += bool(len(alarms))
    return Foreseen(Share(seen, events), Share(false, others), float(np.median(leads)) if leads else float("nan"))


def losses_foreseen(
    samples: Samples, calibration: NDArray[np.bool_], test: NDArray[np.bool_], scores: FloatArray, alpha: float
) -> Foreseen:
    """Grasps that end in a loss and alarm before it, against episodes that succeed and lose nothing."""

    def kept(episodes: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        rows = [rows[np.isfinite(samples.since_grasp_s[rows])] for rows in rows_of(samples, episodes & samples.success)]
        return [item for item in rows if len(item) and not np.isfinite(samples.loss_s[item]).any()]

    threshold = _quantile([float(scores[rows].max()) for rows in kept(calibration)], alpha)
    quiet = kept(test)
    false = sum(bool((scores[rows] > threshold).any()) for rows in quiet)
    seen, leads, events = 0, [], 0
    for rows in rows_of(samples, test):
        held = rows[np.isfinite(samples.loss_s[rows])]
        for loss in np.unique(samples.loss_s[held]):
            grasp = held[samples.loss_s[held] == loss]
            events += 1
            alarms = samples.time_s[grasp[scores[grasp] > threshold]]
            if len(alarms) and alarms[0] < loss:
                seen += 1
                leads.append(float(loss - alarms[0]))
    return Foreseen(Share(seen, events), Share(false, len(quiet)), float(np.median(leads)) if leads else float("nan"))


def _quantile(peaks: Sequence[float], alpha: float) -> float:
    """As of the alarm's band; infinite where the peaks are too few for alpha."""
    try:
        return conformal_quantile(np.sort(peaks), alpha)
    except ConfigError:
        return float("inf")
