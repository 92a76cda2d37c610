"""The last thing before a command leaves: finite, complete, inside the limits, starting where the arm is.

A target that is not finite, has the wrong length, lies outside the joint limits or further away than the arm could go
in `max_jump_s` is refused whole, with a name, and the arm brakes along its path. A valid target is approached within
the velocity and acceleration limits; that this was needed is reported, never hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from salus_vla.config.policy_settings import DEFAULTS
from salus_vla.contract.robot_limits import ArmLimits
from salus_vla.contract.types import FloatArray


class Refusal(StrEnum):
    """Why a target was refused whole."""

    NON_FINITE = "non_finite"
    WRONG_LENGTH = "wrong_length"
    POSITION_LIMIT = "position_limit"
    JUMP = "jump"


@dataclass(frozen=True)
class LimitedCommand:
    """What leaves the limiter.

    Attributes:
        position: 7 arm joints [rad] and the gripper width [m], shape (8,); always inside all limits.
        limited: the target was valid, but had to be approached more slowly.
        refusal: why the target was refused, or None.
        detail: the refused value, its index and the limit, in words.
    """

    position: FloatArray
    limited: bool = False
    refusal: Refusal | None = None
    detail: str = ""


class Limiter:
    """DecisionSchedule targets into commands that respect position, velocity and acceleration limits."""

    # A regression that was trained on a gripper that is fully open or closed lands a little outside its range. The
    # gripper saturates mechanically, so up to this much is taken as "fully open" or "fully closed"; joints have no
    # such slack.
    GRIPPER_SLACK = 0.01  # m

    def __init__(self, limits: ArmLimits, dt: float, *, max_jump_s: float = DEFAULTS.max_jump_s) -> None:
        """Sets the limits.

        Args:
            limits: of the arm.
            dt: time between two commands [s].
            max_jump_s: a target that the fastest motion would not reach in this time is refused [s].
        """
        self._lower, self._upper = limits.all_lower, limits.all_upper
        self._velocity_max, self._acceleration = limits.all_velocity, limits.all_acceleration
        self._dt = dt
        self._max_jump = limits.all_velocity * max_jump_s
        self._position: FloatArray = np.zeros(len(self._lower))
        self._velocity: FloatArray = np.zeros(len(self._lower))
        self._target: FloatArray = np.zeros(len(self._lower))  # of the step before
        self._started = False

    @property
    def started(self) -> bool:
        """Whether `start` was called since the last `stop`."""
        return self._started

    @property
    def position(self) -> FloatArray:
        """The last command, shape (8,)."""
        return self._position.copy()

    @property
    def at_rest(self) -> bool:
        """Whether the last command had no velocity left."""
        return bool((self._velocity == 0.0).all())

    def start(self, measured: FloatArray) -> None:
        """Begins from the measured pose (8,) at rest, so that the first command never jumps.

        A measured joint may lie a hair outside its range (noise, compliance); the command starts at the limit then.
        """
        self._position = self._target = np.clip(measured, self._lower, self._upper)
        self._velocity = np.zeros_like(self._position)
        self._started = True

    def stop(self) -> None:
        """Forgets where the arm was; the next command needs a new `start`."""
        self._started = False

    def step(self, target: FloatArray, meant: FloatArray | None = None) -> LimitedCommand:
        """One command towards a target; refuses whole what is not valid and brakes instead.

        Args:
            target: shape (8,).
            meant: what the policy itself asked for, shape (8,), where `target` approaches it gently; checked instead.
        """
        refusal, detail = self._check(target if meant is None else meant)
        if refusal is not None:
            return LimitedCommand(self.brake().position, refusal=refusal, detail=detail)
        wanted = np.clip(target, self._lower, self._upper)  # moves the gripper only: joints outside were refused
        reach = self._acceleration * self._dt
        # The target's own speed: a target that moves is followed without lag, one that stands still is not overshot.
        flow = np.clip((wanted - self._target) / self._dt, -self._velocity_max, self._velocity_max)
        behind = self._target - self._position
        self._target = wanted
        exact = (wanted - self._position) / self._dt
        feasible = (
            (np.abs(exact) <= self._velocity_max)
            & (np.abs(exact - self._velocity) <= reach)
            & (np.abs(exact - flow) <= reach)
        )
        # Where the target cannot be met in one step: the fastest approach that can still take on the target's speed.
        approach = flow + np.sign(behind) * self._stopping_speed(np.abs(behind))
        velocity = np.where(feasible, exact, np.clip(approach, -self._velocity_max, self._velocity_max))
        velocity = np.clip(velocity, self._velocity - reach, self._velocity + reach)
        # Never faster than what still stops before the joint limit; see `_stopping_speed` for why this always has a
        # solution inside the acceleration limit.
        velocity = np.minimum(velocity, self._stopping_speed(self._upper - self._position))
        velocity = np.maximum(velocity, -self._stopping_speed(self._position - self._lower))
        self._advance(velocity)
        return LimitedCommand(self.position, limited=not np.allclose(self._position, wanted, rtol=0.0, atol=1e-9))

    def brake(self) -> LimitedCommand:
        """Slows down along the path already commanded; all joints stop together, none above its deceleration.

        A joint whose limit comes before the common stop leaves the path and brakes harder.
        """
        time_to_stop = float((np.abs(self._velocity) / self._acceleration).max())
        keep = max(0.0, 1.0 - self._dt / time_to_stop) if time_to_stop > 0.0 else 0.0
        up, down = (
            self._stopping_speed(self._upper - self._position),
            self._stopping_speed(self._position - self._lower),
        )
        self._advance(np.clip(self._velocity * keep, -down, up))
        self._target = self._position
        return LimitedCommand(self.position)

    def _check(self, target: FloatArray) -> tuple[Refusal | None, str]:
        if target.shape != self._position.shape:
            return Refusal.WRONG_LENGTH, f"target has shape {target.shape}, expected {self._position.shape}"
        if not np.isfinite(target).all():
            return Refusal.NON_FINITE, f"target is {np.array2string(target, precision=4)}"
        refusal, detail = self.check_positions(target[None])
        if refusal is not None:
            return refusal, detail
        far = np.flatnonzero(np.abs(target[:-1] - self._position[:-1]) > self._max_jump[:-1])
        if far.size:
            i = int(far[0])
            return (
                Refusal.JUMP,
                f"joint {i + 1} target {target[i]:.4f} is {abs(target[i] - self._position[i]):.4f} rad from the "
                f"command in force, at most {self._max_jump[i]:.4f}",
            )
        return None, ""

    def check_positions(self, targets: FloatArray) -> tuple[Refusal | None, str]:
        """Whether all targets (n, 8) lie inside the position limits; otherwise the refusal and the value in words."""
        slack = np.zeros_like(self._lower)
        slack[-1] = self.GRIPPER_SLACK
        outside = np.argwhere((targets < self._lower - slack) | (targets > self._upper + slack))
        if not len(outside):
            return None, ""
        row, i = (int(index) for index in outside[0])
        name = f"joint {i + 1}" if i < len(self._lower) - 1 else "gripper width"
        limits = f"{self._lower[i]:.4f}..{self._upper[i]:.4f}"
        return Refusal.POSITION_LIMIT, f"{name} target {targets[row, i]:.4f} outside {limits}"

    def _stopping_speed(self, distance: FloatArray) -> FloatArray:
        """Largest speed v with v dt + v^2 / (2 a) <= distance: one more step, then braking at a.

        Staying below it is possible forever: after a step at v the bound allows v - a dt again.
        """
        step = self._acceleration * self._dt
        return np.sqrt(step**2 + 2.0 * self._acceleration * np.maximum(distance, 0.0)) - step

    def _advance(self, velocity: FloatArray) -> None:
        # The clip only removes rounding of the last digit; the velocity already stops at the limits.
        position = np.clip(self._position + velocity * self._dt, self._lower, self._upper)
        self._velocity = (position - self._position) / self._dt
        self._position = position
