"""Decisions shortly before a failure beside decisions of successes at the same phase, and the AUROC among them.

Phase is the time since the gripper was told to close, by tenths of a second: what is compared is never an early
decision of one group with a late one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.manifold.manifold_samples import ManifoldSamples

BEFORE_S = (0.5, 1.0)  # the chunk as executed ends by the event: later ones are cut off by it, which would tell it
RESAMPLES = 1000
_PERIOD_S = 0.1
_HALF = 0.01


@dataclass(frozen=True, eq=False)
class MatchedCases:
    """Decisions of both groups.

    Attributes:
        rows: decisions, (n,).
        positive: whether they come before a failure, (n,).
        phase: tenths of a second since the gripper was told to close, (n,).
        seeds: (n,).
        episodes: number of failures and of successes.
    """

    rows: NDArray[np.int64]
    positive: NDArray[np.bool_]
    phase: NDArray[np.int64]
    seeds: NDArray[np.int64]
    episodes: tuple[int, int]


@dataclass(frozen=True)
class MatchedArea:
    """An AUROC within phases, weighted by failures, with its 95 % interval (bootstrap over seeds).

    Attributes:
        value, low, high: None where a group is empty.
    """

    value: float | None
    low: float | None
    high: float | None


def cases_before(samples: ManifoldSamples, episodes: NDArray[np.bool_], *, miss: bool) -> MatchedCases:
    """Decisions 1 to 0.5 s before closings on nothing, or before drops and collisions, and those of clean successes.

    Args:
        samples: all of them.
        episodes: that may be looked at, (E,).
        miss: whether the event is a closing on nothing.
    """
    of = samples.episode
    closing = samples.closing_s[of]
    fails = np.isfinite(samples.event_s) & (samples.miss == miss) & episodes
    away = samples.event_s[of] - samples.time_s
    known = samples.whole & np.isfinite(closing)
    before = (away >= BEFORE_S[0] - _HALF) & (away <= BEFORE_S[1] + _HALF)
    phase = np.round((samples.time_s - np.nan_to_num(closing)) / _PERIOD_S).astype(np.int64)
    positive = known & fails[of] & before
    negative = known & (samples.clean & episodes)[of] & np.isin(phase, phase[positive])
    positive &= np.isin(phase, phase[negative])
    rows = np.flatnonzero(positive | negative)
    counts = tuple(len(np.unique(of[group])) for group in (positive, negative))
    return MatchedCases(rows, positive[rows], phase[rows], samples.seed[of[rows]], (counts[0], counts[1]))


class Areas:
    """AUROCs of scores on the same cases, and on the same resamples of their seeds."""

    def __init__(self, cases: MatchedCases, resamples: int = RESAMPLES) -> None:
        """Draws the resamples."""
        self._cases = cases
        seeds, self._of_seed = np.unique(cases.seeds, return_inverse=True)
        random = np.random.default_rng(0)
        drawn = random.integers(len(seeds), size=(resamples, len(seeds))) if len(seeds) else np.zeros((0, 0), int)
        counts = [np.bincount(row, minlength=len(seeds)) for row in drawn]
        self._weights = np.array([np.ones(len(seeds)), *counts], dtype=np.float64)[:, self._of_seed]

    def all(self, scores: FloatArray) -> FloatArray:
        """Of the cases (n,): the AUROC, then one for each resample; NaN where a group is empty."""
        cases = self._cases
        total, norm = (np.zeros(len(self._weights)) for _ in range(2))
        for phase in np.unique(cases.phase):
            bad = np.flatnonzero((cases.phase == phase) & cases.positive)
            good = np.flatnonzero((cases.phase == phase) & ~cases.positive)
            above = (scores[bad, None] > scores[good]) + 0.5 * (scores[bad, None] == scores[good])
            bad_weights, good_weights = self._weights[:, bad], self._weights[:, good]
            of_good = good_weights.sum(axis=1)
            shares = np.einsum("rb,rb->r", bad_weights @ above, good_weights) / np.maximum(of_good, 1e-9)
            total += shares
            norm += bad_weights.sum(axis=1) * (of_good > 0.0)
        with np.errstate(invalid="ignore"):
            found: FloatArray = np.where(norm > 0.0, total / norm, np.nan)
        return found

    @staticmethod
    def interval(values: FloatArray) -> MatchedArea:
        """Of what `all` gave, or of a difference of two."""
        if not np.isfinite(values[0]):
            return MatchedArea(None, None, None)
        low, high = np.nanpercentile(values[1:], (2.5, 97.5))
        return MatchedArea(float(values[0]), float(low), float(high))
