"""What a candidate does to the probability of failure, learned from episodes in which candidates were drawn at random.

A logistic model on a few numbers that say how things stand, a bootstrap over seeds of it. Care and slowness each change
its weights, so that motions which were drawn seldom lean on those between which they stand. The predictor's own score
cannot say this: it has never seen what an intervention does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import MOTIONS, PACES
from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import Prediction

_CARRYING: Final = ("panda_joint2", "panda_joint4", "panda_joint6")  # they carry what hangs at the hand
_TURNING: Final = ("panda_joint1", "panda_joint3", "panda_joint4")  # the closing shakes them, less if the fingers slide
_FEATURES: Final = (
    "holds",
    "held_s",
    "width",
    "width_change_0.2s",
    "width_since_grasp",
    *(f"effort_mean_0.1s.{joint}" for joint in _CARRYING),
    *(f"effort_deviation_0.4s.{joint}" for joint in _TURNING),
)
_SAID: Final = ("failure", "drop", "slip")
SITUATION: Final = (*_FEATURES, *(f"score_{name}" for name in _SAID))
_PLACES: Final = [FEATURES.index(name) for name in _FEATURES]
_SCORE_PLACES: Final = [SCORES.index(name) for name in _SAID]
_LONGEST_S: Final = 0.4  # of what is held: effects were learned from the beginning of grasps
_LARGEST: Final = 4.0  # standard deviations
PARTS: Final = 3  # of the weights: of every motion, of care, of slowness


def situation(features: FloatArray, scores: FloatArray) -> FloatArray:
    """How things stand at N decisions, (N, S) in the order of `SITUATION`; NaN where not known.

    Args:
        features: of the predictor, (N, F).
        scores: its logits in the order of `alarm_band.SCORES`, (N, 5); -inf for a slip while nothing is held.
    """
    chosen = features[:, _PLACES].copy()
    held = _FEATURES.index("held_s")
    chosen[:, held] = np.minimum(chosen[:, held], _LONGEST_S)
    said = scores[:, _SCORE_PLACES]
    return np.column_stack((chosen, np.where(np.isfinite(said), said, np.nan)))


def shares_of(name: str) -> FloatArray:
    """How much of each part of the weights a motion has, (3,): 1, whether it is careful, and how slow it is, 0 to 1."""
    motion = MOTIONS[name]
    return np.array([1.0, float(motion.careful), np.log(motion.pace) / np.log(min(PACES))])


@dataclass(frozen=True, eq=False)
class EffectModel:
    """Probability that the episode fails if a candidate is followed until the release.

    Attributes:
        candidates: names, C of them.
        weights: of M members, (M, 3, S + 1); the last one of each part is its level.
        mean: of the situation, (S,).
        scale: of the situation, (S,).
        predictor: hash of the predictor whose scores it uses.
        digest: hash of all that, 12 hexadecimal digits.
    """

    candidates: tuple[str, ...]
    weights: FloatArray
    mean: FloatArray
    scale: FloatArray
    predictor: str
    digest: str

    def __post_init__(self) -> None:
        expected = (len(self.weights), PARTS, len(SITUATION) + 1)
        if not len(self.weights) or self.weights.shape != expected or not np.isfinite(self.weights).all():
            raise ModelError(
                f"effects of interventions: weights have shape {self.weights.shape}, expected {expected} and finite"
            )
        for name in ("mean", "scale"):
            values = getattr(self, name)
            if values.shape != (len(SITUATION),) or not np.isfinite(values).all() or (self.scale <= 0.0).any():
                raise ModelError(
                    f"effects of interventions: {name} has shape {values.shape}, expected ({len(SITUATION)},), finite, "
                    "and scales above 0"
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
        inputs = scaled(state[None], self.mean, self.scale)[0]
        shares = np.stack([shares_of(name) for name in self.candidates])
        logits = np.clip(shares @ (self.weights @ inputs).T, -30.0, 30.0)
        found: FloatArray = (1.0 / (1.0 + np.exp(-logits))).mean(axis=1)
        return found


def scaled(state: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Situations (N, S) as the model takes them, (N, S + 1): in deviations, 0 where not known, and a 1."""
    values = np.clip(np.nan_to_num((state - mean) / scale), -_LARGEST, _LARGEST)
    return np.column_stack((values, np.ones(len(state))))


def situation_of(features: FloatArray, prediction: Prediction) -> FloatArray:
    """The situation (S,) of one decision."""
    return situation(features[None], prediction.scores[None])[0]
