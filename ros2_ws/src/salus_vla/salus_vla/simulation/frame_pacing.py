"""When a simulator's next frame may come: after the command that answers the last one, or by the wall clock.

Pure, and the same for every simulator. In lockstep frames wait only between a reset and the moment when commands stop
coming; otherwise the simulator would stand still before anybody can see a first frame.
"""

from __future__ import annotations

_BEHIND_S = 1.0  # a simulator that is later than this does not try to catch up


class FramePacer:
    """All wall times are of one monotonic clock [s].

    Attributes:
        timeouts: times that a frame's command did not come and the lockstep was given up.
    """

    def __init__(self, *, frame_dt_ns: int, lockstep: bool, timeout_s: float, wall_s: float) -> None:
        """No frame yet.

        Args:
            frame_dt_ns: time between two frames [ns].
            lockstep: whether frames wait for commands.
            timeout_s: wall time that a frame waits before the simulator runs in real time [s].
            wall_s: now [s].
        """
        self._half_ns, self._dt = frame_dt_ns // 2, frame_dt_ns * 1e-9
        self._lockstep, self._timeout_s = lockstep, timeout_s
        self._engaged = self._superseded = False
        self._stamp_ns = self._answered_ns = -1
        self._due_s = self._deadline_s = wall_s
        self._gave_up_ns: int | None = None
        self.timeouts = 0

    @property
    def engaged(self) -> bool:
        """Whether the newest frame waits for a command, or would."""
        return self._lockstep and self._engaged

    def frame(self, stamp_ns: int, wall_s: float) -> None:
        """A frame has left, with this stamp [ns]."""
        self._stamp_ns, self._superseded = stamp_ns, False
        if self.engaged:
            self._due_s, self._deadline_s = wall_s, wall_s + self._timeout_s
        else:
            self._due_s = max(self._due_s + self._dt, wall_s - _BEHIND_S)

    def answered(self, stamp_ns: int) -> None:
        """A command has come that answers the frame of this stamp [ns]."""
        self._answered_ns = stamp_ns

    def reset(self) -> None:
        """The world starts over: nobody answers frames of before, and the first new one may come at once."""
        self._engaged = self._superseded = True
        self._answered_ns = -1

    def wait_s(self, wall_s: float) -> float:
        """How long the next frame has to wait still [s]; 0 when it may come."""
        if self._superseded:
            return 0.0
        if not self.engaged:
            return max(0.0, self._due_s - wall_s)
        if abs(self._answered_ns - self._stamp_ns) <= self._half_ns:
            return 0.0
        left = self._deadline_s - wall_s
        if left > 0.0:
            return left
        self._engaged = False
        self._gave_up_ns = self._stamp_ns
        self._due_s = wall_s
        self.timeouts += 1
        return 0.0

    def gave_up(self) -> int | None:
        """Stamp of the frame that was not answered, once after the lockstep was given up [ns]; otherwise None."""
        stamp_ns, self._gave_up_ns = self._gave_up_ns, None
        return stamp_ns
