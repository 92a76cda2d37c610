"""The course of an episode from the frames that come: what happens in it, what ends it, and how it ended.

    episode  | begin --> frames --> an event of the task, the clock of the episode, or a stop
    stop     | frames that stay away (simulator_lost), a reset that nobody asked for (scene_reset), what the supervisor
             | says; the episode ends as ABORTED then
    end      | at the terminal observation, or where the stop was noticed

Pure: `ros/nodes/episode_runner.py` carries messages and calls services.
"""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.scene import Scene
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.reasons import SCENE_RESET, SIMULATOR_LOST
from salus_vla.contract.types import FloatArray
from salus_vla.episode.frame_assembly import FrameAssembler
from salus_vla.episode.outcome_monitor import TaskEvent
from salus_vla.episode.teleports import TeleportWatch
from salus_vla.episode.tracker import EpisodeTracker
from salus_vla.health.supervision import Stop


@dataclass(frozen=True)
class EndOfEpisode:
    """How an episode ended.

    Attributes:
        outcome: of the contract.
        end_ns: stamp of the terminal observation [ns].
        event: kind of the physics event; empty without one.
        event_ns: its stamp [ns]; 0 without one.
        decisions: decision periods that have passed.
        detail: the event or the stop in words.
    """

    outcome: Outcome
    end_ns: int
    event: str
    event_ns: int
    decisions: int
    detail: str


class EpisodeCourse:
    """Follows one episode after the other.

    Attributes:
        frames: puts the frames together; the node feeds it.
        frames_lost: frames of the simulator that never came.
        counts: finished episodes by outcome.
    """

    def __init__(self, scene: Scene, *, max_decisions: int | None, silence_timeout_s: float) -> None:
        """Takes thresholds and rates.

        Args:
            scene: the contract's scene.
            max_decisions: decisions before TIMEOUT; the scene's by default.
            silence_timeout_s: wall time without a frame after which the simulator counts as lost [s].
        """
        self._tracker = EpisodeTracker(scene, max_decisions=max_decisions)
        self._teleports = TeleportWatch(scene.rates.frame_dt_ns)
        self._frame_dt_ns = scene.rates.frame_dt_ns
        self._silence_timeout_s = silence_timeout_s
        self.frames = FrameAssembler()
        self.frames_lost = 0
        self.counts: dict[str, int] = {}
        self._fresh = self._taken_ns = 0
        self._frame_wall_s = 0.0
        self._moved = ""  # what was teleported, and when
        self._running = False

    @property
    def running(self) -> bool:
        """Whether an episode runs."""
        return self._running

    @property
    def start_ns(self) -> int:
        """Stamp of the first observation [ns]."""
        return self._tracker.start_ns

    @property
    def newest(self) -> TaskEvent | None:
        """The event that ends the episode; None while there is none."""
        return self._tracker.event

    def fresh_frames(self) -> int:
        """Complete frames that have come outside episodes: whoever simulates is there."""
        self._fresh += sum(1 for _ in self.frames.take())
        return self._fresh

    def begin(self, start_ns: int, wall_s: float) -> None:
        """An episode begins with the observation of this stamp [ns], at wall time [s]."""
        self.frames.forget_before(start_ns)
        self._teleports.forget()
        self._tracker.start(start_ns)
        self._taken_ns, self._frame_wall_s = start_ns - self._frame_dt_ns, wall_s
        self._moved = ""
        self._running = True

    def joints(self, stamp_ns: int, position: FloatArray) -> None:
        """Takes measured joints, shape (9,) [rad, m], and their stamp [ns].

        A reset shows here before a frame is complete: in lockstep nothing may come behind it.
        """
        self.frames.add_joints(stamp_ns, position)
        if self._running and stamp_ns >= self.start_ns:
            self._moved = self._moved or _reset_words(stamp_ns, self._teleports.joints(stamp_ns, position))

    def decisions(self, stamp_ns: int) -> int:
        """Decision periods that have passed at a stamp [ns], a begun one included."""
        return self._tracker.decisions(stamp_ns)

    def advance(self, wall_s: float) -> tuple[list[TaskEvent], bool, Stop | None]:
        """Takes in the frames that have come.

        Args:
            wall_s: now [s].

        Returns:
            What happened in them, whether one was the terminal observation, and why the episode cannot go on.
        """
        events: list[TaskEvent] = []
        for frame in self.frames.take():
            assert frame.joint_position is not None
            self.frames_lost += round((frame.stamp_ns - self._taken_ns) / self._frame_dt_ns) - 1
            self._taken_ns, self._frame_wall_s = frame.stamp_ns, wall_s
            self._moved = self._moved or _reset_words(
                frame.stamp_ns, self._teleports.poses(frame.stamp_ns, frame.poses)
            )
            events += self._tracker.update(frame.stamp_ns, frame.joint_position, frame.poses, frame.contacts)
            if self._tracker.over(frame.stamp_ns) and not self._moved:
                return events, True, None
        if self._moved:
            return events, False, Stop(SCENE_RESET, self._moved)
        silent_s = wall_s - self._frame_wall_s
        if silent_s <= self._silence_timeout_s:
            return events, False, None
        missing = ", ".join(self.frames.missing()) or "no single part"
        return events, False, Stop(SIMULATOR_LOST, f"no complete frame for {silent_s:.0f} s; missing: {missing}")

    def hand_over(self, stamp_ns: int, detail: str) -> TaskEvent | None:
        """The policy left the arm to a person at a frame [ns]; the event, the first time that this ends the episode."""
        before = self._tracker.event
        if not self._running or stamp_ns < self.start_ns:
            return None
        self._tracker.hand_over(stamp_ns, detail)
        return self._tracker.event if self._tracker.event is not before else None

    def end(self, sim_ns: int, stop: Stop | None = None) -> EndOfEpisode:
        """The episode is over, at sim time `sim_ns` [ns]; with a stop as ABORTED."""
        tracker, event = self._tracker, self._tracker.event
        outcome = tracker.outcome if stop is None else Outcome.ABORTED
        detail = (event.detail if event else "") if stop is None else f"{stop.reason}: {stop.detail}"
        end_ns = min(tracker.end_ns, sim_ns) if tracker.end_ns is not None else sim_ns
        if end_ns < tracker.start_ns:  # the clock jumped back
            end_ns = max(self._taken_ns, tracker.start_ns)
        # Censoring is not an event.
        event = event if event and event.outcome is not Outcome.TIMEOUT else None
        self._running = False
        self.counts[outcome.name] = self.counts.get(outcome.name, 0) + 1
        return EndOfEpisode(
            outcome=outcome,
            end_ns=end_ns,
            event=event.kind if event else "",
            event_ns=event.stamp_ns if event else 0,
            decisions=tracker.decisions(end_ns),
            detail=detail,
        )


def _reset_words(stamp_ns: int, moved: str) -> str:
    return f"the scene was reset at {stamp_ns * 1e-9:.2f} s, not by this run: {moved}" if moved else ""
