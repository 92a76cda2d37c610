"""Fits what each motion does to the probability of failure.

A motion is drawn at the closing of the hand and kept until the release. The label of its decisions is whether the
episode fails; an episode weighs 1, however often it closed the hand: one that fails tries many times. A closing that is
over at once, as behind a release, is no grasp. Care and slowness have weights of their own, held small by a ridge.

Only the first half second of a grasp is learned from: what is felt and seen later follows from the motion itself (a
cube that did not slip because the arm was slow), and would explain the effect away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS, PLAN
from salus_vla.safety.intervention.effects import PARTS, scaled, shares_of

SHORTEST = 4  # decisions of a grasp
EARLY = 6  # decisions of it that are learned from
_SMALLEST = 1e-6  # deviation of what does not vary
FEWEST = 12  # grasps with a motion, or nothing is said of it


@dataclass(frozen=True)
class EffectSettings:
    """How effects are fitted.

    Attributes:
        members: of the bootstrap over seeds.
        common: ridge on the weights that all motions share.
        own: ridge on those of care and slowness.
    """

    members: int = 8
    common: float = 0.01
    own: float = 0.02


@dataclass(frozen=True, eq=False)
class GraspRows:
    """Decisions while something is grasped, N of G grasps.

    Attributes:
        situation: (N, S).
        motion: index in `CHOICES`, (N,).
        grasp: number, (N,), ascending.
        episode: number, (N,), ascending.
        fails: whether the episode fails, (N,).
        seed, profile: of the episode, (N,).
    """

    situation: FloatArray
    motion: NDArray[np.int64]
    grasp: NDArray[np.int64]
    episode: NDArray[np.int64]
    fails: NDArray[np.bool_]
    seed: NDArray[np.int64]
    profile: NDArray[np.str_]

    def of(self, rows: NDArray[np.bool_]) -> GraspRows:
        """Some of the rows."""
        return GraspRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def weights(self) -> FloatArray:
        """1 for each episode, shared by its decisions, (N,)."""
        _, inverse, counts = np.unique(self.episode, return_inverse=True, return_counts=True)
        found: FloatArray = 1.0 / counts[inverse]
        return found


def grasp_rows(
    situation: FloatArray,
    motions: NDArray[np.str_],
    drawn: FloatArray,
    episode: NDArray[np.int64],
    fails: NDArray[np.bool_],
    seed: NDArray[np.int64],
    profile: NDArray[np.str_],
) -> GraspRows:
    """The decisions at which a motion was drawn; a grasp ends where none is, and with its episode.

    Args:
        situation: of N decisions, (N, S).
        motions: what was chosen, (N,).
        drawn: the probability that it was drawn with, (N,).
        episode: of each decision, (N,), ascending.
        fails: whether that episode fails, (N,).
        seed: of that episode, (N,).
        profile: of that episode, (N,).
    """
    inside = (drawn < 1.0) & np.isin(motions, list(MOTIONS))
    begins = inside & ~(np.append(False, inside[:-1]) & np.append(False, episode[1:] == episode[:-1]))
    numbers = np.cumsum(begins)
    inside &= np.bincount(numbers[inside], minlength=numbers.max(initial=0) + 1)[numbers] >= SHORTEST
    first = np.full(numbers.max(initial=0) + 1, len(numbers))
    np.minimum.at(first, numbers[inside], np.flatnonzero(inside))
    inside &= np.arange(len(inside)) - first[numbers] < EARLY
    index = np.array([CHOICES.index(name) for name in motions.tolist()])
    return GraspRows(
        situation[inside],
        index[inside],
        numbers[inside],
        episode[inside],
        fails[inside],
        seed[inside],
        profile[inside],
    )


@dataclass(frozen=True, eq=False)
class FittedEffects:
    """What `EffectModel` is made of: names of C motions, weights (M, 3, S + 1), mean and scale (S,)."""

    names: tuple[str, ...]
    weights: FloatArray
    mean: FloatArray
    scale: FloatArray


def fit_effects(rows: GraspRows, seed: int = 0, settings: EffectSettings | None = None) -> FittedEffects:
    """Effects of the motions that were drawn often enough.

    Raises:
        TrainingError: the plan or every other motion was drawn too seldom, or all grasps end alike.
    """
    settings = settings or EffectSettings()
    counts = {name: len(np.unique(rows.grasp[rows.motion == CHOICES.index(name)])) for name in MOTIONS}
    names = tuple(name for name, count in counts.items() if count >= FEWEST)
    if PLAN not in names or len(names) < 2:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"
        raise TrainingError(
            f"grasps with drawn motions: {shown}; expected at least {FEWEST} with the plan and with another one: "
            "record more with `salus rollout --intervention random`"
        )
    if rows.fails.all() or not rows.fails.any():
        raise TrainingError(f"all of {len(np.unique(rows.grasp))} grasps end alike: nothing to learn from")
    rows = rows.of(np.isin(rows.motion, [CHOICES.index(name) for name in names]))
    mean, scale = np.nanmean(rows.situation, axis=0), np.maximum(np.nanstd(rows.situation, axis=0), _SMALLEST)
    inputs = scaled(rows.situation, mean, scale)
    shares = np.stack([shares_of(CHOICES[index]) for index in rows.motion.tolist()])
    random = np.random.default_rng(seed)
    seeds = np.unique(rows.seed)
    base = rows.weights
    found = []
    for member in range(settings.members):
        drawn = random.choice(seeds, len(seeds)) if member else seeds  # the first one sees every seed once
        times = {int(value): int(count) for value, count in zip(*np.unique(drawn, return_counts=True), strict=True)}
        weights = base * np.array([times.get(int(value), 0) for value in rows.seed])
        found.append(_fit(inputs, shares, rows.fails, weights, settings))
    return FittedEffects(names, np.stack(found), mean, scale)


def _fit(
    inputs: FloatArray, shares: FloatArray, fails: NDArray[np.bool_], weights: FloatArray, settings: EffectSettings
) -> FloatArray:
    """Weights (3, S + 1) of one member, by L-BFGS on the weighted log loss; the levels are free."""
    x, part, y, w = (torch.tensor(values, dtype=torch.float64) for values in (inputs, shares, fails * 1.0, weights))
    parts = torch.zeros(PARTS, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parts], max_iter=200, line_search_fn="strong_wolfe")
    ridge = torch.full((PARTS, inputs.shape[1]), settings.own, dtype=torch.float64)
    ridge[0] = settings.common
    ridge[:, -1] = 0.0

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (x @ parts.T * part).sum(dim=1)
        fit = (torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none") * w).sum() / w.sum()
        value = fit + (ridge * parts**2).sum()
        value.backward()
        return value

    optimizer.step(closure)
    found: FloatArray = parts.detach().numpy()
    return found
