"""Points that successful episodes went through, in a space in which distances mean something."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.safety.manifold.manifold_inputs import CONTEXT, INPUTS

_SPARE = 4  # more points than are needed: which are nearest is found in single precision
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class KnownPoints:
    """The mean distance to the k nearest of M points; with one point at the origin this is Mahalanobis' distance.

    Attributes:
        mean, scale: of each input, (80,).
        directions: from inputs, less their mean and divided by their scale, to the space, (D, 80); a column of zeros
            leaves an input out.
        points: (M, D).
        neighbours: k.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    directions: NDArray[np.float32]
    points: NDArray[np.float32]
    neighbours: int

    def __post_init__(self) -> None:
        size = self.directions.shape[0]
        shapes = {"mean": (INPUTS,), "scale": (INPUTS,), "directions": (size, INPUTS)}
        shapes["points"] = (len(self.points), size)
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape:
                raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} is not finite")
        if not 1 <= self.neighbours <= len(self.points):
            raise ValueError(f"{self.neighbours} neighbours of {len(self.points)} points")
        if (self.scale <= 0.0).any():
            raise ValueError("a scale is not above 0")

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """What a file keeps; points and directions are of half precision, and were rounded to it."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "directions": self.directions.astype(np.float16),
            "points": self.points.astype(np.float16),
            "neighbours": np.array([self.neighbours], dtype=np.int64),
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> KnownPoints:
        """The inverse of `tensors`.

        Raises:
            KeyError, ValueError: one is missing, or cannot be.
        """
        names = ("mean", "scale", "directions", "points")
        mean, scale, directions, points = (tensors[name].astype(np.float32) for name in names)
        return cls(mean, scale, directions, points, int(tensors["neighbours"][0]))

    @cached_property
    def digest(self) -> str:
        """Hash, 12 hexadecimal digits."""
        found = hashlib.sha256()
        for name, values in sorted(self.tensors.items()):
            found.update(name.encode() + np.ascontiguousarray(values).tobytes())
        return found.hexdigest()[:12]

    @cached_property
    def chunk_map(self) -> FloatArray:
        """From a change of the chunk's rows that are looked at to one in the space, (D, 40)."""
        found: FloatArray = self.directions[:, CONTEXT:].astype(np.float64) / self.scale[CONTEXT:]
        return found

    @cached_property
    def chunk_inverse(self) -> FloatArray:
        """From a change in the space to the smallest one of the chunk, in its scales, that makes it, (40, D)."""
        scale = self.scale[CONTEXT:].astype(np.float64)
        found: FloatArray = scale[:, None] * np.linalg.pinv(self.directions[:, CONTEXT:].astype(np.float64), rcond=1e-6)
        return found

    def place(self, inputs: FloatArray) -> FloatArray:
        """Where inputs (N, 80) are, (N, D); NaN where one that counts is not known."""
        used = self._used
        away = (inputs[:, used] - self.mean[used]) / self.scale[used]
        found: FloatArray = away @ self._directions.T
        return found

    def distances(self, places: FloatArray) -> FloatArray:
        """Mean distance of places (N, D) to their nearest points, (N,)."""
        found = np.full(len(places), np.nan)
        for rows in np.array_split(np.flatnonzero(np.isfinite(places).all(axis=1)), max(1, len(places) // 512)):
            near = self._nearest(places[rows])
            away = np.linalg.norm(self.points[near].astype(np.float64) - places[rows, None], axis=-1)
            found[rows] = np.sort(away, axis=1)[:, : self.neighbours].mean(axis=1)
        return found

    def distance_and_slope(
        self, place: FloatArray, among: NDArray[np.float32] | None = None
    ) -> tuple[float, FloatArray]:
        """Distance of a place (D,) and its derivative by the place, (D,).

        Args:
            place: finite.
            among: only these points, (m, D), at least as many as neighbours; the distance is then no smaller.
        """
        points = self.points[self._nearest(place[None])[0]] if among is None else among
        away = place - points.astype(np.float64)
        lengths = np.sqrt(np.einsum("md,md->m", away, away))
        order = np.argsort(lengths, kind="stable")[: self.neighbours]
        units = away[order] / np.maximum(lengths[order], _TINY)[:, None]
        return float(lengths[order].mean()), units.mean(axis=0)

    def nearest(self, place: FloatArray, count: int) -> NDArray[np.int64]:
        """Indices of the points nearest to a place (D,), in no order."""
        return self._nearest(place[None], count)[0]

    @cached_property
    def unreached(self) -> FloatArray:
        """Onto what no change of the chunk moves, (D, D)."""
        found: FloatArray = np.eye(len(self.directions)) - self.chunk_map @ self.chunk_inverse
        return found

    def nearest_by_chunk(self, place: FloatArray, count: int) -> NDArray[np.int64]:
        """Indices of the points to which a chunk can come nearest from a place (D,), in no order."""
        away = self._unreached_points - (self.unreached @ place).astype(np.float32)
        return _smallest(np.einsum("md,md->m", away, away)[None], count)[0]

    @cached_property
    def _unreached_points(self) -> NDArray[np.float32]:
        return (self.points @ self.unreached.T).astype(np.float32)

    @cached_property
    def _used(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.directions != 0.0).any(axis=0))

    @cached_property
    def _directions(self) -> FloatArray:
        found: FloatArray = self.directions[:, self._used].astype(np.float64)
        return found

    @cached_property
    def _squares(self) -> NDArray[np.float32]:
        return np.einsum("md,md->m", self.points, self.points)

    def _nearest(self, places: FloatArray, count: int | None = None) -> NDArray[np.int64]:
        wanted = self.neighbours + _SPARE if count is None else count
        return _smallest(self._squares - 2.0 * (places.astype(np.float32) @ self.points.T), wanted)


def _smallest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the smallest values of each row, in no order; all of them where there are no more."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, count - 1, axis=1)[:, :count]
