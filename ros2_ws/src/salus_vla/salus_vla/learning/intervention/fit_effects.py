"""Fits what each motion does to the probability of failure.

A motion is drawn at the closing of the hand and kept until the release. The label of its decisions is whether the
episode fails; an episode weighs 1, however often it closed the hand: one that fails tries many times. A closing that is
over at once, as behind a release, is no grasp. Each motion has weights of its own, drawn towards weights that all have
in common (a hierarchical ridge), because some were drawn a few dozen times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS, PLAN
from salus_vla.safety.intervention.effects import SITUATION

SHORTEST = 4  # decisions of a grasp
FEWEST = 12  # grasps with a motion, or nothing is said of it


@dataclass(frozen=True)
class EffectSettings:
    """How effects are fitted.

    Attributes:
        members: of the bootstrap over seeds.
        common, own: ridge on the weights that all motions share, and on what each has besides.
    """

    members: int = 8
    common: float = 0.005
    own: float = 0.08


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
    inside = drawn < 1.0
    begins = inside & ~(np.append(False, inside[:-1]) & np.append(False, episode[1:] == episode[:-1]))
    numbers = np.cumsum(begins)
    inside &= np.bincount(numbers[inside], minlength=numbers.max(initial=0) + 1)[numbers] >= SHORTEST
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


def fit_effects(
    rows: GraspRows, seed: int = 0, settings: EffectSettings | None = None
) -> tuple[tuple[str, ...], FloatArray]:
    """Weights of the motions that were drawn often enough.

    Returns:
        Their names, C of them, and weights (M, C, S).

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
    place = {CHOICES.index(name): number for number, name in enumerate(names)}
    rows = rows.of(np.isin(rows.motion, list(place)))
    motion = np.array([place[index] for index in rows.motion.tolist()])
    random = np.random.default_rng(seed)
    seeds = np.unique(rows.seed)
    base = rows.weights
    found = []
    for member in range(settings.members):
        drawn = random.choice(seeds, len(seeds)) if member else seeds  # the first one sees every seed once
        times = {int(value): int(count) for value, count in zip(*np.unique(drawn, return_counts=True), strict=True)}
        weights = base * np.array([times.get(int(value), 0) for value in rows.seed])
        found.append(_fit(rows.situation, motion, rows.fails, weights, len(names), settings))
    return names, np.stack(found)


def _fit(
    situation: FloatArray,
    motion: NDArray[np.int64],
    fails: NDArray[np.bool_],
    weights: FloatArray,
    count: int,
    settings: EffectSettings,
) -> FloatArray:
    """Weights (C, S) of one member, by L-BFGS on the weighted log loss."""
    x, y, w = (torch.tensor(values, dtype=torch.float64) for values in (situation, fails.astype(float), weights))
    which = torch.tensor(motion)
    common = torch.zeros(len(SITUATION), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(count, len(SITUATION), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([common, own], max_iter=200, line_search_fn="strong_wolfe")
    free = torch.ones(len(SITUATION), dtype=torch.float64)
    free[SITUATION.index("one")] = 0.1  # the level of a motion is what is asked for: hardly drawn in

    def loss() -> torch.Tensor:
        logits = (x * (common + own[which])).sum(dim=1)
        fit = (torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none") * w).sum() / w.sum()
        return fit + settings.common * (free * common**2).sum() + settings.own * (free * own**2).sum() / count

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    found: FloatArray = (common + own).detach().numpy()
    return found
