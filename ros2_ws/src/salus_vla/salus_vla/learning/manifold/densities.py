"""Densities that are compared, each fitted on the same decisions: a score that should be high where failure is near."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.learning.manifold.fit_manifold import PointSettings, fit_gaussian, fit_points
from salus_vla.learning.prediction.fit_predictor import one_thread
from salus_vla.safety.manifold.known_points import KnownPoints
from salus_vla.safety.manifold.manifold_inputs import CONTEXT, INPUTS
from salus_vla.safety.prediction.hand_phase import EMPTY_WIDTH

Score = Callable[[FloatArray], FloatArray]  # inputs (n, 80) -> (n,)
Fit = Callable[[FloatArray], Score]  # inputs of successes -> score

_OPEN = 0.07  # m, of the hand
_FEWEST = 300  # decisions of a phase of the hand that has a covariance of its own
_FARTHEST = 1e9  # where the density is 0
_FLOW_SIZE, _FLOW_STEPS, _FLOW_BATCH = 24, 1200, 256


def distances(known: KnownPoints) -> Score:
    """Distance to known points."""
    return lambda inputs: known.distances(known.place(inputs))


def neighbours(settings: PointSettings) -> Fit:
    """k-NN in principal components."""
    return lambda inputs: distances(fit_points(inputs, settings))


def gaussian(shrinkage: float) -> Fit:
    """Mahalanobis' distance."""
    return lambda inputs: distances(fit_gaussian(inputs, shrinkage))


def gaussian_by_hand(shrinkage: float) -> Fit:
    """Mahalanobis' distance with a covariance for each phase of the hand: open, holding, closed on nothing."""

    def fit(inputs: FloatArray) -> Score:
        everywhere = distances(fit_gaussian(inputs, shrinkage))
        phases = _hand(inputs)
        own = {
            phase: distances(fit_gaussian(inputs[phases == phase], shrinkage))
            for phase in range(3)
            if (phases == phase).sum() >= _FEWEST
        }

        def score(others: FloatArray) -> FloatArray:
            found = everywhere(others)
            for phase, of_phase in own.items():
                rows = _hand(others) == phase
                found[rows] = of_phase(others[rows])
            return found

        return score

    return fit


def flow(seed: int, steps: int = _FLOW_STEPS) -> Fit:
    """Negative log-likelihood of a masked autoregressive flow (zuko) of whitened principal components."""

    def fit(inputs: FloatArray) -> Score:
        from zuko.flows import MAF

        whole = PointSettings(directions=_FLOW_SIZE // 2, evenness=1.0)
        known = fit_points(inputs, whole)
        size = len(known.directions) - (INPUTS - CONTEXT) + _FLOW_SIZE // 2  # the chunk's other directions vary least
        places = known.place(inputs)[:, :size]
        deviation = np.maximum(places.std(axis=0), 1e-6)
        mean = places.mean(axis=0)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MAF(features=size, transforms=4, hidden_features=(64, 64))
            data = torch.from_numpy((places - mean) / deviation).float()
            optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for _ in range(steps):
                batch = data[torch.randint(len(data), (_FLOW_BATCH,))]
                loss = -model().log_prob(batch + 0.02 * torch.randn(batch.shape)).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                schedule.step()

        def score(others: FloatArray) -> FloatArray:
            with one_thread(), torch.no_grad():
                at = torch.from_numpy((known.place(others)[:, :size] - mean) / deviation).float()
                found: FloatArray = -model().log_prob(at).numpy().astype(np.float64)
            if np.isnan(found).any():
                raise TrainingError(
                    f"the flow has no density for {int(np.isnan(found).sum())} of {len(found)} decisions"
                )
            return np.minimum(found, _FARTHEST)

        return score

    return fit


def state_only(settings: PointSettings) -> Fit:
    """k-NN that does not see the chunk."""
    return lambda inputs: distances(_without(inputs, settings, slice(CONTEXT, None)))


def chunk_only(settings: PointSettings) -> Fit:
    """k-NN that sees nothing else."""
    return lambda inputs: distances(_without(inputs, settings, slice(0, CONTEXT)))


def _without(inputs: FloatArray, settings: PointSettings, part: slice) -> KnownPoints:
    known = fit_points(inputs, settings)
    directions = known.directions.copy()
    directions[:, part] = 0.0
    rows = np.flatnonzero((directions != 0.0).any(axis=1))
    return replace(known, directions=directions[rows], points=known.points[:, rows])


def candidates() -> Mapping[str, Mapping[str, Fit]]:
    """Kind of model -> setting -> fit; the setting is chosen on the validation seeds."""
    grid = {
        f"k {k}, chunk x {weight:g}, evenness {even:g}, floor {floor:g}": neighbours(
            PointSettings(neighbours=k, chunk_weight=weight, evenness=even, floor=floor)
        )
        for k in (1, 5, 20)
        for weight in (1.0, 3.0)
        for even, floor in ((0.0, 0.05), (0.5, 0.05), (0.7, 0.01), (1.0, 0.01))
    }
    return {
        "k-NN": grid,
        "Mahalanobis": {f"shrinkage {value:g}": gaussian(value) for value in (0.01, 0.1, 0.3)},
        "Mahalanobis by hand": {f"shrinkage {value:g}": gaussian_by_hand(value) for value in (0.01, 0.1, 0.3)},
        "flow (zuko MAF)": {f"seed {seed}": flow(seed) for seed in range(2)},
    }


def _hand(inputs: FloatArray) -> FloatArray:
    width = inputs[:, CONTEXT - 1]
    found: FloatArray = np.where(width > _OPEN, 0, np.where(width < EMPTY_WIDTH, 2, 1))
    return found
