"""Ways through what is known: a path at another speed, the way that was travelled, standing still."""

from __future__ import annotations

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray


def retimed(chunk: FloatArray, pace: float, told: FloatArray, *, hand: bool = False) -> FloatArray:
    """The same path at another speed, from the command in force (8,) on; the hand in its own time, or like the arm."""
    path = np.vstack((told[None], chunk))
    steps = pace * np.arange(1, len(chunk) + 1)
    found = chunk.copy()
    for joint in range(ARM_DOF + hand):
        found[:, joint] = np.interp(steps, np.arange(len(path)), path[:, joint])
    return found


def back(way: FloatArray, rows: int, width: float) -> FloatArray:
    """Back along commands (N, 8), one for each control step, oldest first, with the hand at a width [m]; (rows, 8).

    The last of them is the command in force; where the way is used up the arm stands.
    """
    order = np.maximum(len(way) - 2 - np.arange(rows), 0)
    found: FloatArray = way[order].copy()
    found[:, ARM_DOF] = width
    return found


def stand(told: FloatArray, rows: int, width: float) -> FloatArray:
    """At the command in force (8,), with the hand at a width [m]; (rows, 8)."""
    found = np.tile(told, (rows, 1))
    found[:, ARM_DOF] = width
    return found
