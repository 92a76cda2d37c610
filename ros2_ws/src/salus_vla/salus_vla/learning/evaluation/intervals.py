"""Confidence intervals of shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist

from salus_vla.contract.errors import ConfigError

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)


@dataclass(frozen=True)
class Share:
    """A part of a number of episodes, with its Wilson interval.

    Attributes:
        count: episodes that are meant.
        total: episodes that there are.
        share: count / total; None of no episodes.
        low, high: limits of the 95 % interval; 0 and 1 of no episodes, of which nothing is known.
    """

    count: int
    total: int
    share: float | None = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        low, high = wilson(self.count, self.total)
        for name, value in (("share", self.count / self.total if self.total else None), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)


def wilson(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """Score interval of a binomial share (Wilson 1927, J. Am. Stat. Assoc. 22:209-212).

    With p = count / n the limits are (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n): all shares
    that a test at this level would not reject. Unlike p +- z sqrt(p (1 - p) / n) it is right for few episodes and for
    shares near 0 and 1, where it stays inside [0, 1] and does not shrink to a point (Brown, Cai and DasGupta 2001,
    Stat. Sci. 16:101-133).

    Args:
        count: episodes that are meant.
        total: episodes that there are; 0 gives (0, 1).
        z: quantile of the normal distribution; for 95 % as it is.

    Raises:
        ConfigError: count is not within 0 and total.
    """
    if not 0 <= count <= total:
        raise ConfigError(f"count is {count} of {total} episodes, expected at least 0 and at most all")
    if total == 0:
        return 0.0, 1.0
    share, square = count / total, z * z
    middle = share + square / (2 * total)
    half = z * sqrt(share * (1.0 - share) / total + square / (4 * total * total))
    scale = 1.0 + square / total
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == total else (middle + half) / scale
    return low, high
