"""Why an episode went on until its time was over, in words: what the arm was doing when it ended.

Pure and without thresholds of the task: it changes no outcome.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray, Pose

_WINDOW_NS = 2_000_000_000
_STILL = 0.02  # rad: less than this in the window is an arm that waits
_LIFTED = 0.015  # m above its place on the table: the free cube lies on something


class TimeoutCause:
    """Follows one episode at a time; `start` begins the next one."""

    def __init__(self, scene: Scene) -> None:
        """Takes the geometry."""
        self._rest_height = scene.objects.red_cube.edge / 2.0
        self._bin = scene.objects.blue_bin
        self.start()

    def start(self) -> None:
        """Forgets the episode before."""
        self._arm: deque[tuple[int, FloatArray]] = deque()

    def update(self, stamp_ns: int, arm: FloatArray) -> None:
        """Takes in the joints of a frame, (7,) [rad]."""
        self._arm.append((stamp_ns, arm))
        while stamp_ns - self._arm[0][0] > _WINDOW_NS:
            self._arm.popleft()

    def words(self, *, empty_since_s: float | None, holding: bool, cube: Pose, bin_pose: Pose) -> str:
        """The cause.

        Args:
            empty_since_s: when a closing on nothing began that was never opened, since the start [s]; None without one.
            holding: both fingers hold the cube.
            cube: its pose at the end.
            bin_pose: pose of the bin.
        """
        if empty_since_s is not None:
            return f"closed on nothing at {empty_since_s:.1f} s, never opened again"
        if holding:
            return "it still holds the cube"
        position = np.asarray(cube.position)
        if self._bin.covers(bin_pose, position):
            return "cube out of reach: it is in the bin and does not rest"
        if position[2] - self._rest_height > _LIFTED:
            return "cube out of reach: it lies on something, not on the table"
        joints = np.array([joint for _, joint in self._arm])
        if len(joints) and np.ptp(joints[:, :ARM_DOF], axis=0).max() < _STILL:
            return "waiting: the arm has not moved for the last 2 s"
        return "hovering: the arm moves and does not grasp"
