"""Whether a probability means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.types import FloatArray

_BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Of n probabilities.

    Attributes:
        n: how many.
        base_rate: share of events.
        brier, brier_of_base_rate: mean squared error of the probabilities, and of always saying the base rate.
        ece: expected calibration error over ten bins of equal mass.
        curve: mean probability and share of events in each bin.
    """

    n: int
    base_rate: float
    brier: float
    brier_of_base_rate: float
    ece: float
    curve: tuple[tuple[float, float], ...]


def reliability(probabilities: FloatArray, events: FloatArray) -> Reliability:
    """Of probabilities (n,) and what happened (n,), 0 or 1; n must be at least 1."""
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    curve = tuple((float(probabilities[part].mean()), float(events[part].mean())) for part in bins)
    weights = [len(part) / len(order) for part in bins]
    base = float(events.mean())
    return Reliability(
        n=len(events),
        base_rate=base,
        brier=float(((probabilities - events) ** 2).mean()),
        brier_of_base_rate=base * (1.0 - base),
        ece=sum(weight * abs(said - was) for weight, (said, was) in zip(weights, curve, strict=True)),
        curve=curve,
    )
