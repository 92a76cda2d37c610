"""Area under the ROC curve of a signal between two groups of episodes, with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import FloatArray
from salus_vla.learning.evaluation.intervals import Z

# Four against four separate by chance in 1 of 70 cases, which is below the 2.5 % of each side of a 95 % interval; three
# against three in 1 of 20.
FEWEST = 4


@dataclass(frozen=True, eq=False)
class Group:
    """One value for each episode of a group.

    Attributes:
        values: finite, shape (n,).
        seeds: of the episodes, shape (n,); episodes of one seed have the same scene and the same noise.
    """

    values: FloatArray
    seeds: NDArray[np.int64]

    @classmethod
    def of_valid(cls, values: FloatArray, seeds: NDArray[np.int64]) -> Group:
        """The episodes that have a value; NaN (n,) stands for none."""
        known = np.isfinite(values)
        return cls(values[known], seeds[known])

    @property
    def size(self) -> int:
        """Number of episodes."""
        return len(self.values)

    @property
    def distinct(self) -> int:
        """Number of different seeds."""
        return len(np.unique(self.seeds))


@dataclass(frozen=True)
class Auroc:
    """How well a value tells two groups apart.

    Attributes:
        value: probability that an episode of the second group has the larger value, ties counting half; None where one
            of the groups has too few episodes.
        low, high: limits of the 95 % interval.
        first, second: episodes with a valid value in the groups.
    """

    value: float | None
    low: float | None
    high: float | None
    first: int
    second: int


def auroc(first: FloatArray, second: FloatArray) -> float:
    """Mann-Whitney statistic: the share of pairs (one of each group) in which the second is larger, ties half.

    Args:
        first: values of the episodes that should have small ones, (m,).
        second: of those that should have large ones, (n,).

    Raises:
        ConfigError: a group is empty, or a value is not finite.
    """
    for name, values in (("first", first), ("second", second)):
        if not len(values) or not np.isfinite(values).all():
            raise ConfigError(f"{name} group: has {len(values)} values, expected finite ones and at least one")
    # In whole numbers, so that it is exact.
    return int(_twice_below(second, first).sum()) / (2 * len(first) * len(second))


def compare(first: Group, second: Group, fewest: int = FEWEST) -> Auroc:
    """AUROC with a 95 % interval.

    The interval is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837-845), on the logit scale, which
    keeps it inside [0, 1]. Episodes of the same seed are not independent, within a group or across, so their terms are
    summed first (Obuchowski 1997, Biometrics 53:567-578); with different seeds everywhere this is DeLong's own
    variance. Where that variance is zero, as when the groups do not overlap at all, Newcombe's score interval (2006,
    Stat. Med. 25:559-573, method 5) of as many seeds takes its place, because a point would claim too much.

    Args:
        first: the group that should have small values.
        second: the group that should have large ones.
        fewest: seeds that each group must have; with fewer there is no AUROC.

    Raises:
        ConfigError: a value is not finite.
    """
    if min(first.distinct, second.distinct) < max(fewest, 2):
        return Auroc(None, None, None, first.size, second.size)
    value = auroc(first.values, second.values)
    variance = _variance(first, second, value)
    if variance > 1e-12 and 0.0 < value < 1.0:
        middle, half = log(value / (1.0 - value)), Z * sqrt(variance) / (value * (1.0 - value))
        low, high = _expit(middle - half), _expit(middle + half)
    else:
        low, high = _newcombe(value, first.distinct, second.distinct)
    return Auroc(value, low, high, first.size, second.size)


def _twice_below(values: FloatArray, others: FloatArray) -> NDArray[np.int64]:
    """For each value twice the number of others below it, those equal to it once."""
    ordered = np.sort(others)
    return np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")


def _variance(first: Group, second: Group, value: float) -> float:
    """Of the AUROC, with seeds as clusters."""
    m, n = first.size, second.size
    of_first = 1.0 - _twice_below(first.values, second.values) / (2 * n) - value
    of_second = _twice_below(second.values, first.values) / (2 * m) - value
    clusters, index = np.unique(np.concatenate([first.seeds, second.seeds]), return_inverse=True)
    total = len(clusters)
    sums_first = np.bincount(index[:m], of_first, minlength=total)
    sums_second = np.bincount(index[m:], of_second, minlength=total)
    first_part = _bessel(first.distinct) * float(sums_first @ sums_first) / m**2
    second_part = _bessel(second.distinct) * float(sums_second @ sums_second) / n**2
    both = _bessel(total) * float(sums_first @ sums_second) / (m * n)
    return first_part + second_part + 2.0 * both


def _bessel(count: int) -> float:
    return count / (count - 1)


def _newcombe(value: float, m: int, n: int) -> tuple[float, float]:
    """All areas A with (value - A)^2 <= z^2 V(A), V by Hanley and McNeil with both groups of the mean size."""

    def outside(area: float) -> bool:
        mean = (m + n) / 2 - 1
        variance = area * (1 - area) * (1 + mean * ((1 - area) / (2 - area) + area / (1 + area))) / (m * n)
        return (value - area) ** 2 > Z * Z * variance

    low = 0.0 if value == 0.0 else _border(outside, 0.0, value)
    high = 1.0 if value == 1.0 else _border(outside, 1.0, value)
    return low, high


def _border(outside: Callable[[float], bool], beyond: float, inside: float) -> float:
    """Where `outside` changes between a point outside and the value itself."""
    for _ in range(60):
        middle = (beyond + inside) / 2
        if outside(middle):
            beyond = middle
        else:
            inside = middle
    return inside


def _expit(value: float) -> float:
    return 1.0 / (1.0 + exp(-value)) if value >= 0.0 else 1.0 - 1.0 / (1.0 + exp(value))
