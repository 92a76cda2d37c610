"""An episode of `salus rollout` as a `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.types import Observation
from salus_vla.data.intervention_events import intervention_events
from salus_vla.data.recording import (
    Decisions,
    Episode,
    HeldTrack,
    Interventions,
    JointTrack,
    Part,
    PoseTrack,
    RecordedEvent,
    Recording,
    Summary,
    known_values,
)
from salus_vla.data.rollouts.rollout_store import EpisodeSummary, StoredEpisode, read_episode, read_summary
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS
from salus_vla.safety.intervention.told_motion import ToldMotion


@dataclass(frozen=True)
class RolloutEpisode(Episode):
    """A file of `salus rollout`; `seed` is the one in its name.

    Attributes:
        advised: whether the arm followed the plan whatever was chosen, which its run knows.
    """

    advised: bool = False

    @cached_property
    def summary(self) -> Summary:
        """From the header of the file."""
        return _summary(read_summary(self.path), None)

    def open(self) -> Recording:
        """Reads the arrays; images stay compressed until they are asked for."""
        stored = read_episode(self.path)
        if stored.seed != self.seed:
            raise RecordingError(f"{self.path}: is the episode of seed {stored.seed}, its name says {self.seed}")
        return RolloutRecording(self.path, stored, advised=self.advised)


class RolloutRecording(Recording):
    """The arrays of a stored episode; stamps count from its first observation."""

    def __init__(self, path: Path, stored: StoredEpisode, *, advised: bool = False) -> None:
        """Takes what was read; `advised` as of `RolloutEpisode`."""
        self._path, self._stored, self._advised = path, stored, advised
        self.summary = _summary(stored, int(stored.stamps_ns[-1]))

    def require(self, *parts: Part) -> None:
        """Only images may be missing."""
        images = self._stored.images
        if Part.IMAGES in parts and not images:
            raise RecordingError(f"{self._path}: has no images; `salus rollout` was run without them")
        if Part.IMAGES in parts and sorted(images) != sorted(CAMERAS):
            raise RecordingError(f"{self._path}: has images of {sorted(images)}, expected {sorted(CAMERAS)}")

    def decisions(self) -> Decisions:
        """Latencies are not stored: the same episode gives the same file."""
        stored = self._stored
        count = len(stored.stamps_ns)
        return Decisions(
            stamps_ns=stored.stamps_ns,
            numbers=np.arange(count),
            signals=known_values(stored.signals, stored.valid),
            latency_ms=np.full(count, np.nan),
            planned=stored.planned,
            expert_state=stored.expert_state,
            prefix_parts=stored.prefix_parts,
        )

    def measured(self) -> JointTrack:
        """Of every frame."""
        stored = self._stored
        velocities, efforts = (
            None if array is None else array.astype(np.float64)
            for array in (stored.frame_velocity, stored.frame_effort)
        )
        return JointTrack(stored.frame_stamps_ns, stored.frame_position, velocities, efforts)

    def commanded(self) -> JointTrack:
        """Of every frame but the terminal one."""
        return JointTrack(self._stored.command_stamps_ns, self._stored.commands)

    def cube(self) -> PoseTrack:
        """Of every frame."""
        return PoseTrack(self._stored.frame_stamps_ns, self._stored.cube_pose)

    def held(self) -> HeldTrack | None:
        """Of every frame."""
        stored = self._stored
        return None if stored.holding is None else HeldTrack(stored.frame_stamps_ns, stored.holding.astype(np.bool_))

    def interventions(self) -> Interventions | None:
        """Of every decision but the one on the terminal observation."""
        stored = self._stored
        if stored.chosen is None or stored.chosen_probability is None or stored.motion_failure is None:
            return None
        return Interventions.of(
            ToldMotion(
                stamp_ns=int(stored.stamps_ns[row]),
                decision=int(row),
                failure={
                    name: float(value)
                    for name, value in zip(MOTIONS, stored.motion_failure[row], strict=True)
                    if np.isfinite(value)
                },
                chosen=CHOICES[stored.chosen[row]],
                probability=float(stored.chosen_probability[row]),
                acted=not self._advised,
            )
            for row in np.flatnonzero(stored.chosen < len(CHOICES))
        )

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """None in a run without images."""
        stored = self._stored
        if not stored.images:
            return
        for number, stamp_ns in enumerate(stored.stamps_ns.tolist()):
            images = {camera: pictures[number] for camera, pictures in stored.images.items()}
            yield number, Observation(stamp_ns, images, stored.joint_position[number], stored.task)

    def events(self) -> tuple[RecordedEvent, ...]:
        """Faults of grasps, tries that failed, the takeover, interventions, and what ended it."""
        stored = self._stored
        found = [RecordedEvent(event.stamp_ns, event.kind, event.text) for event in stored.events]
        if stored.taken_over_ns is not None:
            words = f"{stored.taken_over_by} took over: {stored.taken_over_when}"
            found.append(RecordedEvent(stored.taken_over_ns, "TAKEOVER", words))
        if stored.event_stamp_ns is not None:
            found.append(RecordedEvent(stored.event_stamp_ns, stored.outcome.name, stored.event))
        found += intervention_events(self.interventions(), start_ns=0, ended_by=stored.outcome)
        return tuple(sorted(found, key=lambda event: event.stamp_ns))

    def audit(self) -> None:
        """No messages were recorded."""

    def provenance(self) -> dict[str, str]:
        """The run has them all."""
        return {}


def _summary(stored: EpisodeSummary, end_ns: int | None) -> Summary:
    return Summary(
        seed=stored.seed,
        profile=stored.profile,
        policy=stored.policy,
        task=stored.task,
        outcome=stored.outcome,
        decisions=stored.decisions,
        start_ns=0,
        end_ns=end_ns,
        event_stamp_ns=stored.event_stamp_ns,
        detail=stored.event,
        taken_over_ns=stored.taken_over_ns,
        taken_over_by=stored.taken_over_by,
        taken_over_when=stored.taken_over_when,
    )
