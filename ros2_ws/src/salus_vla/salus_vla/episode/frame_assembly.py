"""Puts the frames of the simulated world together again from topics that arrive in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from salus_vla.contract import ENTITIES
from salus_vla.contract.types import Contact, FloatArray, Pose


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
    nearly always arrived as well. One that has not comes with the next frame: a release that was lost would leave a
    pair touching for the rest of the episode.
    """

    MAX_OPEN = 10  # frames that may wait for a message of an earlier one
    MAX_KEPT = 500  # frames kept while none is complete

    def __init__(self, tolerance_ns: int = 10_000_000) -> None:
        """Begins empty; stamps within the tolerance, half a frame, belong to one frame [ns]."""
        self._tolerance_ns = tolerance_ns
        self._frames: dict[int, WorldFrame] = {}
        self._given_ns = self._begin_ns = -1
        self._delayed: list[Contact] = []  # of frames that were given, or given up, without them
        self.incomplete = 0  # frames given up because a message of theirs never came
        self.late = 0  # messages of frames that were given already

    def forget_before(self, stamp_ns: int) -> None:
        """Drops everything older than a stamp: the world before a reset."""
        self._frames = {stamp: frame for stamp, frame in self._frames.items() if stamp >= stamp_ns}
        self._given_ns = stamp_ns - 2 * self._tolerance_ns
        self._begin_ns = stamp_ns
        self._delayed.clear()

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
        elif stamp_ns >= self._begin_ns - self._tolerance_ns:
            self._delayed += contacts

    def take(self) -> Iterator[WorldFrame]:
        """Gives every frame that is complete and has a complete successor, oldest first."""
        newest = max((stamp for stamp, frame in self._frames.items() if frame.complete), default=None)
        if newest is None:
            while len(self._frames) > self.MAX_KEPT:
                self._give_up(min(self._frames))
            return
        for stamp in sorted(self._frames):
            if stamp >= newest:
                return
            if not self._frames[stamp].complete:
                if len(self._frames) <= self.MAX_OPEN:
                    return
                self._give_up(stamp)
                continue
            self._given_ns = stamp
            frame = self._frames.pop(stamp)
            frame.contacts, self._delayed = self._delayed + frame.contacts, []
            yield frame

    def missing(self) -> tuple[str, ...]:
        """What the open frames lack: `joints` or entities, or both when nothing came at all."""
        seen = {entity for frame in self._frames.values() for entity in frame.poses}
        if any(frame.joint_position is not None for frame in self._frames.values()):
            seen.add("joints")
        return tuple(part for part in ("joints", *ENTITIES) if part not in seen)

    def _give_up(self, stamp_ns: int) -> None:
        self.incomplete += 1
        self._given_ns = stamp_ns
        self._delayed += self._frames.pop(stamp_ns).contacts

    def _frame(self, stamp_ns: int) -> WorldFrame | None:
        if stamp_ns <= self._given_ns + self._tolerance_ns and self._given_ns >= 0:
            self.late += 1
            return None
        key = next((stamp for stamp in self._frames if abs(stamp - stamp_ns) <= self._tolerance_ns), stamp_ns)
        return self._frames.setdefault(key, WorldFrame(key))
