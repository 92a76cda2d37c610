"""What somebody sees who knows nothing of SALUS: what reaches the arm, and whether that keeps the arm's limits.

Pure. Times are those at which the publishers published, wall time [s], so that a slow observer sees the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from salus_vla.contract.types import FloatArray

# Franka's data sheet for the FER, typed in again: an observer shares no code with what it observes.
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
SPEED = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100])
FRAME_S = 0.02
_AT_REST = 1e-6  # rad/s of commands: rounding
_TELEPORT = 4.0  # times the speed limit: no arm moves like that, a reset does
_START = 0.02  # rad between a stream's first command and the measured pose: one frame of motion, rounding, sag


class Kind(StrEnum):
    """What was seen."""

    COMMAND = "/joint_command"
    JOINTS = "/joint_states"


@dataclass(frozen=True)
class Seen:
    """One message: when it was published [s], its stamp [s], the arm's seven positions [rad]."""

    wall_s: float
    kind: Kind
    stamp_s: float
    arm: FloatArray


@dataclass(frozen=True)
class Silence:
    """A pause of commands in motion: since when, wall time [s], and how long [s]."""

    since_s: float
    lasted_s: float


@dataclass(frozen=True)
class Observation:
    """What follows from a stretch of time.

    Attributes:
        commands: how many were seen.
        violations: limits that were broken, in words.
        silences: pauses of commands while the commanded arm moved, longest first.
        speed: fastest measured joint, as a share of its limit.
    """

    commands: int
    violations: tuple[str, ...]
    silences: tuple[Silence, ...]
    speed: float


def observe(events: Sequence[Seen], until_s: float) -> Observation:
    """Looks at everything that was published up to `until_s`, wall time [s], in order."""
    violations: list[str] = []
    silences: list[Silence] = []
    last: Seen | None = None  # command
    velocity: FloatArray = np.zeros(7)
    joints: Seen | None = None
    commands, fastest = 0, 0.0
    for seen in sorted(events, key=lambda item: item.wall_s):
        if seen.kind is Kind.JOINTS:
            if joints is not None and seen.stamp_s > joints.stamp_s:
                share = float((np.abs(seen.arm - joints.arm) / (seen.stamp_s - joints.stamp_s) / SPEED).max())
                if share > _TELEPORT:
                    last = None  # a reset: the next stream begins elsewhere
                else:
                    fastest = max(fastest, share)
            joints = seen
            continue
        commands += 1
        violations += _outside(seen)
        if last is None or seen.stamp_s < last.stamp_s - 1.0:
            violations += _starts_elsewhere(seen, joints)
            velocity = np.zeros(7)
        else:
            pause = seen.wall_s - last.wall_s
            moving = float(np.abs(velocity).max()) > _AT_REST
            if moving:
                silences.append(Silence(last.wall_s, pause))
            frames = max(1.0, round((seen.stamp_s - last.stamp_s) / FRAME_S))
            step = seen.arm - last.arm
            too_far = np.flatnonzero(np.abs(step) > SPEED * FRAME_S * frames + 1e-6)
            if too_far.size and not moving and frames > 1.0:
                violations += _starts_elsewhere(seen, joints)
                step = np.zeros(7)
            elif too_far.size:
                joint = int(too_far[0])
                how = f"by {step[joint]:.4f} rad in {frames:.0f} frames"
                violations.append(f"{seen.stamp_s:.2f} s: joint {joint + 1} was commanded {how}")
            velocity = step / (frames * FRAME_S)
        last = seen
    if last is not None and float(np.abs(velocity).max()) > _AT_REST:
        silences.append(Silence(last.wall_s, until_s - last.wall_s))
    silences.sort(key=lambda item: -item.lasted_s)
    return Observation(commands, tuple(violations), tuple(silences), fastest)


def _outside(seen: Seen) -> list[str]:
    wrong = ~np.isfinite(seen.arm) | (seen.arm < LOWER - 1e-9) | (seen.arm > UPPER + 1e-9)
    return [f"{seen.stamp_s:.2f} s: joint {int(i) + 1} was commanded to {seen.arm[i]}" for i in np.flatnonzero(wrong)]


def _starts_elsewhere(seen: Seen, joints: Seen | None) -> list[str]:
    if joints is None:
        return []
    far = np.abs(np.clip(joints.arm, LOWER, UPPER) - seen.arm)
    joint = int(np.argmax(far))
    if far[joint] <= _START + float(SPEED[joint]) * FRAME_S:
        return []
    return [f"{seen.stamp_s:.2f} s: a stream began {far[joint]:.4f} rad from where joint {joint + 1} was"]
