"""The course of one episode: which frame is its terminal observation, and how many decision periods have passed.

An event ends the episode at the next observation, so that the consequence of the last command is recorded. A decision
is made on that terminal observation like on every other; what follows from it is no longer part of the episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from salus_vla.config.scene import Scene
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, FloatArray, Pose
from salus_vla.episode.outcome_monitor import TaskEvent, TaskMonitor


class EpisodeTracker:
    """Feeds a `TaskMonitor` and places the end of the episode on an observation."""

    def __init__(self, scene: Scene, *, max_decisions: int | None = None) -> None:
        """Takes thresholds and rates.

        Args:
            scene: the contract's scene.
            max_decisions: decisions before TIMEOUT; the scene's by default.
        """
        self._monitor = TaskMonitor(scene, max_decisions=max_decisions)
        self._period_ns = scene.rates.decision_dt_ns
        self.start(0)

    def start(self, stamp_ns: int) -> None:
        """Begins an episode whose first observation has this stamp."""
        self._monitor.start(stamp_ns)
        self.start_ns = stamp_ns
        self.end_ns: int | None = None
        self.event: TaskEvent | None = None

    @property
    def outcome(self) -> Outcome:
        """How the episode ended, or RUNNING."""
        return self.event.outcome or Outcome.RUNNING if self.event else Outcome.RUNNING

    def over(self, stamp_ns: int) -> bool:
        """Whether the frame with this stamp is the terminal observation or lies behind it."""
        return self.end_ns is not None and stamp_ns >= self.end_ns

    def decisions(self, stamp_ns: int) -> int:
        """Decision periods that have passed at a stamp, a begun one included."""
        return -(-(stamp_ns - self.start_ns) // self._period_ns)

    def update(
        self, stamp_ns: int, joint_position: FloatArray, poses: Mapping[str, Pose], contacts: Iterable[Contact]
    ) -> list[TaskEvent]:
        """Takes in one frame; see `TaskMonitor.update`."""
        events = self._monitor.update(stamp_ns, joint_position, poses, contacts)
        for event in events:
            if event.outcome is not None:
                self.event = event
                self.end_ns = self.start_ns + self.decisions(event.stamp_ns) * self._period_ns
        return events
