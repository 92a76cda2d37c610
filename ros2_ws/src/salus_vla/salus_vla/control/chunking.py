"""The plan in force: aligns each new chunk to its observation, fades it in, and answers where the arm should be when.

Row i of a chunk is the target to be reached at the end of control step i, counted from the stamp of the observation
it was decided on. Between rows the plan is linear. Rows whose time has passed while the policy was thinking are never
executed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.types import FloatArray

_FADE_SHARE = 0.5  # of the acceleration limit; the rest is for the plans' own motion
_LOOK_AHEAD = 3  # control steps over which the old and the new plan are compared
_FADE_STEP_NS = 20_000_000  # one frame: the old motion is kept as it would have been commanded


@dataclass(frozen=True)
class _Plan:
    """Piecewise linear: `times_ns` (n,), `values` (n, A)."""

    times_ns: FloatArray
    values: FloatArray

    def at(self, when_ns: int) -> FloatArray:
        """Value at a time; constant before the first and after the last knot."""
        return np.array([np.interp(when_ns, self.times_ns, column) for column in self.values.T])


class ChunkManager:
    """Keeps one plan and replaces it by each new chunk without a jump."""

    def __init__(self, control_dt_ns: int, blend_ns: int, acceleration: FloatArray | None = None) -> None:
        """Sets the time scale.

        Args:
            control_dt_ns: time between two rows of a chunk [ns].
            blend_ns: shortest time over which a new chunk takes over from the old one [ns].
            acceleration: shape (A,); a take-over lasts as long as it must to stay below it [rad/s^2, m/s^2]. Without it
                every take-over lasts `blend_ns`.
        """
        self._control_dt_ns = control_dt_ns
        self._blend_ns = blend_ns
        self._acceleration = acceleration
        self._fade_ns = blend_ns
        self._plan: _Plan | None = None
        self._fading: _Plan | None = None
        self._switched_ns = 0
        self._stamp_ns = 0

    def reset(self) -> None:
        """Forgets the plan."""
        self._plan = self._fading = None

    @property
    def has_plan(self) -> bool:
        """Whether a chunk was installed since the reset."""
        return self._plan is not None

    def age_ns(self, now_ns: int) -> int | None:
        """Age of the observation that the plan in force was decided on [ns]; None without a plan."""
        return None if self._plan is None else now_ns - self._stamp_ns

    def install(self, chunk: FloatArray, stamp_ns: int, now_ns: int, start: FloatArray) -> None:
        """Replaces the plan.

        Args:
            chunk: shape (H, A), row 0 is the control step that begins at `stamp_ns`.
            stamp_ns: stamp of the observation that was decided on [ns].
            now_ns: time from which the new plan is executed, at least `stamp_ns` [ns].
            start: the command in force, shape (A,): where the plan begins when the arm holds.
        """
        following = self._plan is not None and now_ns <= self._plan.times_ns[-1]
        anchor = self._value(stamp_ns) if following else start
        times = stamp_ns + self._control_dt_ns * np.arange(len(chunk) + 1, dtype=np.float64)
        plan = _Plan(times, np.vstack([anchor[None], chunk]))
        # An arm that holds leaves its pose as gently as it would leave an old plan.
        ahead = now_ns + self._control_dt_ns * np.arange(_LOOK_AHEAD + 1)
        fade_ns = self._fade_time(
            np.stack([plan.at(int(when)) - (self._value(int(when)) if following else start) for when in ahead])
        )
        when_ns = np.arange(now_ns, now_ns + fade_ns + 1, _FADE_STEP_NS, dtype=np.float64)
        # The old motion over the fade, itself possibly still a blend of two plans.
        old = np.stack([self._value(int(when)) if following else start for when in when_ns])
        self._plan, self._fading, self._fade_ns = plan, _Plan(when_ns, old), fade_ns
        self._switched_ns, self._stamp_ns = now_ns, stamp_ns

    def target(self, when_ns: int) -> FloatArray | None:
        """Where the arm should be at a time, shape (A,); None without a plan or when the plan is used up."""
        if self._plan is None or when_ns > self._plan.times_ns[-1]:
            return None
        return self._value(when_ns)

    def requested(self, when_ns: int) -> FloatArray | None:
        """What the newest chunk itself asks for at a time, however gently it takes over; None as `target`."""
        if self._plan is None or when_ns > self._plan.times_ns[-1]:
            return None
        return self._plan.at(when_ns)

    def _fade_time(self, gaps: FloatArray) -> int:
        """Time to close the largest gap of (n, A) [ns]: a smooth step over T accelerates with at most 6 gap / T^2."""
        if self._acceleration is None:
            return self._blend_ns
        seconds = float(np.sqrt(6.0 * np.abs(gaps) / (_FADE_SHARE * self._acceleration)).max())
        return max(self._blend_ns, round(seconds * 1e9))

    def _value(self, when_ns: int) -> FloatArray:
        assert self._plan is not None
        new = self._plan.at(when_ns)
        if self._fading is None or when_ns >= self._switched_ns + self._fade_ns:
            return new
        passed = max(when_ns - self._switched_ns, 0) / self._fade_ns
        weight = passed * passed * (3.0 - 2.0 * passed)
        return (1.0 - weight) * self._fading.at(when_ns) + weight * new
