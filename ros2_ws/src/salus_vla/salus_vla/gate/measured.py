"""The measured joints of the newest frames: whether the arm rests, and whether it was teleported."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from salus_vla.contract import ARM_DOF
from salus_vla.gate.command_checks import Position
from salus_vla.gate.gate_limits import JointLimits

REST_SPEED = 0.05  # rad/s; measured joints below it are at rest: noise and what a reset leaves are smaller
_FAR = 0.1  # rad; no arm that follows its target rests that far from it


@dataclass(frozen=True)
class MeasuredStep:
    """Measured joints.

    Attributes:
        stamp_ns: of the frame [ns].
        position: 9, contract order [rad, m].
        velocity: 9 [rad/s, m/s].
    """

    stamp_ns: int
    position: Sequence[float]
    velocity: Sequence[float]

    @property
    def at_rest(self) -> bool:
        """Whether no joint of the arm moves."""
        return max(map(abs, self.velocity[:ARM_DOF])) <= REST_SPEED

    def pose(self, limits: JointLimits) -> Position:
        """Where the nine joints are, with one opening for both fingers [rad, m].

        Measured joints may lie a hair outside their range (noise, compliance); the pose is at the limit then.
        """
        fingers = self.position[ARM_DOF:]
        joints = (*self.position[:ARM_DOF], *[sum(fingers) / len(fingers)] * len(fingers))
        ranges = zip(joints, limits.lower, limits.upper, strict=True)
        return tuple(min(max(value, lower), upper) for value, lower, upper in ranges)


class MeasuredFrames:
    """Keeps as many frames as a command may be late, and one more."""

    def __init__(self, limits: JointLimits, *, max_age_frames: int, half_ns: int) -> None:
        """Starts empty; stamps that differ by `half_ns`, half a frame, are of the same frame [ns]."""
        self._frames: deque[MeasuredStep] = deque(maxlen=max_age_frames + 2)
        self._half_ns = half_ns
        # No arm moves that fast, not even when late commands come at once: it was teleported.
        self._teleport = [(max_age_frames + 2) * speed for speed in limits.velocity[:ARM_DOF]]

    def __bool__(self) -> bool:
        """Whether a frame has come."""
        return bool(self._frames)

    @property
    def newest(self) -> MeasuredStep:
        """The newest frame; there must be one."""
        return self._frames[-1]

    def add(self, frame: MeasuredStep) -> None:
        """Takes the next frame."""
        self._frames.append(frame)

    def clear(self) -> None:
        """Forgets all frames."""
        self._frames.clear()

    def answered_by(self, stamp_ns: int) -> MeasuredStep:
        """The frame that a command of this stamp answers [ns], or the newest where that one was lost."""
        return next((f for f in self._frames if abs(f.stamp_ns - stamp_ns) <= self._half_ns), self.newest)

    def teleported_to(self, frame: MeasuredStep) -> bool:
        """Whether no motion leads from the newest frame to this one."""
        last, passed_s = self.newest, (frame.stamp_ns - self.newest.stamp_ns) * 1e-9
        steps = zip(frame.position[:ARM_DOF], last.position[:ARM_DOF], self._teleport, strict=True)
        return any(abs(now - before) > passed_s * speed for now, before, speed in steps)

    def rests_away_from(self, position: Position) -> bool:
        """Whether the arm rests far from what it was commanded to [rad, m], as after a short reset."""
        far = any(abs(q - p) > _FAR for q, p in zip(self.newest.position[:ARM_DOF], position, strict=False))
        return far and self.newest.at_rest
