"""The questions that a predictor is asked, each as two groups of episodes with one score for each.

Never the maximum over an episode where groups are compared: failures run longer. Decisions are matched by their number,
or by the time since the grasp, or by the time before a closing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.learning.evaluation.auroc import Auroc, Group, compare
from salus_vla.learning.prediction.samples import Samples

PHYSICAL = (Outcome.COLLISION.name, Outcome.DROP.name, Outcome.MISS.name)
PHASES_S = (0.2, 0.3, 0.4, 0.6, 0.8, 1.2)
SLIP_WINDOWS_S = ((0.04, 0.24), (0.24, 0.6), (0.6, 1.2))
AT_DECISIONS = (2, 5, 10, 20, 30, 40)
_HALF = 0.05  # s, of a decision's period


@dataclass(frozen=True, eq=False)
class Chosen:
    """One decision, or one stretch of them, for each of n cases.

    Attributes:
        rows: decisions of each case; a case's score is the mean over them.
        positive: whether it is of the group that should score high, (n,).
        seeds: of its episode, (n,).
    """

    rows: tuple[NDArray[np.int64], ...]
    positive: NDArray[np.bool_]
    seeds: NDArray[np.int64]

    def values(self, scores: FloatArray) -> FloatArray:
        """Score of each case, (n,), from those of all decisions (N,)."""
        return np.array([scores[rows].mean() for rows in self.rows])

    def auroc(self, scores: FloatArray) -> Auroc:
        """With its interval; seeds are clusters."""
        values = self.values(scores)
        good, bad = ~self.positive, self.positive
        return compare(Group.of_valid(values[good], self.seeds[good]), Group.of_valid(values[bad], self.seeds[bad]))


def _chosen(samples: Samples, cases: list[tuple[NDArray[np.int64], bool]]) -> Chosen:
    rows = tuple(rows for rows, _ in cases)
    episodes = [int(samples.episode[item[0]]) for item in rows]
    return Chosen(
        rows, np.array([positive for _, positive in cases], dtype=np.bool_), samples.seed[np.array(episodes, dtype=int)]
    )


def at_decision(samples: Samples, episodes: NDArray[np.bool_], decision: int) -> Chosen:
    """Will this episode fail? Among episodes that still run at a decision."""
    rows = np.flatnonzero((samples.decision == decision) & samples.rows(episodes))
    return _chosen(samples, [(np.array([row]), bool(samples.fails[row])) for row in rows])


def matched_phase(samples: Samples, episodes: NDArray[np.bool_], phase_s: float) -> Chosen:
    """Is something about to happen? The last grasp of physical failures and of successes, so long after it began."""
    cases: list[tuple[NDArray[np.int64], bool]] = []
    physical = np.isin(samples.outcome, PHYSICAL)
    for rows in rows_of(samples, episodes & (physical | samples.success)):
        held = rows[np.isfinite(samples.since_grasp_s[rows])]
        if not len(held):
            continue
        since = samples.since_grasp_s[held]
        # The last grasp begins where the time since the grasp last fell.
        begin = int(np.flatnonzero(np.append(True, np.diff(since) < 0.0))[-1])
        at = begin + np.flatnonzero(np.abs(since[begin:] - phase_s) <= _HALF - 1e-9)
        if len(at):
            nearest = at[int(np.abs(since[at] - phase_s).argmin())]
            cases.append((held[nearest : nearest + 1], bool(samples.fails[held[0]])))
    return _chosen(samples, cases)


def slip(samples: Samples, episodes: NDArray[np.bool_], window_s: tuple[float, float]) -> Chosen:
    """Does the thing in the hand slip? Decisions of each first grasp in a window, by whether it has slipped."""
    cases: list[tuple[NDArray[np.int64], bool]] = []
    for rows in rows_of(samples, episodes):
        since = samples.since_grasp_s[rows]
        held = np.flatnonzero(np.isfinite(since))
        if not len(held):
            continue
        falls = np.flatnonzero(np.diff(since[held]) < 0.0)
        first = held[: falls[0] + 1] if len(falls) else held
        inside = rows[first[(since[first] >= window_s[0]) & (since[first] <= window_s[1])]]
        inside = inside[np.isfinite(samples.slips[inside])]
        if len(inside):
            cases.append((inside, bool(samples.slips[inside].max() > 0.5)))
    return _chosen(samples, cases)


def before_closing(samples: Samples, episodes: NDArray[np.bool_], before_s: float) -> Chosen:
    """Will the hand close on nothing? The decision so long before the first closing, on nothing or on the cube."""
    cases: list[tuple[NDArray[np.int64], bool]] = []
    for rows in rows_of(samples, episodes):
        closing, empty = closing_s(samples, rows)
        at = rows[samples.time_s[rows] <= closing - before_s + 1e-6]
        if len(at):
            cases.append((at[-1:], empty))
    return _chosen(samples, cases)


def closing_s(samples: Samples, rows: NDArray[np.int64]) -> tuple[float, bool]:
    """When an episode's hand first closed, and whether on nothing; -inf where it never did."""
    empty = float(samples.empty_closing_s[samples.episode[rows[0]]])
    held = rows[np.isfinite(samples.since_grasp_s[rows])]
    grasp = float(samples.time_s[held[0]] - samples.since_grasp_s[held[0]]) if len(held) else np.inf
    if np.isfinite(empty) and empty < grasp:
        return empty, True
    return (grasp, False) if np.isfinite(grasp) else (-np.inf, False)


def rows_of(samples: Samples, episodes: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Decisions of each of the episodes that are marked in (E,)."""
    ends = np.append(np.flatnonzero(samples.episode[1:] != samples.episode[:-1]) + 1, len(samples))
    starts = np.append(0, ends[:-1])
    return [np.arange(starts[index], ends[index]) for index in np.flatnonzero(episodes)]


@dataclass(frozen=True)
class Difference:
    """One AUROC minus another on the same cases, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """Whether the interval says that the first is above the second."""
        return self.low > 0.0


def compare_paired(chosen: Chosen, first: FloatArray, second: FloatArray, resamples: int = 1000) -> Difference | None:
    """Difference of two AUROCs by a paired bootstrap over seeds, which are drawn with all their episodes.

    Args:
        chosen: the cases.
        first: scores of all decisions, (N,).
        second: others.
        resamples: how many.

    Returns:
        None where a group is empty.
    """
    one, two = (chosen.values(scores) for scores in (first, second))
    if not chosen.positive.any() or chosen.positive.all():
        return None
    seeds, of_seed = np.unique(chosen.seeds, return_inverse=True)
    random = np.random.default_rng(0)
    areas = (_weighted_auroc(one, chosen.positive), _weighted_auroc(two, chosen.positive))
    everything = np.ones(len(one))
    found: list[float] = []
    for _ in range(resamples):
        weights = np.bincount(random.integers(len(seeds), size=len(seeds)), minlength=len(seeds))[of_seed].astype(float)
        if weights[chosen.positive].sum() > 0 and weights[~chosen.positive].sum() > 0:
            found.append(areas[0](weights) - areas[1](weights))
    low, high = np.percentile(found, (2.5, 97.5))
    return Difference(areas[0](everything) - areas[1](everything), float(low), float(high))


def _weighted_auroc(values: FloatArray, positive: NDArray[np.bool_]) -> Callable[[FloatArray], float]:
    """AUROC of cases with weights; ties count half."""
    _, rank = np.unique(values, return_inverse=True)

    def area(weights: FloatArray) -> float:
        good = np.bincount(rank, weights * ~positive, minlength=rank.max() + 1)
        bad = np.bincount(rank, weights * positive, minlength=rank.max() + 1)
        below = np.cumsum(good) - good
        return float((bad * (below + good / 2)).sum() / (good.sum() * bad.sum()))

    return area
