"""A small manifold of drawn decisions in three clusters: what it calls safe means nothing, how it does so does."""

from __future__ import annotations

import numpy as np

from salus_vla.learning.manifold.fit_manifold import PointSettings, fit_gaussian, fit_points
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.manifold_inputs import ROWS, STATE_SIZE, inputs_of
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity

ENSEMBLE = EnsembleIdentity(("aaaa", "bbbb"), ("cccc",))
HOME = np.array([0.0, -0.8, 0.0, -2.2, 0.0, 1.6, 0.8, 0.05])

Decision = tuple[np.ndarray, np.ndarray, np.ndarray]  # expert state, robot state, chunk


def drawn_decisions(seed: int, count: int, rows: int = ROWS) -> Decision:
    """Expert states (N, 32), robot states (N, 8) and chunks (N, rows, 8) that move on evenly."""
    random = np.random.default_rng(seed)
    kind = random.integers(3, size=count)
    middles = np.random.default_rng(99).normal(size=(3, 32))
    expert = middles[kind] + 0.3 * random.normal(size=(count, 32))
    small = np.array([0.1] * 7 + [0.005])
    state = HOME + small * random.normal(size=(count, STATE_SIZE))
    speed = small * (kind[:, None] - 1.0 + 0.2 * random.normal(size=(count, STATE_SIZE)))
    chunk = state[:, None] + speed[:, None] * np.arange(1, rows + 1)[:, None] / ROWS
    return expert, state, chunk


def drawn_manifold(model: str = "k-NN", share: float = 0.9) -> ActionManifold:
    """A calibrated one, of "k-NN" or "Mahalanobis"."""
    inputs = inputs_of(*drawn_decisions(0, 400))
    settings = PointSettings(points=200, neighbours=3, directions=8)
    known = fit_points(inputs, settings) if model == "k-NN" else fit_gaussian(inputs, 0.1)
    others = inputs_of(*drawn_decisions(1, 199))
    return ActionManifold(ENSEMBLE, "0123456789ab", known, np.sort(known.distances(known.place(others))), share)
