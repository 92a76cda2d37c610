"""What passes to the arm: each command unchanged or not at all, and the gate's own stop when none comes.

The gate knows nothing of who commands: it sees commands, the measured joints of each frame, and what it let pass. A
**stream** begins at the measured pose of an arm at rest. Each command in it is one frame away from the one before,
however late it comes; at most one passes per frame. A stream may pause only at rest; after a pause a new one may begin
where the arm is measured then, which is how a reset of the simulator goes on. A stream that falls silent in motion is
braked by the gate, which then holds the measured pose: an arm that something blocks is not pushed on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from salus_vla.contract import ARM_DOF, ARM_JOINTS
from salus_vla.gate.command_checks import Fault, Motion, MotionCheck, Position, Reason, in_order
from salus_vla.gate.gate_limits import JointLimits, joint_limits
from salus_vla.gate.measured import REST_SPEED, MeasuredFrames, MeasuredStep
from salus_vla.gate.stop import plan_stop

_EARLY_S = 0.002  # a timer that fires a little early is on time
_YIELD_SPEED = 0.1  # rad/s from a stop's end to the measured pose: taken on, and lost, in one frame by every joint


class State(StrEnum):
    """What is in force."""

    NO_FRAME = "no_frame"  # no joints were measured yet
    IDLE = "idle"  # nothing was commanded, or the arm is no longer where it was commanded to
    STREAM = "stream"  # the last command that passed
    BRAKING = "braking"  # the gate's own stop
    HELD = "held"  # the end of that stop, until a new stream begins


@dataclass(frozen=True)
class OwnCommand:
    """A command of the gate itself: stamp of the frame it answers [ns] and nine positions in contract order."""

    stamp_ns: int
    position: Position


@dataclass(frozen=True)
class Refused:
    """A command that does not pass.

    Attributes:
        reason: named.
        detail: the joint or stamp, the value and the limit, in words.
        own: what the gate sends in its place, where it is in charge.
    """

    reason: Reason
    detail: str
    own: OwnCommand | None = None


class Gate:
    """Checks commands against the limits and brakes the arm when no valid one comes.

    Attributes:
        passed: commands that passed.
        refused: commands that did not, by reason.
        braked: stops of the gate's own.
        plain_stops: those of them that ruckig refused, so that they keep the acceleration limits only.
        stop_fault: what was wrong with the newest of them.
        teleports: how often the arm was teleported while something was in force.
        clock_jumps: how often the frames' stamps jumped back.
    """

    def __init__(
        self,
        *,
        frame_dt_ns: int = 20_000_000,
        deadman_s: float = 0.2,
        max_age_frames: int = 2,
        realtime: bool = False,
        limits: JointLimits | None = None,
    ) -> None:
        """Sets the limits.

        Args:
            frame_dt_ns: time between two frames, and between two commands of a stream [ns].
            deadman_s: a stream in motion that has no valid command is braked within this time [s]: of frame stamps, or
                of wall time where a frame got nothing but refused commands and, in lockstep, time stands still for it.
            max_age_frames: a command that answers a frame older than this many frames is stale. As many and one more
                may pass at once when they come late, which the arm feels as a step.
            realtime: the arm moves on whether or not frames come, so that wall time without a command brakes it as
                well; in lockstep frames wait for commands, and no wall time is too long.
            limits: of the nine joints; the Panda's by default.
        """
        self._limits = limits or joint_limits()
        self._dt_ns, self._dt = frame_dt_ns, frame_dt_ns * 1e-9
        self._half_ns = frame_dt_ns // 2
        # One frame less, and one more for a look at the wall clock: the arm must be braking when the time is over.
        self._deadman_ns = max(round(deadman_s * 1e9) - frame_dt_ns, frame_dt_ns)
        self._deadman_s = max(deadman_s - 2.0 * self._dt, self._dt)
        self._realtime = realtime
        self._max_age_frames = max_age_frames
        self._frames = MeasuredFrames(self._limits, max_age_frames=max_age_frames, half_ns=self._half_ns)
        self._check = MotionCheck(self._limits, self._dt)
        self._state = State.NO_FRAME
        self._motion: Motion | None = None  # what was sent last
        self._sent_ns: int | None = None
        self._stop: list[Position] = []  # what is left of the gate's own stop, in reverse
        self._stop_wall_s = 0.0  # of the newest command of a stop without frames
        self._rest: Position | None = None  # where the arm came to rest behind it
        self._refused_wall_s: float | None = None  # since when the newest frame waits with refused commands only
        self._early: tuple[int, Any] | None = None
        self._frame_wall_s: float | None = None
        self._passed_wall_s = 0.0  # when the newest command passed
        self._blocked = ""
        self.passed = self.braked = self.teleports = self.clock_jumps = self.plain_stops = 0
        self.stop_fault = ""
        self.refused: Counter[Reason] = Counter()

    # -- what is in force ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What is in force."""
        return self._state

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame [ns]; None before the first."""
        return self._frames.newest.stamp_ns if self._frames else None

    @property
    def at_rest(self) -> bool:
        """Whether what was sent last had no velocity left, or nothing is in force: no command is missed then."""
        return self._motion is None or self._motion.at_rest

    # -- input ---------------------------------------------------------------------------------------------------------

    def frame(
        self, stamp_ns: int, position: Sequence[float], velocity: Sequence[float], *, wall_s: float = 0.0
    ) -> OwnCommand | None:
        """Takes the measured joints of a frame.

        Args:
            stamp_ns: of the frame [ns].
            position: 9, contract order [rad, m].
            velocity: 9 [rad/s, m/s].
            wall_s: monotonic wall time [s].

        Returns:
            A command of the gate itself that answers this frame, when it is braking or goes to where the arm rests.
        """
        frame = MeasuredStep(stamp_ns, position, velocity)
        if self._frames:
            last = self._frames.newest
            if abs(stamp_ns - last.stamp_ns) <= self._half_ns:
                return None
            if stamp_ns < last.stamp_ns:
                self.clock_jumps += 1
                self._frames.clear()
                self._forget()
            elif self._motion is not None and self._frames.teleported_to(frame):
                self.teleports += 1
                self._forget()
        self._frames.add(frame)
        self._frame_wall_s = wall_s
        self._refused_wall_s = None
        if self._state is State.NO_FRAME:
            self._state = State.IDLE
        elif self._state is State.BRAKING:
            return self._next_of_stop()
        elif self._state is State.HELD:
            return self._yield()
        elif (
            self._state is State.STREAM
            and not self.at_rest
            and (self._blocked or self._silent_ns(stamp_ns) >= self._deadman_ns - self._half_ns)
        ):
            return self._brake()
        return None

    def is_early(self, stamp_ns: int) -> bool:
        """Whether a command answers the next frame [ns], whose joints may still be on their way."""
        newest_ns = self.newest_ns
        return newest_ns is None or self._half_ns < stamp_ns - newest_ns <= 2 * self._dt_ns

    def keep_early(self, stamp_ns: int, command: Any) -> bool:
        """Keeps a command that is early, and only one, until its frame comes; whether it was kept."""
        if self._early is not None or not self.is_early(stamp_ns):
            return False
        self._early = (stamp_ns, command)
        return True

    def take_early(self) -> Any | None:
        """The command that was kept, once: to be offered after the frame that came."""
        early, self._early = self._early, None
        return early[1] if early is not None else None

    def block(self, why: str) -> None:
        """Lets nothing pass for this reason, in words, and brakes an arm that moves; empty lets pass again."""
        self._blocked = why

    @property
    def blocked(self) -> str:
        """Why nothing passes; empty where commands do."""
        return self._blocked

    def judge(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        *,
        wall_s: float = 0.0,
        extra_values: bool = False,
    ) -> Refused | None:
        """Judges a command; one that passes is taken as sent.

        Args:
            stamp_ns: of the frame that it answers [ns].
            names: joints, each of the nine once, in any order.
            positions: as many [rad, m].
            wall_s: monotonic wall time [s].
            extra_values: whether it also carries velocities or efforts, which nobody would check.

        Returns:
            None when the command passes.
        """
        outcome = self._outcome_of(stamp_ns, names, positions, extra_values)
        if isinstance(outcome, Motion):
            self._motion, self._sent_ns = outcome, stamp_ns
            self._state = State.STREAM
            self._refused_wall_s = None
            self._passed_wall_s = wall_s
            self.passed += 1
            return None
        self.refused[outcome.reason] += 1
        return Refused(outcome.reason, outcome.detail, self._answer_refused(stamp_ns, wall_s))

    def waited(self, wall_s: float) -> OwnCommand | None:
        """Brakes where the newest frame has been waiting with nothing but refused commands for too long.

        In realtime also where no command passed for as long, by the wall clock, whether frames come or not: whoever
        measures the joints may be slow, or dead.

        Args:
            wall_s: monotonic wall time [s].

        Returns:
            A command of the gate itself that answers the newest frame, or the next one where none comes, if so.
        """
        since = self._refused_wall_s
        if since is not None and self._state is State.STREAM and wall_s - since >= self._deadman_s:
            return self._brake()
        return self._by_wall(wall_s) if self._realtime else None

    def _by_wall(self, wall_s: float) -> OwnCommand | None:
        """The stop of an arm that moves on by the wall clock, whatever the frames do.

        It begins when the newest command is too old, and goes on with one command per frame of wall time where nobody
        measures the joints any more; otherwise frames are answered with the rest of it.
        """
        frames_s = wall_s - self._frame_wall_s if self._frame_wall_s is not None else float("inf")
        blind = frames_s >= self._deadman_s
        if self._state is State.BRAKING:
            if not blind or wall_s - self._stop_wall_s < self._dt - _EARLY_S:
                return None
            self._stop_wall_s = wall_s
            return self._next_of_stop(beyond=True)
        if self._state is not State.STREAM or self.at_rest:
            return None
        if not self._blocked and wall_s - self._passed_wall_s < self._deadman_s:
            return None
        self._stop_wall_s = wall_s
        return self._brake(beyond=blind)

    # -- judging -------------------------------------------------------------------------------------------------------

    def _outcome_of(
        self, stamp_ns: int, names: Sequence[str], positions: Sequence[float], extra_values: bool
    ) -> Motion | Fault:
        ordered = in_order(names, positions)
        if isinstance(ordered, Fault):
            return ordered
        if extra_values:
            return Fault(Reason.EXTRA_VALUES, "it carries velocities or efforts; expected names and positions only")
        fault = self._stamp_fault(stamp_ns)
        if fault is not None:
            return fault
        following: Motion | Fault | None = None
        if self._motion is not None:
            following = self._check.step(self._motion, ordered)
            paused = self._silent_ns(stamp_ns) > self._dt_ns + self._half_ns
            if isinstance(following, Motion) or not (paused and self.at_rest):
                return following
        return self._start(stamp_ns, ordered)

    def _stamp_fault(self, stamp_ns: int) -> Fault | None:
        if self._blocked:
            return Fault(Reason.SECOND_PUBLISHER, self._blocked)
        if not self._frames:
            return Fault(Reason.NO_FRAME, "no joints were measured yet")
        if self._state is State.BRAKING:
            return Fault(Reason.BRAKING, "the gate brakes the arm")
        newest_ns = self._frames.newest.stamp_ns
        newest = f"{_seconds(stamp_ns)}; the newest frame is {_seconds(newest_ns)}"
        if stamp_ns > newest_ns + self._half_ns:
            return Fault(Reason.FUTURE_STAMP, newest)
        if self._sent_ns is not None and stamp_ns < self._sent_ns + self._half_ns:
            sent = f"{_seconds(stamp_ns)}; {_seconds(self._sent_ns)} was answered last"
            duplicate = stamp_ns > self._sent_ns - self._half_ns
            return Fault(Reason.DUPLICATE_STAMP if duplicate else Reason.STALE_STAMP, sent)
        if stamp_ns < newest_ns - self._max_age_frames * self._dt_ns - self._half_ns:
            return Fault(Reason.STALE_STAMP, f"{newest}, at most {self._max_age_frames} frames may lie between")
        return None

    def _start(self, stamp_ns: int, positions: Sequence[float]) -> Motion | Fault:
        """The first command of a stream: one frame away from the measured pose of an arm at rest."""
        measured = self._frames.answered_by(stamp_ns)
        for joint, speed in zip(ARM_JOINTS, measured.velocity[:ARM_DOF], strict=True):
            if not abs(speed) <= REST_SPEED:
                return Fault(Reason.ARM_MOVING, f"a stream begins at rest, and {joint} moves at {speed:.3f} rad/s")
        start = Motion.resting(measured.pose(self._limits))
        outcome = self._check.step(start, positions)
        if isinstance(outcome, Fault):
            return Fault(outcome.reason, f"{outcome.detail}, seen from the measured pose")
        return outcome

    def _silent_ns(self, stamp_ns: int) -> int:
        assert self._sent_ns is not None
        return stamp_ns - self._sent_ns

    # -- braking -------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Nothing is in force any more: the next stream begins where the arm is measured."""
        self._motion = self._sent_ns = self._refused_wall_s = None
        self._stop = []
        self._state = State.IDLE

    def _brake(self, *, beyond: bool = False) -> OwnCommand | None:
        """Begins a stop; `beyond` the newest frame where no later one comes."""
        assert self._motion is not None
        if not beyond and self._frames.rests_away_from(self._motion.position):  # a stop there would make it move
            self.teleports += 1
            self._forget()
            return None
        self._rest = None
        stop = plan_stop(self._motion.position, self._motion.velocity, self._limits, self._dt)
        self._stop = stop.commands[::-1]
        if stop.fault:
            self.plain_stops += 1
            self.stop_fault = stop.fault
        self._state = State.BRAKING
        self._refused_wall_s = None
        self.braked += 1
        return self._next_of_stop(beyond=beyond)

    def _next_of_stop(self, *, beyond: bool = False) -> OwnCommand:
        own = self._follow(self._stop.pop(), beyond=beyond)
        if not self._stop:
            self._state = State.HELD
        return own

    def _yield(self) -> OwnCommand | None:
        """Goes to where the held arm came to rest; the fingers keep their target, which may hold a cube."""
        assert self._motion is not None
        command, newest = self._motion.position, self._frames.newest
        if self._rest is None:
            if not newest.at_rest:
                return None
            self._rest = (*newest.pose(self._limits)[:ARM_DOF], *command[ARM_DOF:])
        if command == self._rest and self._motion.at_rest:
            return None
        step = _YIELD_SPEED * self._dt
        ways = zip(command, self._rest, strict=True)
        return self._follow(tuple(to if abs(to - at) <= step else at + math.copysign(step, to - at) for at, to in ways))

    def _follow(self, position: Position, *, beyond: bool = False) -> OwnCommand:
        """A command of the gate's own for the newest frame, or for the one behind the last command."""
        assert self._motion is not None
        assert self._sent_ns is not None
        before = self._motion
        velocity = tuple((now - last) / self._dt for now, last in zip(position, before.position, strict=True))
        acceleration = tuple((now - last) / self._dt for now, last in zip(velocity, before.velocity, strict=True))
        self._motion = Motion(position, velocity, acceleration)
        newest_ns = self._frames.newest.stamp_ns
        self._sent_ns = self._sent_ns + self._dt_ns if beyond else max(newest_ns, self._sent_ns)
        return OwnCommand(self._sent_ns, position)

    def _answer_refused(self, stamp_ns: int, wall_s: float) -> OwnCommand | None:
        """What the gate sends for the newest frame in place of a refused command that was meant for it."""
        if self._motion is None or self._sent_ns is None:
            return None
        newest_ns = self._frames.newest.stamp_ns
        if abs(stamp_ns - newest_ns) > self._half_ns or newest_ns - self._sent_ns <= self._half_ns:
            return None
        if self._state is State.HELD:
            # The arm holds; in lockstep the simulator waits for an answer all the same.
            self._sent_ns, self._motion = newest_ns, Motion.resting(self._motion.position)
            return OwnCommand(newest_ns, self._motion.position)
        if self._refused_wall_s is None:
            self._refused_wall_s = wall_s
        return None


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns * 1e-9:.3f} s"
