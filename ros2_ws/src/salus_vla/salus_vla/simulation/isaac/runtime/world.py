"""The rules of the simulated world in Isaac's Python: frames, ground truth, resets in place. Knows no Isaac Sim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from salus_vla.contract import ENTITIES
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.joint_command import read_command
from salus_vla.contract.types import Contact, Pose
from salus_vla.simulation.contact_changes import ContactChanges, PairForces
from salus_vla.simulation.isaac.scene_spec import ResetSample, SceneSpec

SETTLE_FRAMES = 10  # after a reset, in which the cube comes to rest on the table; 0.2 s, as in MuJoCo


class Stage(Protocol):
    """What the world needs of Isaac Sim; `stage.py` has it."""

    def update(self) -> None:
        """Simulates and renders one frame."""

    def sim_time(self) -> float:
        """Sim time of the last frame [s], as the graph publishes it."""

    def put(self, sample: ResetSample) -> None:
        """Puts arm, bodies, cameras and lights where they start, at rest, in place."""

    def set_targets(self, targets: Mapping[str, float]) -> None:
        """Sets position targets by joint [rad, m]."""

    def poses(self, names: Sequence[str]) -> dict[str, Pose]:
        """Poses of bodies in the world."""

    def end_frame(self) -> PairForces:
        """Force of each pair that touched in the last frame [N]."""


@dataclass(frozen=True)
class GroundTruth:
    """What the graph does not publish of a frame; fields as of `frames.Frame`."""

    stamp_ns: int
    camera_due: bool
    poses: Mapping[str, Pose]
    contacts: tuple[Contact, ...]


class World:
    """Steps the stage in frames of the topic contract."""

    def __init__(self, stage: Stage, spec: SceneSpec) -> None:
        """Takes over a stage that plays."""
        self._stage = stage
        self._spec = spec
        self._changes = ContactChanges()
        self._forces: PairForces = {}  # of the last frame
        self._stamp_ns = -1
        self._phase: int | None = None  # number of the camera frames, modulo frames per decision

    def step(self) -> GroundTruth:
        """Simulates one frame.

        Raises:
            SimulatorError: sim time stands still.
        """
        self._stage.update()
        # As the bridge does, so that the stamps are the same to the nanosecond.
        stamp_ns = int(self._stage.sim_time() * 1e9)
        if stamp_ns <= self._stamp_ns:
            raise SimulatorError(
                f"sim time stands still at {stamp_ns} ns: the timeline was stopped; expected that nobody else "
                "stops or pauses it"
            )
        self._stamp_ns = stamp_ns
        self._forces = forces = self._stage.end_frame()
        poses = self._stage.poses(ENTITIES)
        return GroundTruth(
            stamp_ns=stamp_ns,
            camera_due=self._number(stamp_ns) % self._spec.frames_per_decision == self._phase,
            poses=poses,
            contacts=self._changes.update(forces),
        )

    def begin(self, sample: ResetSample) -> None:
        """Puts everything where it starts; for the frames before the first reset, in which the cameras wake up."""
        self._stage.put(sample)
        self._changes.clear()

    def reset(self, sample: ResetSample, publish: Callable[[GroundTruth], None]) -> GroundTruth:
        """Starts over in place; the clock goes on.

        Args:
            sample: the scene after the reset.
            publish: called with each frame until the cube rests.

        Returns:
            The first camera frame after that, published as well.

        Raises:
            SimulatorError: no image has come yet, so that no frame is known to be a camera frame, or sim time stands
                still.
        """
        if not self.knows_cameras:
            raise SimulatorError("the cameras have not published yet; expected a reset after the first pictures")
        self.begin(sample)
        for _ in range(SETTLE_FRAMES):
            publish(self.step())
        while not (frame := self.step()).camera_due:
            publish(frame)
        # What still touches is said again in the first frame of the episode, whose readers forget what was before.
        self._changes.clear()
        frame = replace(frame, contacts=self._changes.update(self._forces))
        publish(frame)
        return frame

    def set_command(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Sets position targets, held until they are set again.

        Raises:
            SimulatorError: as of `read_command`; no target has changed then.
        """
        self._stage.set_targets(read_command(names, positions))

    @property
    def knows_cameras(self) -> bool:
        """Whether an image has said on which frames the cameras publish; before, no frame is a camera frame."""
        return self._phase is not None

    def saw_picture(self, stamp_ns: int) -> None:
        """Learns from an image's stamp on which frames the cameras publish: the contract's 10 Hz, in Isaac's phase."""
        self._phase = self._number(stamp_ns) % self._spec.frames_per_decision

    def _number(self, stamp_ns: int) -> int:
        return round(stamp_ns / self._spec.frame_dt_ns)
