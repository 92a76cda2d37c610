"""What a candidate does to the probability of failure, learned from episodes in which candidates were drawn at random.

A logistic model for each candidate on a few numbers that say how things stand, a bootstrap over seeds of it. The
predictor's own score cannot say this: it has never seen what an intervention does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import Prediction

_FELT: Final = ("panda_joint2", "panda_joint4", "panda_joint6")  # they carry what hangs at the hand
_SCORES: Final = ("failure", "collision", "drop", "miss", "slip")
SITUATION: Final = (
    "one",
    "holds",
    "held_s",
    *_SCORES,
    "width_since_grasp",
    *(f"effort_since_grasp.{joint}" for joint in _FELT),
    *(f"error_since_grasp.{joint}" for joint in _FELT),
)
_LONGEST_S: Final = 2.0
_LARGEST_SCORE: Final = 6.0
_LARGEST: Final = 4.0
_SCALES: Final = (
    {"width_since_grasp": 1.0 / 0.003}
    | {f"effort_since_grasp.{joint}": 1.0 / 10.0 for joint in _FELT}
    | {f"error_since_grasp.{joint}": 1.0 / 0.02 for joint in _FELT}
)
_FROM_FEATURES: Final = {name: FEATURES.index(name) for name in _SCALES}
_HOLDS, _HELD = FEATURES.index("holds"), FEATURES.index("held_s")


def situation(features: FloatArray, scores: FloatArray) -> FloatArray:
    """How things stand at N decisions, (N, S) in the order of `SITUATION`; what is not known counts as 0.

    Args:
        features: of the predictor, (N, F).
        scores: its logits in the order of `alarm_band.SCORES`, (N, 5); -inf for a slip while nothing is held.
    """
    columns = [np.ones(len(features)), features[:, _HOLDS], np.minimum(features[:, _HELD], _LONGEST_S) / _LONGEST_S]
    known = np.where(np.isfinite(scores), scores, 0.0)
    columns += list(np.clip(known, -_LARGEST_SCORE, _LARGEST_SCORE).T / 3.0)
    for name, index in _FROM_FEATURES.items():
        columns.append(np.clip(np.nan_to_num(features[:, index]) * _SCALES[name], -_LARGEST, _LARGEST))
    return np.column_stack(columns)


@dataclass(frozen=True, eq=False)
class EffectModel:
    """Probability that the episode fails if a candidate is followed until the release.

    Attributes:
        candidates: names, C of them.
        weights: of M members, (M, C, S).
        predictor: hash of the predictor whose scores it uses.
        digest: hash of all that, 12 hexadecimal digits.
    """

    candidates: tuple[str, ...]
    weights: FloatArray
    predictor: str
    digest: str

    def __post_init__(self) -> None:
        expected = (len(self.weights), len(self.candidates), len(SITUATION))
        if not len(self.weights) or self.weights.shape != expected or not np.isfinite(self.weights).all():
            raise ModelError(
                f"effects of interventions: weights have shape {self.weights.shape}, expected {expected} and finite"
            )

    def require(self, predictor: str) -> None:
        """Raises ModelError with both hashes when it is of another predictor."""
        if predictor != self.predictor:
            raise ModelError(
                f"effects of interventions {self.digest} are of the predictor {self.predictor}, this is {predictor}; "
                "make them of it with `salus intervention train`"
            )

    def failure(self, state: FloatArray) -> FloatArray:
        """Probability of failure with each candidate, (C,), for a situation (S,): mean over the members."""
        logits = np.clip(self.weights @ state, -30.0, 30.0)
        found: FloatArray = (1.0 / (1.0 + np.exp(-logits))).mean(axis=0)
        return found


def situation_of(features: FloatArray, prediction: Prediction) -> FloatArray:
    """The situation (S,) of one decision."""
    return situation(features[None], prediction.scores[None])[0]
