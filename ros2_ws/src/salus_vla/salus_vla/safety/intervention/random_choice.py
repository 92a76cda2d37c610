"""Interventions drawn at random, with the probability they were drawn with: what their effects are learned from."""

from __future__ import annotations

from typing import Final

import numpy as np

from salus_vla.safety.intervention.candidates import CAREFUL, MOTIONS, PLAN

_STREAM: Final = 0x1A7E  # keeps the draws apart from those of scene, policy and disturbance, which use the same seed
# What is drawn at each closing of the hand: the shares of the motions. Few, because the effect of slowness is taken to
# grow with the logarithm of the pace; the first 230 episodes of datasets/interventions were drawn from more of them.
SHARES: Final = {PLAN: 0.15, CAREFUL: 0.4, f"{CAREFUL}_0.35": 0.45}


class RandomChoice:
    """Draws a motion each time that the hand begins to close, and keeps it until the hand is open again."""

    def __init__(self) -> None:
        """An episode begins with `start_episode`."""
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
            names = tuple(SHARES)
            self._current = names[int(self._random.choice(len(names), p=list(SHARES.values())))]
        return self._current, SHARES[self._current]


assert set(SHARES) <= set(MOTIONS)
