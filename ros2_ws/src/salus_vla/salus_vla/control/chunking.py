"""The plan in force: aligns each new chunk to its observation, fades it in, and answers where the arm should be when.

Row i of a chunk is the target to be reached at the end of control step i, counted from the stamp of the observation
it was decided on. Between rows the plan is linear. Rows whose time has passed while the policy was thinking are never
executed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.frames import FloatArray


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

    def __init__(self, control_dt_ns: int, blend_ns: int) -> None:
        """Sets the time scale.

        Args:
            control_dt_ns: time between two rows of a chunk [ns].
            blend_ns: time over which a new chunk takes over from the old one [ns]; 0 switches at once.
        """
        self._control_dt_ns = control_dt_ns
        self._blend_ns = blend_ns
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
            start: where the plan begins if there is none yet: the command in force, shape (A,).
        """
        anchor = start if self._plan is None else self._value(stamp_ns)
        if self._plan is not None and self._blend_ns > 0:
            # The old motion over the fade, itself possibly still a blend of two plans.
            times = np.linspace(now_ns, now_ns + self._blend_ns, 6, dtype=np.float64)
            self._fading = _Plan(times, np.stack([self._value(int(t)) for t in times]))
        times = stamp_ns + self._control_dt_ns * np.arange(len(chunk) + 1, dtype=np.float64)
        self._plan = _Plan(times, np.vstack([anchor[None], chunk]))
        self._switched_ns, self._stamp_ns = now_ns, stamp_ns

    def target(self, when_ns: int) -> FloatArray | None:
        """Where the arm should be at a time, shape (A,); None without a plan or when the plan is used up."""
        if self._plan is None or when_ns > self._plan.times_ns[-1]:
            return None
        return self._value(when_ns)

    def _value(self, when_ns: int) -> FloatArray:
        assert self._plan is not None
        new = self._plan.at(when_ns)
        if self._fading is None or when_ns >= self._switched_ns + self._blend_ns:
            return new
        weight = max(when_ns - self._switched_ns, 0) / self._blend_ns
        return (1.0 - weight) * self._fading.at(when_ns) + weight * new
