"""The safe-action manifold: chunks like those that successful episodes took from such a state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.safety.manifold.known_points import KnownPoints
from salus_vla.safety.manifold.manifold_inputs import ROWS, STATE_SIZE, inputs_of
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.state_basis import StateBasis

_POINTS: Final = 128  # nearest ones that a projection looks at, as many by all inputs as by those it cannot change
_STEPS: Final = 12  # of a projection
_HALVINGS: Final = 16
_AIM: Final = 0.995  # of the level, so that the last step does not end just outside


def level_of(distances: FloatArray, share: float) -> float:
    """The distance that a share of decisions like these are within (split conformal prediction).

    Args:
        distances: of decisions of successful calibration episodes, (n,), ascending.
        share: above 0, below 1.

    Raises:
        ConfigError: n of them do not support this share.
    """
    count = len(distances)
    if not 0.0 < share < 1.0:
        raise ConfigError(f"share of the manifold: is {share:g}, expected more than 0 and less than 1")
    rank = math.ceil((count + 1) * share - 1e-9)
    if rank > count:
        raise ConfigError(
            f"share of the manifold: is {share:g}, {count} decisions of successful episodes support at most "
            f"{count / (count + 1):.4g}"
        )
    return float(distances[rank - 1])


@dataclass(frozen=True, eq=False)
class ActionManifold:
    """How far chunks are from those of successful episodes, and which distance is still like them.

    Attributes:
        ensemble: whose states it knows; of another ensemble it knows nothing.
        basis: hash of the basis of hidden states, 12 hexadecimal digits.
        known: where successful episodes were.
        calibration: distances of decisions of successful calibration episodes, ascending, (n,).
        share: of those that are inside the level.
    """

    ensemble: EnsembleIdentity
    basis: str
    known: KnownPoints
    calibration: FloatArray
    share: float

    @property
    def digest(self) -> str:
        """Hash of what it knows, 12 hexadecimal digits."""
        return self.known.digest

    @cached_property
    def level(self) -> float:
        """Distance up to which a chunk is inside."""
        return level_of(self.calibration, self.share)

    def with_share(self, share: float) -> ActionManifold:
        """The same with another level.

        Raises:
            ConfigError: the calibration does not support this share.
        """
        level_of(self.calibration, share)
        return replace(self, share=share)

    def require(self, ensemble: EnsembleIdentity) -> None:
        """Raises ModelError with both hashes when it is of another ensemble."""
        if ensemble != self.ensemble:
            raise ModelError(
                f"action manifold {self.digest} is of the ensemble {self.ensemble}, this is {ensemble}; make one of it "
                "with `salus manifold train`"
            )

    def require_basis(self, basis: StateBasis) -> None:
        """Raises ModelError with both hashes when expert states are in another basis than those that it knows."""
        if basis.digest != self.basis:
            raise ModelError(
                f"action manifold {self.digest} knows hidden states in the basis {self.basis}, these are in "
                f"{basis.digest}; make it and the predictor from the same failure tables"
            )

    def distance(self, expert: FloatArray, state: FloatArray, chunk: FloatArray) -> float:
        """How far a chunk is from those of successful episodes; NaN if the expert state is not known.

        Args:
            expert: state of the action expert in the basis of the failure table, (32,).
            state: joints and width of the gripper, (8,) [rad, m].
            chunk: targets at +0.1 s, +0.2 s, ..., (H, 8) [rad, m]; rows beyond the fifth are not looked at.

        Raises:
            ValueError: one of them has another shape.
        """
        place = self._place(expert, state, chunk)
        return self.known.distance_and_slope(place)[0] if np.isfinite(place).all() else float("nan")

    def gradient(self, expert: FloatArray, state: FloatArray, chunk: FloatArray) -> FloatArray:
        """Derivative of the distance by the chunk, (H, 8) [1/rad, 1/m]; NaN where the distance is."""
        found = np.zeros(chunk.shape)
        place = self._place(expert, state, chunk)
        if not np.isfinite(place).all():
            return np.full(chunk.shape, np.nan)
        slope = self.known.distance_and_slope(place)[1]
        found[:ROWS] = (slope @ self.known.chunk_map).reshape(ROWS, STATE_SIZE)
        return found

    def project(self, expert: FloatArray, state: FloatArray, chunk: FloatArray) -> FloatArray:
        """The chunk, moved as little as needed to be inside the level and the arm's limits, (H, 8).

        A chunk that is inside comes back as it is. So does one that no change brings inside, because the state itself
        is far from all that succeeded, or is not known; its distance says so. Rows that are not looked at follow the
        last one that is, less and less. What counts as little: joints and gripper in deviations of what successes did.
        """
        clipped = np.clip(chunk, PANDA.all_lower, PANDA.all_upper)
        place = self._place(expert, state, clipped)
        if not np.isfinite(place).all():
            return clipped
        moved = _Projection(self.known, self.level, place, clipped[:ROWS].ravel()).find()
        if moved is None:
            return clipped
        found = clipped.copy()
        found[:ROWS] = moved.reshape(ROWS, STATE_SIZE)
        rest = len(chunk) - ROWS
        fading = 1.0 - np.arange(1, rest + 1) / (rest + 1)
        found[ROWS:] += fading[:, None] * (found[ROWS - 1] - clipped[ROWS - 1])
        return np.clip(found, PANDA.all_lower, PANDA.all_upper)

    def _place(self, expert: FloatArray, state: FloatArray, chunk: FloatArray) -> FloatArray:
        return self.known.place(inputs_of(expert[None], state[None], chunk[None]))[0]


class _Projection:
    """Of one chunk: rows that are looked at, flat (40,), and where they are."""

    def __init__(self, known: KnownPoints, level: float, place: FloatArray, rows: FloatArray) -> None:
        self._known, self._level, self._begin, self._rows = known, level, place, rows
        self._lower, self._upper = (np.tile(limit, ROWS) for limit in (PANDA.all_lower, PANDA.all_upper))
        half = max(_POINTS, known.neighbours)
        among = np.union1d(known.nearest(place, half), known.nearest_by_chunk(place, half))
        self._among = known.points[among]

    def find(self) -> FloatArray | None:
        """Rows inside the level; None where they are already, or cannot be."""
        if self._known.distance_and_slope(self._begin)[0] <= self._level:
            return None
        inside = self._by_slope()
        if inside is None:
            inside = self._by_neighbours()
        return None if inside is None else self._nearer(inside)

    def _place(self, rows: FloatArray) -> FloatArray:
        found: FloatArray = self._begin + self._known.chunk_map @ (rows - self._rows)
        return found

    def _at(self, rows: FloatArray) -> tuple[float, FloatArray]:
        return self._known.distance_and_slope(self._place(rows), self._among)

    def _by_slope(self) -> FloatArray | None:
        """Along the slope to where the level is, if the distance were linear, until it is."""
        scale = self._known.scale[-len(self._rows) :].astype(np.float64)
        rows = self._rows
        for _ in range(_STEPS):
            distance, slope = self._at(rows)
            if distance <= self._level:
                return rows
            scaled = (slope @ self._known.chunk_map) * scale
            steepness = float(scaled @ scaled)
            if steepness < 1e-12:
                return None
            step = (distance - _AIM * self._level) / steepness * scaled * scale
            rows = np.clip(rows - step, self._lower, self._upper)
        return rows if self._at(rows)[0] <= self._level else None

    def _by_neighbours(self) -> FloatArray | None:
        """To the middle of the points to which it can come nearest."""
        away = (self._begin - self._among) @ self._known.unreached.T
        order = np.argsort(np.einsum("md,md->m", away, away), kind="stable")[: self._known.neighbours]
        for centre in (self._among[order].mean(axis=0, dtype=np.float64), self._among[order[0]].astype(np.float64)):
            rows = self._rows + self._known.chunk_inverse @ (centre - self._begin)
            rows = np.clip(rows, self._lower, self._upper)
            if self._at(rows)[0] <= self._level:
                return rows
        return None

    def _nearer(self, inside: FloatArray) -> FloatArray:
        """The point on the way to rows inside at which the level is crossed."""
        low, high, found = 0.0, 1.0, inside
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            rows = self._rows + middle * (inside - self._rows)
            distance = self._known.distance_and_slope(self._place(rows))[0]  # to all: on the way others are nearer
            if distance > self._level:
                low = middle
                continue
            high, found = middle, rows
            if distance >= _AIM * self._level:
                break
        return found
