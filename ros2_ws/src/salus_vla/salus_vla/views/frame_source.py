"""Who gives the robot's frames to rviz: the simulator, or, where nobody publishes /tf, the view itself.

A link's frame must have one parent at a time. A simulator puts every link below `world`, a robot_state_publisher below
the link before it; with both at once the robot would jump.
"""

from __future__ import annotations


class FrameSource:
    """Decides whether the view gives the frames. All times are wall time [s]."""

    def __init__(self, patience_s: float) -> None:
        """Sets how long nobody else must have published /tf: longer than the discovery of a graph takes [s]."""
        self._patience_s = patience_s
        self._alone_since: float | None = None

    def gives(self, *, others: bool, joints: bool, wall_s: float) -> bool:
        """Whether the view gives the frames from now on.

        Args:
            others: whether anybody else publishes /tf.
            joints: whether there is a robot: somebody publishes joint states.
            wall_s: now.
        """
        if others or not joints:
            self._alone_since = None
            return False
        if self._alone_since is None:
            self._alone_since = wall_s
        return wall_s - self._alone_since >= self._patience_s
