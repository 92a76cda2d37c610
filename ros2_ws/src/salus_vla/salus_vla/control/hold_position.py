"""Where a stopped arm came to rest, and the way of its command there.

A stop brakes along the commanded path, and what is held is the measured pose: an arm that something blocks, or that
lags behind its targets, is not pushed on. The command goes there slowly, once, when the arm is at rest.
"""

from __future__ import annotations

import numpy as np

from salus_vla.contract.types import FloatArray

STILL_SPEED = 0.05  # rad/s; an arm whose joints all move less between two frames is at rest
YIELD_SPEED = 0.1  # rad/s of the command; every joint may take it on, and lose it, within one frame
_FRESH_FRAMES = 2  # measured joints that are older say nothing of where the arm is
_THERE = 1e-9  # rad


class HoldPosition:
    """Follows a stop from the measured joints; does nothing while the arm follows a plan."""

    def __init__(self, lower: FloatArray, upper: FloatArray, frame_dt_ns: int) -> None:
        """Sets the limits of the arm's joints, (7,) each [rad], and the time between two commands [ns]."""
        self._lower, self._upper, self._frame_dt_ns = lower, upper, frame_dt_ns
        self._stopped = False
        self._seen: tuple[int, FloatArray] | None = None
        self._still = False
        self._pose: FloatArray | None = None

    def release(self) -> None:
        """The arm follows a plan, or stays where an episode found it."""
        self._stopped, self._pose = False, None

    def observe(self, stamp_ns: int, arm: FloatArray, measured_ns: int) -> None:
        """Takes measured joints.

        Args:
            stamp_ns: of the frame that is answered [ns].
            arm: newest joints, (7,) [rad].
            measured_ns: their stamp [ns].
        """
        if stamp_ns - measured_ns > _FRESH_FRAMES * self._frame_dt_ns:
            self._seen, self._still = None, False
        elif self._seen is None or measured_ns < self._seen[0]:
            self._seen, self._still = (measured_ns, arm), False
        elif measured_ns > self._seen[0]:
            speed = np.abs(arm - self._seen[1]).max() / ((measured_ns - self._seen[0]) * 1e-9)
            self._seen, self._still = (measured_ns, arm), bool(speed < STILL_SPEED)

    def stop(self, command: FloatArray, *, at_rest: bool) -> FloatArray | None:
        """The arm is being stopped.

        Args:
            command: last command of the arm, (7,) [rad].
            at_rest: whether it had no velocity left, or only that of this way.

        Returns:
            The next command on the way to where the arm rests, (7,) [rad]; None while that is not known, and there.
        """
        self._stopped = True
        if self._pose is None and at_rest and self._still and self._seen is not None:
            # Measured joints may lie a hair outside their range (noise, compliance).
            self._pose = np.clip(self._seen[1], self._lower, self._upper)
        if self._pose is None or not self.due(command):
            return None
        step = YIELD_SPEED * self._frame_dt_ns * 1e-9
        following: FloatArray = command + np.clip(self._pose - command, -step, step)
        return following

    def due(self, command: FloatArray) -> bool:
        """Whether a stopped arm is not yet held where it rests; False where its joints are not measured."""
        if not self._stopped or self._seen is None:
            return False
        return self._pose is None or bool((np.abs(self._pose - command) > _THERE).any())
