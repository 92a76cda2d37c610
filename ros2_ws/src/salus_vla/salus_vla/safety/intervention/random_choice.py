"""Interventions drawn at random, with the probability they were drawn with: what their effects are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from salus_vla.safety.intervention.candidates import (
    CAREFUL,
    MEAN,
    MEMBER,
    MOTIONS,
    NEAREST,
    PLAN,
    PROJECTED,
    RETREAT,
    SAMPLE,
)
from salus_vla.safety.intervention.modes import RANDOM_APPROACH, RANDOM_OF, RANDOM_RETREAT, given_shares

_STREAM: Final = 0x1A7E  # keeps the draws apart from those of scene, policy and disturbance, which use the same seed
# What is drawn at each closing of the hand: the shares of the motions. Few, because the effect of slowness is taken to
# grow with the logarithm of the pace; the first 230 episodes of datasets/interventions were drawn from more of them.
SHARES: Final = {PLAN: 0.15, CAREFUL: 0.4, f"{CAREFUL}_0.35": 0.45}

_APPROACHES: Final = 0x1A7F
FIRST_SHARES: Final = {MEAN: 0.4, MEMBER: 0.2, SAMPLE: 0.15, NEAREST: 0.15, PROJECTED: 0.1}
# Other numbers than those of the first: a recorded probability tells which of the two was drawn from.
AGAIN_SHARES: Final = {MEAN: 0.45, RETREAT: 0.4, MEMBER: 0.15}
# Of each mode that draws approaches: at the beginning, and behind a closing on nothing.
APPROACH_SHARES: Final[Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]] = {
    RANDOM_APPROACH: (FIRST_SHARES, AGAIN_SHARES),
    RANDOM_RETREAT: ({MEAN: 1.0}, {MEAN: 0.5, RETREAT: 0.5}),
}


class RandomChoice:
    """Draws a motion each time that the hand begins to close, and keeps it until the hand is open again."""

    def __init__(self, shares: Mapping[str, float] = SHARES) -> None:
        """Takes the probability of each motion; an episode begins with `start_episode`."""
        self._shares = dict(shares)
        self.start_episode(0)

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before."""
        self._random = np.random.default_rng([_STREAM, abs(seed), int(seed < 0)])
        self._current = ""

    def update(self, *, grasps: bool) -> tuple[str, float]:
        """Name of the motion for the next decision, and the probability that it was drawn with."""
        if not grasps:
            self._current = ""
            return PLAN, 1.0
        if not self._current:
            names = tuple(self._shares)
            self._current = names[int(self._random.choice(len(names), p=list(self._shares.values())))]
        return self._current, self._shares[self._current]


def shares_of_mode(mode: str) -> Mapping[str, float]:
    """Probabilities of motions in `random` and `random:NAME=P,...`."""
    return given_shares(mode) if mode.startswith(RANDOM_OF) else SHARES


class RandomApproach:
    """Draws an approach when one begins, and keeps it until the next one does."""

    def __init__(self, mode: str = RANDOM_APPROACH) -> None:
        """Takes one of `APPROACH_SHARES`; an episode begins with `start_episode`."""
        self._first, self._again = APPROACH_SHARES[mode]
        self.start_episode(0)

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before."""
        self._random = np.random.default_rng([_APPROACHES, abs(seed), int(seed < 0)])
        self.drawn, self.probability = MEAN, 1.0

    def begin(self, *, again: bool, manifold: bool, may_retreat: bool) -> str:
        """An approach begins; its name.

        Args:
            again: behind a closing on nothing.
            manifold: whether distances from successful episodes are known.
            may_retreat: whether the budget holds a retreat.
        """
        shares = self._again if again else self._first
        out = {*(() if manifold else (NEAREST, PROJECTED)), *(() if may_retreat else (RETREAT,))}
        left = {name: share for name, share in shares.items() if name not in out}
        whole = sum(left.values())
        names, chances = tuple(left), [share / whole for share in left.values()]
        place = int(self._random.choice(len(names), p=chances))
        self.drawn, self.probability = names[place], chances[place]
        return self.drawn


assert set(SHARES) <= set(MOTIONS)
