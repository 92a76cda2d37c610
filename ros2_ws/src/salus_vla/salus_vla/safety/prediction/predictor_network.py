"""The predictor's network in numpy: a bootstrap ensemble of small networks on one feature vector.

Each member has a linear part and two hidden layers side by side, so that with few failures it is no worse than the
logistic regression that it contains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE, PREFIX_SIZE

HORIZONS_S: Final = (0.25, 0.5, 1.0)


class FailureKind(IntEnum):
    """Events that are foreseen; MISS is a closing on nothing, which may end the episode or not."""

    COLLISION = 0
    DROP = 1
    MISS = 2


OUTPUTS: Final = len(HORIZONS_S) * len(FailureKind) + 2  # hazards, slip, failure of the episode
_SLIP, _FAILURE = OUTPUTS - 2, OUTPUTS - 1
# Whether an input is known is an input: of each of these the network is told whether it is NaN.
TOLD_MISSING: Final = tuple(
    index
    for index, name in enumerate(FEATURES)
    if name.startswith("log_last.")
    or name in ("expert_mean.0", "prefix_mean.0", "tool_moved_2s")
    or name
    in tuple(
        f"{kind}_mean{part}.panda_joint1" for kind, part in (("effort", "_0.4s"), ("error", "_0.4s"), ("velocity", ""))
    )
)
# How far a state is from those of successes, cosine k-NN (2506.09937): of which features, and to which bank.
NOVELTIES: Final = (("prefix_mean.", "prefix_bank"), ("prefix_first.", "prefix_bank"), ("expert_mean.", "expert_bank"))
NEIGHBOURS: Final = 10
VALUES: Final = len(FEATURES) + len(NOVELTIES)
INPUTS: Final = VALUES + len(TOLD_MISSING)
_STATES: Final = {
    name: [index for index, feature in enumerate(FEATURES) if feature.startswith(name)] for name, _ in NOVELTIES
}
_CLOSEST: Final = 1e-3  # cosine distance; its logarithm is used


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """Weights of M members with layers of H and G neurons, float32.

    Attributes:
        prefix_bank, expert_bank: directions of states of successes, (B, 192) and (B, 32), each of length 1, or 0 where
            not known.
        mean, scale: of the features and novelties, (V,); one is used as (x - mean) / scale, cut to +-`LARGEST`, 0 if
            NaN.
        linear: (M, I, O), with I = V and the bits of what is missing.
        first, first_bias: (M, I, H) and (M, H).
        second, second_bias: (M, H, G) and (M, G).
        last, last_bias: (M, G, O) and (M, O).
    """

    prefix_bank: NDArray[np.float32]
    expert_bank: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    linear: NDArray[np.float32]
    first: NDArray[np.float32]
    first_bias: NDArray[np.float32]
    second: NDArray[np.float32]
    second_bias: NDArray[np.float32]
    last: NDArray[np.float32]
    last_bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        members, hidden, inner = self.linear.shape[0], self.first.shape[-1], self.second.shape[-1]
        expected = {
            "prefix_bank": (len(self.prefix_bank), PREFIX_SIZE),
            "expert_bank": (len(self.expert_bank), EXPERT_SIZE),
            "mean": (VALUES,),
            "scale": (VALUES,),
            "linear": (members, INPUTS, OUTPUTS),
            "first": (members, INPUTS, hidden),
            "first_bias": (members, hidden),
            "second": (members, hidden, inner),
            "second_bias": (members, inner),
            "last": (members, inner, OUTPUTS),
            "last_bias": (members, OUTPUTS),
        }
        for item in fields(self):
            value = getattr(self, item.name)
            if value.shape != expected[item.name] or not np.isfinite(value).all():
                raise ValueError(
                    f"{item.name} has shape {value.shape}, expected {expected[item.name]} of finite values"
                )


LARGEST: Final = 6.0  # standard deviations


def directions(states: FloatArray) -> FloatArray:
    """States (N, W) divided by their length; what is not known is 0."""
    known = np.nan_to_num(states)
    found: FloatArray = known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-9)
    return found


def novelties(
    features: FloatArray,
    banks: Mapping[str, NDArray[np.floating]],
    others: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Logarithm of the mean cosine distance to the nearest states of successes, (N, 3); NaN where not known.

    Args:
        features: (N, F).
        banks: by name, (B, W) each.
        others: which of a bank's states count for a row, (N, B); all by default. Whoever is in the bank itself would
            find itself there.
    """
    found = np.full((len(features), len(NOVELTIES)), np.nan)
    for place, (name, bank) in enumerate(NOVELTIES):
        states = features[:, _STATES[name]]
        known = np.isfinite(states).any(axis=1)
        likeness = directions(states[known]) @ banks[bank].T.astype(np.float64)
        if others is not None:
            likeness = np.where(others[known], likeness, -1.0)
        count = min(NEIGHBOURS, likeness.shape[1])
        if count:
            nearest = np.partition(likeness, likeness.shape[1] - count, axis=1)[:, -count:]
            found[known, place] = np.log(np.maximum(1.0 - nearest.mean(axis=1), _CLOSEST))
    return found


def prepared(values: FloatArray, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network reads of features and novelties (N, V): (N, I)."""
    missing = ~np.isfinite(values)
    scaled = np.clip((np.where(missing, mean, values) - mean) / scale, -LARGEST, LARGEST)
    told = missing[:, list(TOLD_MISSING)]
    return np.concatenate((scaled, told), axis=1).astype(np.float32)


def logits(weights: NetworkWeights, features: FloatArray) -> FloatArray:
    """Outputs of all members for features (N, F), (M, N, O).

    In double precision: a product of one row is then the same as that of many to far below what matters.
    """
    banks = {"prefix_bank": weights.prefix_bank, "expert_bank": weights.expert_bank}
    values = np.concatenate((features, novelties(features, banks)), axis=1)
    inputs = prepared(values, weights.mean, weights.scale).astype(np.float64)
    hidden = np.maximum(inputs @ weights.first + weights.first_bias[:, None], 0.0)
    inner = np.maximum(hidden @ weights.second + weights.second_bias[:, None], 0.0)
    found: FloatArray = inputs @ weights.linear + inner @ weights.last + weights.last_bias[:, None]
    return found


@dataclass(frozen=True, eq=False)
class Probabilities:
    """What N decisions foresee, mean over members.

    Attributes:
        events: cumulative incidence by kind and horizon, (N, 3, 3): rows `FailureKind`, columns `HORIZONS_S`.
        slip: that what is held slips, (N,); means nothing while nothing is held.
        failure: that the episode will not succeed, (N,).
        spread: standard deviation of `failure` over members, (N,).
    """

    events: FloatArray
    slip: FloatArray
    failure: FloatArray
    spread: FloatArray


def probabilities(outputs: NDArray[np.floating]) -> Probabilities:
    """From the outputs of members (M, N, O).

    The events compete in discrete time (Tutz and Schmid 2016, Modeling Discrete Time-to-Event Data, chapter 8): in each
    interval between horizons a multinomial logit over the kinds and no event; the cumulative incidence of a kind is the
    sum over intervals of the survival until then times its hazard.
    """
    wide = outputs.astype(np.float64)
    kinds, bins = len(FailureKind), len(HORIZONS_S)
    raw = np.minimum(wide[..., : kinds * bins], 50.0).reshape(*wide.shape[:2], bins, kinds)
    odds = np.exp(raw)
    nothing = 1.0 / (1.0 + odds.sum(axis=-1, keepdims=True))
    hazards = odds * nothing
    survival = np.cumprod(nothing[..., 0], axis=-1)  # one minus the hazards would be a little below 0 at times
    before = np.concatenate((np.ones_like(survival[..., :1]), survival[..., :-1]), axis=-1)
    incidence = np.cumsum(before[..., None] * hazards, axis=-2)
    failure = _expit(wide[..., _FAILURE])
    return Probabilities(
        events=incidence.mean(axis=0).swapaxes(-1, -2),
        slip=_expit(wide[..., _SLIP]).mean(axis=0),
        failure=failure.mean(axis=0),
        spread=failure.std(axis=0),
    )


def _expit(values: FloatArray) -> FloatArray:
    found: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(values, -50.0, 50.0)))
    return found
