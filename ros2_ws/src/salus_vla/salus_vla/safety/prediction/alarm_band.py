"""When a prediction is an alarm: a band over time that at most a share alpha of successful episodes ever leaves.

Split conformal prediction of a maximum (Vovk, Gammerman and Shafer 2005; with a band of varying width: Diquigiovanni,
Fontana and Vantini 2022, J. Multivar. Anal. 189). Some episodes give the shape of the band, others, which nothing was
learned from, its height, so that the promise holds for every alarm kind together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.predictor_network import FailureKind, Probabilities

SCORES: Final = ("failure", *(kind.name.lower() for kind in FailureKind), "slip")
_FEWEST: Final = 8  # episodes still running, for the shape of the band at a time
_SMOOTH: Final = 2  # decisions on each side
_NARROWEST: Final = 0.25  # of the logit: where successes hardly differ, a small rise is no alarm
_CERTAIN: Final = 1e-6


def scores(predicted: Probabilities, holds: FloatArray) -> FloatArray:
    """What is compared with the band, (N, S) in the order of `SCORES`: logits, the events' within the longest horizon.

    Args:
        predicted: of N decisions.
        holds: 1 where something is held, (N,); elsewhere the score of a slip is -inf, which never alarms.
    """
    values = np.column_stack((predicted.failure, predicted.events[..., -1], predicted.slip))
    clipped = np.clip(values, _CERTAIN, 1.0 - _CERTAIN)
    found: FloatArray = np.log(clipped / (1.0 - clipped))
    found[holds < 0.5, SCORES.index("slip")] = -np.inf
    return found


@dataclass(frozen=True, eq=False)
class AlarmBand:
    """A band by decision, with which every alpha that the number of episodes supports can be chosen.

    Attributes:
        middle, width: by decision and score, (T, S); later decisions have the last row.
        peaks: of the n episodes that gave the height, how far each went out of the band's middle, in widths, sorted.
        alpha: share of successful episodes that may ever alarm.
    """

    middle: FloatArray
    width: FloatArray
    peaks: FloatArray
    alpha: float

    def __post_init__(self) -> None:
        if self.middle.shape != self.width.shape or self.middle.ndim != 2 or self.middle.shape[1] != len(SCORES):
            raise ConfigError(
                f"alarm band: shapes {self.middle.shape} and {self.width.shape}, expected (T, {len(SCORES)})"
            )
        if not (np.isfinite(self.middle).all() and (self.width > 0.0).all() and len(self.middle)):
            raise ConfigError("alarm band: is empty, or has a value that is not finite or a width that is not positive")
        conformal_quantile(self.peaks, self.alpha)

    @property
    def height(self) -> float:
        """How many widths above the middle an alarm begins."""
        return conformal_quantile(self.peaks, self.alpha)

    def with_alpha(self, alpha: float) -> AlarmBand:
        """The same band for another share of false alarms.

        Raises:
            ConfigError: there are too few episodes for it.
        """
        return AlarmBand(self.middle, self.width, self.peaks, alpha)

    def excess(self, values: FloatArray, first: int = 0) -> FloatArray:
        """How far scores (N, S) of decisions `first`, `first` + 1, ... are above the middle, in widths, (N, S)."""
        return _excess(values, self.middle, self.width, first)

    def excess_of(self, values: FloatArray, decisions: NDArray[np.int64]) -> FloatArray:
        """The largest excess over the scores (N, S) of each of N decisions with these numbers, (N,)."""
        rows = np.minimum(decisions, len(self.middle) - 1)
        found: FloatArray = ((values - self.middle[rows]) / self.width[rows]).max(axis=1)
        return found

    def thresholds(self, decision: int) -> FloatArray:
        """Logits above which decision number `decision` is an alarm, (S,)."""
        row = min(decision, len(self.middle) - 1)
        found: FloatArray = self.middle[row] + self.height * self.width[row]
        return found


def fit_band(shape: Sequence[FloatArray], height: Sequence[FloatArray], alpha: float) -> AlarmBand:
    """Calibrates a band.

    Args:
        shape: scores (N_i, S) of successful episodes that give its shape.
        height: of others, that give its height; exchangeable with those that the promise is made for.
        alpha: share of successful episodes that may ever alarm.

    Raises:
        ConfigError: there are too few episodes for this alpha; says how many there are and what they support.
    """
    if not shape or not height:
        raise ConfigError(
            f"{len(shape)} successful episodes for the shape of the alarm's band and {len(height)} for its height, "
            "expected at least 1 for each; record more, of other seeds"
        )
    middle, width = _shape(shape)
    return AlarmBand(middle, width, np.sort([peak(values, middle, width) for values in height]), alpha)


def peak(values: FloatArray, middle: FloatArray, width: FloatArray) -> float:
    """How far the scores (N, S) of an episode ever go out of the middle of a band, in widths; at least -1e6."""
    return max(-1e6, float(_excess(values, middle, width, 0).max(initial=-np.inf)))


def _excess(values: FloatArray, middle: FloatArray, width: FloatArray, first: int) -> FloatArray:
    rows = np.minimum(np.arange(first, first + len(values)), len(middle) - 1)
    found: FloatArray = (values - middle[rows]) / width[rows]
    return found


def alpha_floor(count: int) -> float:
    """The smallest alpha that n episodes support: 1 / (n + 1)."""
    return 1.0 / (count + 1)


def conformal_quantile(sorted_scores: FloatArray, alpha: float) -> float:
    """The ceil((n + 1) (1 - alpha))-th smallest of n scores: a new exchangeable one is above it with at most alpha.

    Raises:
        ConfigError: alpha is not between 0 and 1, or n is too small for it.
    """
    count = len(sorted_scores)
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha:g}, expected more than 0 and less than 1")
    rank = ceil((count + 1) * (1.0 - alpha) - 1e-9)
    if rank > count:
        raise ConfigError(
            f"alpha is {alpha:g}: {count} successful episodes support at least {alpha_floor(count):.3g}; record "
            f"{ceil(1.0 / alpha - 1e-9) - 1} or choose a larger alpha"
        )
    return float(sorted_scores[max(rank, 1) - 1])


def _shape(episodes: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    lengths = np.array([len(values) for values in episodes])
    enough = min(_FEWEST, len(episodes))
    last = int(np.sort(lengths)[::-1][enough - 1])
    rows: list[FloatArray] = []
    widths: list[FloatArray] = []
    for decision in range(max(last, 1)):
        window = range(max(0, decision - _SMOOTH), decision + _SMOOTH + 1)
        found = np.concatenate([values[min(window) : max(window) + 1] for values in episodes if len(values) > decision])
        middle, width = np.zeros(len(SCORES)), np.full(len(SCORES), 1.0)
        for index in range(len(SCORES)):
            known = found[np.isfinite(found[:, index]), index]
            if len(known):
                low, high = np.quantile(known, (0.5, 0.9))
                middle[index], width[index] = low, max(high - low, _NARROWEST)
        rows.append(middle)
        widths.append(width)
    return np.stack(rows), np.stack(widths)
