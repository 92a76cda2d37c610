"""The policy that only holds the arm."""

from __future__ import annotations

import numpy as np

from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.signals.reference import NoveltyReference


class HoldPolicy:
    """Holds the arm where the episode found it: a baseline, and a graph without a model."""

    source = "hold"
    needs_images = needs_poses = False
    chunk_length = 10

    def __init__(self) -> None:
        self.reference: NoveltyReference | None = None  # there is no network whose state could be novel
        self._target: FloatArray | None = None

    def start_episode(self, seed: int) -> None:
        """Forgets the pose held so far."""
        self._target = None

    def read_task(self, task: str) -> dict[str, str]:
        """It reads none."""
        return {}

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """One member, one sample: the state of the first observation, repeated."""
        if self._target is None:
            self._target = observation.state
        return PolicyOutput(np.tile(self._target, (1, 1, self.chunk_length, 1)))

    def provenance(self) -> dict[str, str]:
        """Nothing but the name."""
        return {"policy": self.source}
