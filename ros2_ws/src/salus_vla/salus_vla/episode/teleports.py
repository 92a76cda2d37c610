"""Whether the world was teleported within one frame, as a reset does: no arm and no cube moves like that."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from salus_vla.contract import ARM_DOF, ARM_JOINTS
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray, Pose

# A position command may be a few frames late, and the arm catches up with it at once: as far as the gate lets it.
_LATE_FRAMES = 4.0
_SLACK = 0.02  # rad: noise and what a collision does
# A thing that rests before and after and is elsewhere: it was not pushed there, nor did it fall.
_STILL = 0.002  # m between two frames
_FAR = 0.01  # m


class TeleportWatch:
    """Compares what is measured with what was before."""

    def __init__(self, frame_dt_ns: int) -> None:
        """Nothing was seen yet; time between two frames [ns]."""
        self._dt_ns = frame_dt_ns
        self.forget()

    def forget(self) -> None:
        """A reset that was asked for: what comes is not compared with what was."""
        self._stamp_ns: int | None = None
        self._arm: FloatArray | None = None
        self._poses: list[Mapping[str, Pose]] = []  # of the newest four frames, without a gap
        self._posed_ns: int | None = None

    def joints(self, stamp_ns: int, joint_position: FloatArray) -> str:
        """Takes joints (9,) and their stamp [ns], in order; what moved as no arm does, in words, or empty."""
        before_ns, before = self._stamp_ns, self._arm
        if before_ns is not None and stamp_ns <= before_ns:
            return ""
        self._stamp_ns, self._arm = stamp_ns, joint_position[:ARM_DOF].copy()
        if before is None or before_ns is None:
            return ""
        frames = max(1.0, (stamp_ns - before_ns) / self._dt_ns)
        moved = np.abs(self._arm - before)
        far = np.flatnonzero(moved > PANDA.velocity * self._dt_ns * 1e-9 * (frames - 1.0 + _LATE_FRAMES) + _SLACK)
        if not far.size:
            return ""
        joint = int(far[0])
        return f"{ARM_JOINTS[joint]} moved by {moved[joint]:.3f} rad within {(stamp_ns - before_ns) * 1e-6:.0f} ms"

    def poses(self, stamp_ns: int, poses: Mapping[str, Pose]) -> str:
        """Takes the entities of a frame and its stamp [ns], in order; what was teleported, in words, or empty.

        Over frames that are missing a thing may have been carried anywhere.
        """
        if self._posed_ns is not None and stamp_ns - self._posed_ns > 1.5 * self._dt_ns:
            self._poses = []
        self._posed_ns = stamp_ns
        self._poses = [*self._poses[-3:], dict(poses)]
        if len(self._poses) < 4:
            return ""
        for entity in poses:
            if not all(entity in seen for seen in self._poses):
                continue
            places = [seen[entity].position for seen in self._poses]
            first, jump, last = (float(np.linalg.norm(b - a)) for a, b in pairwise(places))
            if jump > _FAR and first < _STILL and last < _STILL:
                return f"{entity} moved by {jump * 1e3:.0f} mm between two frames, at rest before and after"
        return ""
