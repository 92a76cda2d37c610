"""What every policy offers to the controller."""

from __future__ import annotations

from typing import Protocol

from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.signals.reference import NoveltyReference


class Policy(Protocol):
    """A policy as the controller sees it; deterministic given the episode's seed and the decision's number."""

    @property
    def source(self) -> str:
        """Recorded with every episode as `policy_source`."""

    def start_episode(self, seed: int) -> None:
        """Forgets everything of the episode before."""

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """Chunks for an observation; `decision` counts from 0 in the episode."""

    def read_task(self, task: str) -> dict[str, str]:
        """What the policy makes of an instruction, for the provenance; raises ModelError where it cannot read it."""

    def provenance(self) -> dict[str, str]:
        """Provenance: hashes, sizes, device, versions."""


class ReferencedPolicy(Policy, Protocol):
    """What `make_policy` gives: says what it reads, and may know where its activations lie on successful episodes."""

    @property
    def needs_images(self) -> bool:
        """Whether it reads the cameras; without, an episode needs no images for it."""

    @property
    def needs_poses(self) -> bool:
        """Whether it reads the ground truth, `Observation.poses`."""

    @property
    def reference(self) -> NoveltyReference | None:
        """For `activation_novelty`; None without one."""
