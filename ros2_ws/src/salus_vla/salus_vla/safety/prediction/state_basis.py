"""Makes hidden states small: the directions in which they vary most, found on the training part only.

Principal components, each divided by its standard deviation, so that a projected state fits into a byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from salus_vla.contract.errors import DatasetError

EXPERT_SIZE, PREFIX_SIZE = 32, 192  # fewer of the prefix do not show a cube that slips
_STEPS = 16  # of a standard deviation in which a projected state is kept
_UNKNOWN = -128
_SMALLEST = 1e-6  # of the largest standard deviation: a direction with less is noise


@dataclass(frozen=True, eq=False)
class Projection:
    """Mean (W,) and directions (R, W) of a state, the directions divided by the standard deviation along them."""

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def fit(cls, states: NDArray[np.float32], size: int) -> Projection:
        """From states (N, W) without NaN; fewer than `size` directions where they do not vary in more.

        Raises:
            DatasetError: there are fewer than two states.
        """
        if len(states) < 2:
            raise DatasetError(f"{len(states)} states to find their directions in, expected at least 2")
        wide = states.astype(np.float64)
        mean = wide.mean(axis=0)
        _, scales, directions = np.linalg.svd(wide - mean, full_matrices=False)
        deviations = scales / np.sqrt(len(states) - 1)
        known = int((deviations > _SMALLEST * max(float(deviations[0]), 1e-12)).sum())
        kept = max(1, min(size, known))
        # The sign of a direction is arbitrary: its largest component is positive.
        signs = np.sign(directions[np.arange(kept), np.abs(directions[:kept]).argmax(axis=1)])
        scaled = directions[:kept] * (signs / np.maximum(deviations[:kept], 1e-12))[:, None]
        return cls(mean.astype(np.float32), scaled.astype(np.float32))

    def apply(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Projects states (N, W) to (N, R); a state that is not known stays NaN.

        Raises:
            DatasetError: they have another width.
        """
        if states.shape[-1] != len(self.mean):
            raise DatasetError(f"states have {states.shape[-1]} values, the basis is of {len(self.mean)}")
        # In double precision, or one state by itself would be rounded differently than among many.
        found = (states.astype(np.float64) - self.mean) @ self.directions.T.astype(np.float64)
        return found.astype(np.float32)


@dataclass(frozen=True, eq=False)
class StateBasis:
    """Projections of the two hidden states of an ensemble."""

    expert: Projection
    prefix: Projection

    @classmethod
    def fit(cls, expert: NDArray[np.float32], prefix: NDArray[np.float32]) -> StateBasis:
        """From states of decisions, (N, E) and (N, P, D); those that are not known are left out."""
        flat = prefix.reshape(len(prefix), -1)
        return cls(
            Projection.fit(expert[np.isfinite(expert).all(axis=1)], EXPERT_SIZE),
            Projection.fit(flat[np.isfinite(flat).all(axis=1)], PREFIX_SIZE),
        )

    def project_expert(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """States of the action expert (N, E) in the basis, (N, 32); NaN beyond its directions and where not known.

        Raises:
            DatasetError: they have another width.
        """
        return _padded(self.expert.apply(states), EXPERT_SIZE)

    def project_prefix(self, parts: NDArray[np.float32]) -> NDArray[np.float32]:
        """States of the prefix's parts (N, P, D) in the basis, (N, 192); likewise."""
        return _padded(self.prefix.apply(parts.reshape(len(parts), -1)), PREFIX_SIZE)

    @property
    def digest(self) -> str:
        """Hash, 12 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:12]

    def to_bytes(self) -> bytes:
        """The same basis gives the same bytes."""
        return save(
            {
                "expert.mean": self.expert.mean,
                "expert.directions": self.expert.directions,
                "prefix.mean": self.prefix.mean,
                "prefix.directions": self.prefix.directions,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> StateBasis:
        """The inverse of `to_bytes`; raises DatasetError, naming `where`, when they are damaged."""
        try:
            arrays: Mapping[str, NDArray[np.float32]] = load(data)
            return cls(
                Projection(arrays["expert.mean"], arrays["expert.directions"]),
                Projection(arrays["prefix.mean"], arrays["prefix.directions"]),
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise DatasetError(f"{where}: its basis of hidden states is damaged ({error!r:.80})") from error


def _padded(states: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    found = np.full((len(states), size), np.nan, dtype=np.float32)
    found[:, : states.shape[1]] = states
    return found


def quantised(states: NDArray[np.floating]) -> NDArray[np.int8]:
    """Projected states in sixteenths of a standard deviation, cut at 127 of them; -128 where not known."""
    steps = np.clip(np.round(np.nan_to_num(states) * _STEPS), -127, 127).astype(np.int8)
    return np.where(np.isfinite(states), steps, np.int8(_UNKNOWN))


def restored(steps: NDArray[np.int8]) -> NDArray[np.float32]:
    """The inverse of `quantised`, as far as there is one."""
    values = steps.astype(np.float32) / np.float32(_STEPS)
    return np.where(steps == _UNKNOWN, np.float32(np.nan), values)
