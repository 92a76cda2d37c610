"""The jerk-limited stop: from the last command along its path to rest, as one command per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from salus_vla.errors import SalusError
from salus_vla.frames import FloatArray
from salus_vla.gate.checks import Position
from salus_vla.gate.limits import JointLimits


def plan_stop(position: Sequence[float], velocity: Sequence[float], limits: JointLimits, dt: float) -> list[Position]:
    """Commands that bring all joints to rest.

    All joints stop together, along the path. One whose position limit comes before that leaves the path and brakes as
    hard as it may; that is enough for every command the gate lets pass.

    Args:
        position: last command, 9 [rad, m].
        velocity: of the last command, 9 [rad/s, m/s].
        limits: of the joints.
        dt: time between two commands [s].

    Returns:
        At least one command; the last two are the same, so that the arm is at rest behind them.

    Raises:
        SalusError: ruckig refuses the motion; no command that passed the gate leads there.
    """
    path = _along_path(position, velocity, limits, dt)
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    for joint in np.flatnonzero(((path < lower) | (path > upper)).any(axis=0)):
        path = _braked_hard(path, int(joint), position[joint], velocity[joint], limits, dt)
    # The clip only removes rounding of the last digit.
    return [tuple(row) for row in np.clip(path, lower, upper).tolist()]


def _along_path(position: Sequence[float], velocity: Sequence[float], limits: JointLimits, dt: float) -> FloatArray:
    """Samples of ruckig's stop at `dt`, 2 dt, ..., shape (n, 9)."""
    joints = len(position)
    motion = InputParameter(joints)
    motion.control_interface = ControlInterface.Velocity
    motion.synchronization = Synchronization.Phase
    motion.current_position, motion.current_velocity = list(position), list(velocity)
    # A whole frame lies between the last command's acceleration and the first of the stop: starting from none keeps the
    # joints in proportion, and the difference stays far below the jerk limit.
    motion.current_acceleration = motion.target_acceleration = motion.target_velocity = [0.0] * joints
    motion.max_acceleration, motion.max_jerk = list(limits.acceleration), list(limits.jerk)
    trajectory = Trajectory(joints)
    result = Ruckig(joints).calculate(motion, trajectory)
    if result not in (Result.Working, Result.Finished):
        raise SalusError(f"no stop from velocity {list(velocity)}: ruckig says {result}")
    frames = int(np.ceil(trajectory.duration / dt)) + 1
    rest = trajectory.at_time(trajectory.duration)[0]
    samples = [trajectory.at_time(frame * dt)[0] for frame in range(1, frames)]
    return np.array([*samples[:-1], rest, rest] if samples else [list(position)])


def _braked_hard(
    path: FloatArray,
    joint: int,
    position: float,
    velocity: float,
    limits: JointLimits,
    dt: float,
) -> FloatArray:
    """The path with one joint losing the most velocity per frame that its acceleration limit allows."""
    step = limits.acceleration[joint] * dt
    speeds = np.maximum(abs(velocity) - step * np.arange(1, int(abs(velocity) / step) + 3), 0.0)
    braked = position + np.sign(velocity) * np.cumsum(speeds) * dt
    rows = max(len(path), len(braked))
    path = np.vstack([path, np.repeat(path[-1:], rows - len(path), axis=0)])
    path[:, joint] = np.append(braked, np.full(rows - len(braked), braked[-1]))
    return path
