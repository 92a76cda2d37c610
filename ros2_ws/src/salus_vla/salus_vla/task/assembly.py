"""Puts the frames of the simulated world together again from topics that arrive in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from salus_vla.contract import ENTITIES
from salus_vla.frames import Contact, FloatArray, Pose


@dataclass
class WorldFrame:
    """What the task needs of one frame: joints (9,), entity poses and the contacts that changed."""

    stamp_ns: int
    joint_position: FloatArray | None = None
    poses: dict[str, Pose] = field(default_factory=dict)
    contacts: list[Contact] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Joints and all poses are there; contacts come on event and may be missing."""
        return self.joint_position is not None and len(self.poses) == len(ENTITIES)


class FrameAssembler:
    """Collects messages by stamp and gives complete frames in order.

    A frame is given once a later one is complete too: by then a contact event of the frame, which need not exist, has
    arrived as well.
    """

    MAX_OPEN = 10

    def __init__(self) -> None:
        """Begins empty."""
        self._frames: dict[int, WorldFrame] = {}
        self._given_ns = -1
        self.incomplete = 0  # frames given up because a message of theirs never came
        self.late = 0  # messages of frames that were given already

    def forget_before(self, stamp_ns: int) -> None:
        """Drops everything older than a stamp: the world before a reset."""
        self._frames = {stamp: frame for stamp, frame in self._frames.items() if stamp >= stamp_ns}
        self._given_ns = stamp_ns - 1

    def add_joints(self, stamp_ns: int, position: FloatArray) -> None:
        """Adds the joints of a frame, shape (9,)."""
        if (frame := self._frame(stamp_ns)) is not None:
            frame.joint_position = position

    def add_pose(self, entity: str, stamp_ns: int, pose: Pose) -> None:
        """Adds the pose of an entity."""
        if (frame := self._frame(stamp_ns)) is not None:
            frame.poses[entity] = pose

    def add_contacts(self, stamp_ns: int, contacts: tuple[Contact, ...]) -> None:
        """Adds the contacts that changed in a frame."""
        if (frame := self._frame(stamp_ns)) is not None:
            frame.contacts += contacts

    def take(self) -> Iterator[WorldFrame]:
        """Gives every frame that is complete and has a complete successor, oldest first."""
        newest = max((stamp for stamp, frame in self._frames.items() if frame.complete), default=None)
        if newest is None:
            return
        for stamp in sorted(self._frames):
            if stamp >= newest:
                return
            if not self._frames[stamp].complete:
                if len(self._frames) <= self.MAX_OPEN:
                    return
                self.incomplete += 1
                self._given_ns = stamp
                del self._frames[stamp]
                continue
            self._given_ns = stamp
            yield self._frames.pop(stamp)

    def _frame(self, stamp_ns: int) -> WorldFrame | None:
        if stamp_ns <= self._given_ns:
            self.late += 1
            return None
        return self._frames.setdefault(stamp_ns, WorldFrame(stamp_ns))
