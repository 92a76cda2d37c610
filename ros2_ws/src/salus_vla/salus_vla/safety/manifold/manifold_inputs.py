"""What the manifold looks at: the policy's state, the robot's, and the next half second of a chunk."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE

VERSION: Final = 1  # of the vector; another one is another manifold
ROWS: Final = 5  # of a chunk that are looked at: the targets at +0.1 ... +0.5 s
STATE_SIZE: Final = ARM_DOF + 1  # joints [rad] and width of the gripper [m]
CONTEXT: Final = EXPERT_SIZE + STATE_SIZE
INPUTS: Final = CONTEXT + ROWS * STATE_SIZE


def inputs_of(expert: NDArray[np.floating], state: NDArray[np.floating], chunk: NDArray[np.floating]) -> FloatArray:
    """The vectors of N decisions, (N, 80): expert state, robot state, and targets relative to the robot state.

    Args:
        expert: in the basis of the failure table, (N, 32).
        state: joints and width of the gripper, (N, 8) [rad, m].
        chunk: targets at +0.1 s, +0.2 s, ..., (N, H, 8) with H of at least `ROWS` [rad, m].

    Raises:
        ValueError: one of them has another shape.
    """
    count = len(expert)
    if expert.shape != (count, EXPERT_SIZE):
        raise ValueError(f"expert has shape {expert.shape}, expected (N, {EXPERT_SIZE})")
    if state.shape != (count, STATE_SIZE):
        raise ValueError(f"state has shape {state.shape}, expected ({count}, {STATE_SIZE})")
    if chunk.ndim != 3 or chunk.shape[::2] != (count, STATE_SIZE) or chunk.shape[1] < ROWS:
        raise ValueError(f"chunk has shape {chunk.shape}, expected ({count}, {ROWS} or more, {STATE_SIZE})")
    relative = chunk[:, :ROWS] - state[:, None]
    return np.concatenate((expert, state, relative.reshape(count, -1)), axis=1).astype(np.float64)
