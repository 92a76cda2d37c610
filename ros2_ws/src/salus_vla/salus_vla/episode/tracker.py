"""The course of an episode: which frame is its terminal observation, and how many decision periods have passed.

Faults of a grasp are events too, told from the gripper's width; they end nothing. An event ends the episode at the next
observation, so that the consequence of the last command is recorded. A decision is made on that terminal observation
like on every other; what follows from it is no longer part of the episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF
from salus_vla.contract.bodies import BIN, CUBE
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, FloatArray, Pose
from salus_vla.control.grasp_monitor import GraspEvent, GraspFault, GraspMonitor
from salus_vla.episode.outcome_monitor import TaskEvent, TaskMonitor
from salus_vla.episode.timeout_cause import TimeoutCause


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
        self._grasps, self._cause = GraspMonitor(), TimeoutCause(scene)
        self.start(0)

    def start(self, stamp_ns: int) -> None:
        """Begins an episode whose first observation has this stamp."""
        self._monitor.start(stamp_ns)
        self.start_ns = stamp_ns
        self.end_ns: int | None = None
        self.event: TaskEvent | None = None
        self._grasps.reset()
        self._cause.start()
        self._empty_ns: int | None = None

    @property
    def outcome(self) -> Outcome:
        """How the episode ended, or RUNNING."""
        return self.event.outcome or Outcome.RUNNING if self.event else Outcome.RUNNING

    @property
    def holding(self) -> bool:
        """Whether both fingers have held the cube for the grasp time and have not lost it."""
        return self._monitor.holding

    def over(self, stamp_ns: int) -> bool:
        """Whether the frame with this stamp is the terminal observation or lies behind it."""
        return self.end_ns is not None and stamp_ns >= self.end_ns

    def decisions(self, stamp_ns: int) -> int:
        """Decision periods that have passed at a stamp, a begun one included."""
        return -(-(stamp_ns - self.start_ns) // self._period_ns)

    def update(
        self, stamp_ns: int, joint_position: FloatArray, poses: Mapping[str, Pose], contacts: Iterable[Contact]
    ) -> list[TaskEvent]:
        """Takes in one frame; see `TaskMonitor.update`. Faults of a grasp come before what ends the episode."""
        if self.event is not None:
            return []
        events = self._faults(stamp_ns, joint_position)
        for event in self._monitor.update(stamp_ns, joint_position, poses, contacts):
            if event.outcome is Outcome.TIMEOUT:
                event = replace(event, detail=f"{event.detail}: {self._timeout_words(poses)}")
            events.append(event)
            if event.outcome is not None:
                self.event = event
                self.end_ns = self.start_ns + self.decisions(event.stamp_ns) * self._period_ns
        return events

    def hand_over(self, stamp_ns: int, detail: str) -> None:
        """A decision on the observation of this stamp left the arm to a person [ns]; the episode ends at the next one.

        What was found in later frames does not count: the arm was braked from this frame on.
        """
        if self.event is not None and self.event.stamp_ns <= stamp_ns:
            return
        self.event = TaskEvent(Outcome.HANDED_OVER.name, Outcome.HANDED_OVER, stamp_ns, detail)
        self.end_ns = self.start_ns + (self.decisions(stamp_ns) + 1) * self._period_ns

    def _faults(self, stamp_ns: int, joint_position: FloatArray) -> list[TaskEvent]:
        self._cause.update(stamp_ns, joint_position[:ARM_DOF])
        found = self._grasps.update(stamp_ns, float(joint_position[ARM_DOF:].sum()))
        for event in found:
            if event.fault is GraspFault.EMPTY_CLOSING:
                self._empty_ns = event.began_ns
        return [TaskEvent(event.fault, None, event.stamp_ns, self._words(event)) for event in found]

    def _words(self, event: GraspEvent) -> str:
        since = self._seconds(event.began_ns)
        if event.fault is GraspFault.EMPTY_CLOSING:
            return f"gripper closed on nothing at {since:.1f} s"
        return f"crooked grasp at {since:.1f} s: the fingers stand too wide"

    def _timeout_words(self, poses: Mapping[str, Pose]) -> str:
        empty_ns = self._empty_ns if self._grasps.closed_on_nothing else None
        return self._cause.words(
            empty_since_s=None if empty_ns is None else self._seconds(empty_ns),
            holding=self._monitor.holding,
            cube=poses[CUBE],
            bin_pose=poses[BIN],
        )

    def _seconds(self, stamp_ns: int) -> float:
        return (stamp_ns - self.start_ns) * 1e-9
