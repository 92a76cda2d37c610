"""What one command must be: complete, finite, and one frame of motion inside the limits behind the command before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from salus_vla.contract import JOINTS
from salus_vla.gate.gate_limits import JointLimits

TOLERANCE = 1e-6  # of velocity, acceleration and jerk: rounding of doubles, far below what any arm could notice
_ROOM_TOLERANCE = 1e-9  # of a squared velocity
_KNOWN = frozenset(JOINTS)
_IN_ORDER = list(JOINTS)

Position = tuple[float, ...]


class Reason(StrEnum):
    """Why a command was refused whole."""

    WRONG_LENGTH = "wrong_length"
    EXTRA_VALUES = "extra_values"
    UNKNOWN_JOINT = "unknown_joint"
    DUPLICATE_JOINT = "duplicate_joint"
    MISSING_JOINT = "missing_joint"
    NON_FINITE = "non_finite"
    NO_FRAME = "no_frame"
    STALE_STAMP = "stale_stamp"
    DUPLICATE_STAMP = "duplicate_stamp"
    FUTURE_STAMP = "future_stamp"
    BRAKING = "braking"
    SECOND_PUBLISHER = "second_publisher"
    ARM_MOVING = "arm_moving"
    POSITION_LIMIT = "position_limit"
    NO_ROOM_TO_STOP = "no_room_to_stop"
    VELOCITY_LIMIT = "velocity_limit"
    ACCELERATION_LIMIT = "acceleration_limit"
    JERK_LIMIT = "jerk_limit"


class Fault(NamedTuple):
    """What is wrong with a command: the reason, and the joint or stamp, the value and the limit in words."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Motion:
    """A command with the backward differences over the commands before it, 9 each in contract order.

    Attributes:
        position: [rad, m].
        velocity: [1/s].
        acceleration: [1/s^2].
    """

    position: Position
    velocity: Position
    acceleration: Position

    @classmethod
    def resting(cls, position: Position) -> Motion:
        """At rest."""
        nothing = (0.0,) * len(position)
        return cls(position, nothing, nothing)

    @property
    def at_rest(self) -> bool:
        """Whether no velocity is left."""
        return max(map(abs, self.velocity)) <= TOLERANCE


def in_order(names: Sequence[str], positions: Sequence[float]) -> Sequence[float] | Fault:
    """The positions of a command in contract order, or what is wrong with its names or values."""
    if len(names) != len(positions):
        return Fault(Reason.WRONG_LENGTH, f"{len(names)} names and {len(positions)} positions")
    if names != _IN_ORDER:
        fault = _wrong_names(names)
        if fault is not None:
            return fault
        by_name = dict(zip(names, positions, strict=True))
        positions = [by_name[name] for name in JOINTS]
    for name, value in zip(JOINTS, positions, strict=True):
        if not math.isfinite(value):
            return Fault(Reason.NON_FINITE, f"{name} is {value}")
    return positions


class MotionCheck:
    """Checks one frame of motion against the limits, joint by joint: faster than arrays of nine."""

    def __init__(self, limits: JointLimits, dt: float) -> None:
        """Sets the limits and the time between two commands [s]."""
        self._dt = dt
        self._rows = tuple(
            zip(
                JOINTS, limits.lower, limits.upper, limits.velocity, limits.acceleration, limits.jerk, strict=True,
            )
        )  # fmt: skip

    def step(self, before: Motion, positions: Sequence[float]) -> Motion | Fault:
        """The motion that a command makes of the one before, or the first limit that it breaks.

        Beyond the limits themselves, a joint must always be able to stop before the end of its range: braking from
        velocity v takes v^2 / (2 a). Written so that a difference that is not a number is refused.
        """
        dt = self._dt
        velocities, accelerations = [], []
        for now, last, speed, bend, (joint, lower, upper, v_max, a_max, j_max) in zip(
            positions, before.position, before.velocity, before.acceleration, self._rows, strict=True
        ):
            if not lower <= now <= upper:
                return Fault(Reason.POSITION_LIMIT, f"{joint} {now:.4f} outside {lower:.4f}..{upper:.4f}")
            v = (now - last) / dt
            if not abs(v) <= v_max + TOLERANCE:
                return Fault(Reason.VELOCITY_LIMIT, f"{joint} moves at {v:.4f}, at most {v_max:g}")
            a = (v - speed) / dt
            if not abs(a) <= a_max + TOLERANCE:
                return Fault(Reason.ACCELERATION_LIMIT, f"{joint} accelerates with {a:.4f}, at most {a_max:g}")
            jerk = (a - bend) / dt
            if not abs(jerk) <= j_max + TOLERANCE:
                return Fault(Reason.JERK_LIMIT, f"{joint} has a jerk of {jerk:.4f}, at most {j_max:g}")
            room = upper - now if v > 0.0 else now - lower
            if v * v > 2.0 * a_max * room + _ROOM_TOLERANCE:
                return Fault(
                    Reason.NO_ROOM_TO_STOP,
                    f"{joint} at {now:.4f} moves at {v:.4f} and would stop outside {lower:.4f}..{upper:.4f}",
                )
            velocities.append(v)
            accelerations.append(a)
        return Motion(tuple(positions), tuple(velocities), tuple(accelerations))


def _wrong_names(names: Sequence[str]) -> Fault | None:
    seen = set()
    for name in names:
        if name not in _KNOWN:
            return Fault(Reason.UNKNOWN_JOINT, f"{name!r}; expected {', '.join(JOINTS)}")
        if name in seen:
            return Fault(Reason.DUPLICATE_JOINT, f"{name} comes twice")
        seen.add(name)
    missing = [name for name in JOINTS if name not in seen]
    return Fault(Reason.MISSING_JOINT, ", ".join(missing)) if missing else None
