"""Matches camera images, joints and, if needed, poses of one instant into an observation, whatever order they come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from salus_vla.contract import CAMERAS
from salus_vla.contract.types import FloatArray, ImageArray, Observation, Pose


class ObservationMatcher:
    """Collects images, joints and poses by stamp; stamps within half a frame belong together (never equality)."""

    MAX_OPEN = 8  # incomplete sets kept; older ones are counted and dropped
    MAX_JOINTS = 64  # joint frames, and poses of each entity, kept for sets that are still incomplete

    def __init__(self, tolerance_ns: int, cameras: Sequence[str] = CAMERAS, entities: Sequence[str] = ()) -> None:
        """Sets what is collected.

        Args:
            tolerance_ns: half a frame [ns].
            cameras: names of the cameras of a set.
            entities: whose ground-truth poses an observation waits for; without any it has none.
        """
        self._tolerance_ns = tolerance_ns
        self._cameras = tuple(cameras)
        self._sets: OrderedDict[int, dict[str, ImageArray]] = OrderedDict()
        self._joints: OrderedDict[int, FloatArray] = OrderedDict()
        self._poses: dict[str, OrderedDict[int, Pose]] = {entity: OrderedDict() for entity in entities}
        self._newest: dict[str, int] = {}
        self.dropped = 0  # camera sets that never became complete
        self.repeated = 0  # images whose stamp did not advance

    def add_joints(self, stamp_ns: int, position: FloatArray, task: str) -> Observation | None:
        """Adds a joint frame, shape (9,); gives the observation it completes."""
        self._joints[stamp_ns] = position
        while len(self._joints) > self.MAX_JOINTS:
            self._joints.popitem(last=False)
        return self._complete(stamp_ns, task)

    def add_pose(self, entity: str, stamp_ns: int, pose: Pose, task: str) -> Observation | None:
        """Adds the pose of one of the entities; gives the observation it completes."""
        poses = self._poses[entity]
        poses[stamp_ns] = pose
        while len(poses) > self.MAX_JOINTS:
            poses.popitem(last=False)
        return self._complete(stamp_ns, task)

    def add_image(self, camera: str, stamp_ns: int, pixels: ImageArray, task: str) -> Observation | None:
        """Adds an image; gives the observation it completes. An image whose stamp did not advance is dropped."""
        if stamp_ns <= self._newest.get(camera, -1):
            self.repeated += 1
            return None
        self._newest[camera] = stamp_ns
        key = self._nearest(self._sets, stamp_ns)
        if key is None:
            key = stamp_ns
            self._sets[key] = {}
        self._sets[key][camera] = pixels
        while len(self._sets) > self.MAX_OPEN:
            self._sets.popitem(last=False)
            self.dropped += 1
        return self._complete(key, task)

    def _complete(self, stamp_ns: int, task: str) -> Observation | None:
        key = self._nearest(self._sets, stamp_ns)
        if key is None or len(self._sets[key]) < len(self._cameras):
            return None
        joints = self._nearest(self._joints, key)
        poses = self._poses_near(key)
        if joints is None or poses is None:
            return None
        images = self._sets.pop(key)
        for older in [stamp for stamp in self._sets if stamp < key]:
            del self._sets[older]
            self.dropped += 1
        return Observation(key, images, self._joints[joints], task, poses=poses or None)

    def _poses_near(self, stamp_ns: int) -> Mapping[str, Pose] | None:
        """Poses of all entities at a stamp, or None while one is missing."""
        stamps = {entity: self._nearest(poses, stamp_ns) for entity, poses in self._poses.items()}
        found = {entity: self._poses[entity][stamp] for entity, stamp in stamps.items() if stamp is not None}
        return found if len(found) == len(self._poses) else None

    def _nearest(self, stamps: Iterable[int], wanted: int) -> int | None:
        best = min(stamps, key=lambda stamp: abs(stamp - wanted), default=None)
        return best if best is not None and abs(best - wanted) <= self._tolerance_ns else None
