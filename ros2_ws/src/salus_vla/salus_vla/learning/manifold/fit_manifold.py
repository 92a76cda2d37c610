"""Finds the space and the points of a manifold in decisions of successful episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.manifold.known_points import KnownPoints
from salus_vla.safety.manifold.manifold_inputs import CONTEXT, INPUTS, ROWS, STATE_SIZE
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE

# Positions are kept in half precision, 1 mrad near 2 rad: nothing smaller is a difference.
_LEAST_SCALE = np.concatenate((np.full(EXPERT_SIZE, 0.05), np.tile((*(2e-3,) * 7, 5e-4), 1 + ROWS)))


@dataclass(frozen=True)
class PointSettings:
    """Of the neighbours' space; chosen on the validation seeds.

    Attributes:
        points: at most so many are kept.
        neighbours: the distance is the mean to so many.
        directions: of expert and robot state; all of the chunk's are kept, or a chunk could leave unseen.
        chunk_weight: of the chunk beside the state, whose squared distances are equal at 1.
        evenness: how far directions are divided by their deviation: 0 not, 1 quite.
        floor: of a direction's deviation, as a share of the largest.
    """

    points: int = 4096
    neighbours: int = 5
    directions: int = 16
    chunk_weight: float = 3.0
    evenness: float = 0.7
    floor: float = 0.01


def fit_points(inputs: FloatArray, settings: PointSettings, seed: int = 0) -> KnownPoints:
    """Neighbours in principal components of state and of chunk.

    Args:
        inputs: of decisions of successful episodes, (N, 80); a column that is never known is left out.
        settings: of the space.
        seed: of the draw of points.

    Raises:
        TrainingError: there are fewer decisions than neighbours, or than two.
    """
    mean, scale, unit = _standardised(inputs, settings.neighbours)
    context = _components(unit, slice(0, CONTEXT), settings.directions, settings)
    chunk = _components(unit, slice(CONTEXT, INPUTS), INPUTS - CONTEXT, settings)
    directions = np.concatenate((context, settings.chunk_weight * chunk))
    random = np.random.default_rng(seed)
    kept = np.sort(random.permutation(len(inputs))[: settings.points])
    return _rounded(mean, scale, directions, unit[kept] @ directions.T, settings.neighbours)


def fit_gaussian(inputs: FloatArray, shrinkage: float) -> KnownPoints:
    """Mahalanobis' distance: covariance of all inputs, shrunk towards its diagonal.

    Raises:
        TrainingError: there are fewer than two decisions.
    """
    mean, scale, unit = _standardised(inputs, 1)
    covariance = np.cov(unit.T)
    covariance = (1.0 - shrinkage) * covariance + shrinkage * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    known = (unit != 0.0).any(axis=0)
    directions = (vectors / np.sqrt(np.maximum(values, 1e-9))).T * known
    return _rounded(mean, scale, directions, np.zeros((1, len(directions))), 1)


def _standardised(inputs: FloatArray, least: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    if len(inputs) < max(2, least):
        raise TrainingError(
            f"{len(inputs)} decisions of successful episodes to find the manifold in, expected at least {max(2, least)}"
        )
    known = np.isfinite(inputs).all(axis=0)
    values = np.where(known, inputs, 0.0)
    mean = values.mean(axis=0)
    # A joint of a row has the scale of that joint over all rows: how far ahead a row looks must show.
    deviation = values.std(axis=0)
    rows = deviation[CONTEXT:].reshape(ROWS, STATE_SIZE)
    deviation[CONTEXT:] = np.tile(np.sqrt((rows**2).mean(axis=0)), ROWS)
    scale = np.maximum(deviation, _LEAST_SCALE)
    return mean, scale, np.where(known, (values - mean) / scale, 0.0)


def _components(unit: FloatArray, part: slice, count: int, settings: PointSettings) -> FloatArray:
    """Directions (count, 80) of one part of the inputs, so scaled that two decisions are a distance of 1 apart."""
    values, vectors = np.linalg.eigh(np.cov(unit[:, part].T))
    order = np.argsort(values)[::-1][:count]
    deviation = np.sqrt(np.maximum(values[order], 0.0))
    deviation = np.maximum(deviation, settings.floor * max(float(deviation[0]), 1e-6))
    directions = np.zeros((len(order), INPUTS))
    directions[:, part] = (vectors[:, order] / deviation**settings.evenness).T
    directions[:, (unit == 0.0).all(axis=0)] = 0.0
    spread = float((unit @ directions.T).var(axis=0).sum())
    return directions / max(np.sqrt(2.0 * spread), 1e-9)


def _rounded(mean: FloatArray, scale: FloatArray, directions: FloatArray, points: FloatArray, k: int) -> KnownPoints:
    """As the file keeps it: what is calibrated is what is loaded."""
    return KnownPoints(
        mean.astype(np.float32),
        scale.astype(np.float32),
        directions.astype(np.float16).astype(np.float32),
        points.astype(np.float16).astype(np.float32),
        k,
    )
