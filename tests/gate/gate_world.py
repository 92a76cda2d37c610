"""A gate with an ideal arm, played frame by frame, and the arm's limits typed in again."""

import math

import numpy as np

from salus_vla.contract import JOINTS
from salus_vla.gate.command_checks import Reason
from salus_vla.gate.gate import Gate, OwnCommand, Refused, State

DT, FRAME = 0.02, 20_000_000
NAMES = list(JOINTS)
# Franka's data sheet for the FER, typed in again; the fingers' are half of the opening's in control/limits.py.
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973, 0.0, 0.0])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973, 0.04, 0.04])
SPEED = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100, 0.2, 0.2])
ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0, 4.0, 4.0])
JERK = np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0, math.inf, math.inf])
HOME = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854, 0.04, 0.04])
REST = [0.0] * 9
# Rounding: a position of 3 rad has 4e-16 of it, which three differences over 20 ms make 2e-10.
SLACK = 1e-6


def assert_inside(commands: list, before: np.ndarray) -> None:
    """Positions and three differences of commands that follow a pose at rest."""
    path = np.vstack([np.repeat(np.asarray(before)[None], 3, axis=0), np.array(commands)])
    assert ((path[3:] >= LOWER) & (path[3:] <= UPPER)).all()
    for limit in (SPEED, ACCELERATION, JERK):
        path = np.diff(path, axis=0) / DT
        assert (np.abs(path) <= limit + SLACK).all(), (np.abs(path) / limit).max()


class World:
    """A gate, an arm that is where it was told to be, and what was sent."""

    def __init__(self, gate: Gate | None = None, pose: np.ndarray = HOME) -> None:
        self.gate = gate or Gate()
        self.pose, self.speed = np.array(pose), np.zeros(9)
        self.stamp = 0
        self.sent: list[tuple[int, np.ndarray]] = []
        self.frame()

    def frame(self, pose: np.ndarray | None = None) -> OwnCommand | None:
        """One frame later; `pose` puts the arm elsewhere, as a reset does."""
        self.stamp += FRAME
        if pose is not None:
            self.pose, self.speed = np.array(pose), np.zeros(9)
        own = self.gate.frame(self.stamp, self.pose.tolist(), self.speed.tolist())
        self.speed = np.zeros(9)
        self._took(own)
        return own

    def offer(self, position: object, stamp: int | None = None, names: list[str] = NAMES, **more: object):
        stamp = self.stamp if stamp is None else stamp
        values = np.asarray(position, dtype=float).tolist()
        refused = self.gate.judge(stamp, names, values, **more)
        if refused is None:
            self._took(OwnCommand(stamp, tuple(values)))
        else:
            self._took(refused.own)
        return refused

    def _took(self, command: OwnCommand | None) -> None:
        if command is not None:
            position = np.array(command.position)
            self.speed, self.pose = (position - self.pose) / DT, position
            self.sent.append((command.stamp_ns, position))

    def drive(self, frames: int = 12, joint: int = 0, acceleration: float = 5.0) -> float:
        """Accelerates one joint; its velocity at the end."""
        for number in range(1, frames + 1):
            pose = self.pose.copy()
            pose[joint] += acceleration * number * DT * DT
            assert self.offer(pose) is None
            self.frame()
        return acceleration * frames * DT

    def until_held(self, limit: int = 60) -> int:
        """Frames without a command until the gate holds."""
        for number in range(limit):
            if self.gate.state is State.HELD:
                return number
            self.frame()
        raise AssertionError(self.gate.state)


def reason(refused: Refused | None) -> Reason | None:
    return refused.reason if refused is not None else None
