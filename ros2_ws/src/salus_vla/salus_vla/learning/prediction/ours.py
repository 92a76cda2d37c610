"""The predictor as one of the methods that are compared, and with fewer inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.fit_predictor import FitSettings, fit_network
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.episode_features import FEATURES, GROUPS, columns
from salus_vla.safety.prediction.predictor_network import (
    FailureKind,
    NetworkWeights,
    Probabilities,
    logits,
    probabilities,
)

# What is left in of the inputs; the first is what is shipped.
INPUT_SETS: dict[str, tuple[str, ...]] = {
    "all": GROUPS,
    "signals": ("signals",),
    "states": ("expert", "prefix"),
    "felt": ("felt", "hand", "motion"),
    "signals and states": ("signals", "expert", "prefix"),
    "all but the clock": tuple(group for group in GROUPS if group != "clock"),
    "all but vision": tuple(group for group in GROUPS if group != "prefix"),
    "all but felt": tuple(group for group in GROUPS if group != "felt"),
}
_PHYSICAL = (FailureKind.COLLISION, FailureKind.DROP)
_HOLDS = FEATURES.index("holds")


@dataclass(frozen=True, eq=False)
class Foreseeing:
    """What a fitted network says of all decisions of the samples, as scores by question.

    Attributes:
        said: probabilities.
        failure: that the episode fails.
        miss: that the hand closes on nothing within 1 s.
        physical: that a collision or a drop happens within 1 s.
        slip: that what is held slips.
    """

    said: Probabilities

    @property
    def failure(self) -> FloatArray:
        """(N,)."""
        return self.said.failure

    @property
    def miss(self) -> FloatArray:
        """(N,)."""
        return self.said.events[:, FailureKind.MISS, -1]

    @property
    def physical(self) -> FloatArray:
        """(N,)."""
        found: FloatArray = self.said.events[:, list(_PHYSICAL), -1].sum(axis=1)
        return found

    @property
    def slip(self) -> FloatArray:
        """(N,)."""
        return self.said.slip


def foresee(
    samples: Samples,
    episodes: NDArray[np.bool_],
    seed: int,
    inputs: str = "all",
    settings: FitSettings | None = None,
) -> tuple[NetworkWeights, Foreseeing]:
    """Fits on episodes (E,) and says what it foresees of all of them.

    Raises:
        TrainingError: the episodes all succeed or all fail.
    """
    settings = settings or FitSettings()
    groups = INPUT_SETS[inputs]
    chosen = None if groups == GROUPS else columns(*groups)
    weights = fit_network(samples, episodes, seed, replace(settings), chosen)
    return weights, Foreseeing(probabilities(logits(weights, samples.features)))


def holds(samples: Samples) -> FloatArray:
    """1 where the hand seems to hold something, as the predictor sees it, (N,)."""
    found: FloatArray = samples.features[:, _HOLDS]
    return found
