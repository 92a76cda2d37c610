"""Where the state of the action expert lies on successful episodes: `activation_novelty` is measured against it."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.contract.types import FloatArray


@dataclass(frozen=True)
class NoveltyReference:
    """Where the expert's pooled state lies on successful episodes: mean (E,) and inverse covariance (E, E)."""

    mean: FloatArray
    precision: FloatArray

    def distance(self, state: FloatArray) -> float:
        """Squared Mahalanobis distance of a state (E,)."""
        offset = state - self.mean
        return float(offset @ self.precision @ offset)
