"""The jerk-limited stop: from the last command along its path to rest, as one command per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from salus_vla.contract.types import FloatArray
from salus_vla.gate.command_checks import Position
from salus_vla.gate.gate_limits import JointLimits


@dataclass(frozen=True)
class Stop:
    """Commands that bring all joints to rest, and what was wrong where the jerk-limited ones could not be had."""

    commands: list[Position]
    fault: str = ""


def plan_stop(position: Sequence[float], velocity: Sequence[float], limits: JointLimits, dt: float) -> Stop:
    """Commands that bring all joints to rest, whatever happens.

    All joints stop together, along the path. One whose position limit comes before that leaves the path and brakes as
    hard as it may; that is enough for every command the gate lets pass. Where ruckig refuses the motion, the stop keeps
    the acceleration limits, which needs no library.

    Args:
        position: last command, 9 [rad, m].
        velocity: of the last command, 9 [rad/s, m/s].
        limits: of the joints.
        dt: time between two commands [s].

    Returns:
        At least one command; the last two are the same, so that the arm is at rest behind them.
    """
    fault = ""
    try:
        path = _along_path(position, velocity, limits, dt)
    except Exception as error:  # whatever a library does, the arm must stop
        fault = f"{type(error).__name__}: {error}"
        path = _plain(position, velocity, limits, dt)
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    for joint in np.flatnonzero(((path < lower) | (path > upper)).any(axis=0)):
        path = _braked_hard(path, int(joint), position[joint], velocity[joint], limits, dt)
    # The clip only removes rounding of the last digit.
    return Stop([tuple(row) for row in np.clip(path, lower, upper).tolist()], fault)


def _plain(position: Sequence[float], velocity: Sequence[float], limits: JointLimits, dt: float) -> FloatArray:
    """All velocities fall to zero in proportion, the slowest joint at its acceleration limit, shape (n, 9)."""
    start, speed = np.array(position, dtype=np.float64), np.array(velocity, dtype=np.float64)
    # The first frame of the stop already loses velocity: n frames for the joint that needs the most.
    frames = int(np.ceil(np.max(np.abs(speed) / (np.array(limits.acceleration) * dt)) - 1e-9))
    shares = 1.0 - np.arange(1, frames + 1) / max(frames, 1)
    path = start + np.cumsum(shares)[:, None] * speed * dt if frames else start[None]
    return np.vstack([path, path[-1:]])


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
        raise RuntimeError(f"no stop from velocity {list(velocity)}: ruckig says {result}")
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
