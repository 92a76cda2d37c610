"""What every policy offers to the controller, and the policy that only holds the arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray, Observation

if TYPE_CHECKING:  # signals imports this module
    from salus_vla.signals.safety_signals import NoveltyReference

ACTION_DIM = ARM_DOF + 1  # 7 absolute joint targets [rad] and the gripper width [m]


@dataclass(frozen=True)
class Prediction:
    """Everything a policy says about one observation.

    Attributes:
        chunks: shape (K, S, H, 8): member, noise sample, control step, action. Absolute joint targets [rad] and gripper
            width [m]. Row 0 is the current control step. The S noise tensors are the same for all members.
        prefix_state: mean-pooled last hidden state of the VLM prefix, mean over members, shape (D,), or None.
        expert_state: mean-pooled hidden state of the action expert before its output projection at the last denoising
            step, shape (E,), or None.
    """

    chunks: FloatArray
    prefix_state: FloatArray | None = None
    expert_state: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.chunks.ndim != 4 or self.chunks.shape[3] != ACTION_DIM:
            raise ModelError(f"chunks have shape {self.chunks.shape}, expected (K, S, H, {ACTION_DIM})")

    @property
    def finite(self) -> bool:
        """False when any number of any chunk is NaN or infinite."""
        return bool(np.isfinite(self.chunks).all())


class Policy(Protocol):
    """A policy as the controller sees it; deterministic given the episode's seed and the decision's number."""

    @property
    def source(self) -> str:
        """Recorded with every episode as `policy_source`."""

    def start_episode(self, seed: int) -> None:
        """Forgets everything of the episode before."""

    def predict(self, observation: Observation, decision: int) -> Prediction:
        """Chunks for an observation; `decision` counts from 0 in the episode."""

    def facts(self) -> dict[str, str]:
        """Provenance: hashes, sizes, device, versions."""


class ReferencedPolicy(Policy, Protocol):
    """What `make_policy` gives: says what it reads, and may know where its activations lie on successful episodes."""

    @property
    def needs_images(self) -> bool:
        """Whether it reads the cameras; without, an episode needs no pictures for it."""

    @property
    def needs_poses(self) -> bool:
        """Whether it reads the ground truth, `Observation.poses`."""

    @property
    def reference(self) -> NoveltyReference | None:
        """For `activation_novelty`; None without one."""


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

    def predict(self, observation: Observation, decision: int) -> Prediction:
        """One member, one sample: the state of the first observation, repeated."""
        if self._target is None:
            self._target = observation.state
        return Prediction(np.tile(self._target, (1, 1, self.chunk_length, 1)))

    def facts(self) -> dict[str, str]:
        """Nothing but the name."""
        return {"policy": self.source}
