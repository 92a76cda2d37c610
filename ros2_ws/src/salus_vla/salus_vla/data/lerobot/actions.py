"""What the arm was told in each decision's period: one target per decision.

A decision at stamp t is followed by five commands, of the frames t, t + 20 ms ... t + 80 ms; each says where the arm
should be one frame later. The last of them therefore is where it was told to be at t + 100 ms, which is also what row 0
of a chunk means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, DECISION_HZ, FRAME_HZ
from salus_vla.contract.errors import SalusError
from salus_vla.contract.types import FloatArray

PERIOD_NS = round(1e9 / DECISION_HZ)
FRAME_NS = round(1e9 / FRAME_HZ)
_TOLERANCE_NS = FRAME_NS // 2  # two stamps closer than that are of the same frame


class IncompleteEpisodeError(SalusError):
    """An episode lacks something that each of its decisions must have; the message is the reason to leave it out."""


def check_spacing(stamps_ns: NDArray[np.int64]) -> None:
    """Checks that observations follow each other at the data set's rate; LeRobot computes times from their index.

    Args:
        stamps_ns: of the observations, (N,) [ns].

    Raises:
        IncompleteEpisodeError: one was not recorded, or not decided on.
    """
    steps = np.diff(stamps_ns)
    wrong = np.flatnonzero(np.abs(steps - PERIOD_NS) > _TOLERANCE_NS)
    if len(wrong):
        index = int(wrong[0])
        raise IncompleteEpisodeError(
            f"observation {index + 1} is {steps[index] / 1e6:.0f} ms after the one before it, "
            f"expected {PERIOD_NS / 1e6:.0f} ms"
        )


def commanded_actions(
    stamps_ns: NDArray[np.int64], command_stamps_ns: NDArray[np.int64], commands: FloatArray
) -> FloatArray:
    """The command in force one control step after each observation.

    Args:
        stamps_ns: of the observations, (D,) [ns].
        command_stamps_ns: stamps of the frames that were answered, ascending, (F,) [ns].
        commands: the answers, (F, 9) [rad, m].

    Returns:
        Absolute joint targets [rad] and gripper width [m], (D, 8).

    Raises:
        IncompleteEpisodeError: the last frame of a period has no command.
    """
    last_frame = stamps_ns + (PERIOD_NS - FRAME_NS)
    index = np.searchsorted(command_stamps_ns, last_frame + _TOLERANCE_NS, side="right") - 1
    # A stamp of its own stands for "no command that early".
    stamps = np.append(command_stamps_ns, np.iinfo(np.int64).min)
    missing = stamps[index] < last_frame - _TOLERANCE_NS
    if missing.any():
        number = int(np.flatnonzero(missing)[0])
        raise IncompleteEpisodeError(f"decision {number} has no command for the last frame of its 100 ms")
    chosen = commands[index]
    return np.concatenate([chosen[:, :ARM_DOF], chosen[:, ARM_DOF:].sum(axis=1, keepdims=True)], axis=1)


def planned_actions(planned: FloatArray, commanded: FloatArray) -> FloatArray:
    """What the policy wanted, before disturbances, blending and limits.

    Args:
        planned: row 0 of the mean chunks, (D, 8) [rad, m], or of the arm only, (D, 7) [rad].
        commanded: of `commanded_actions`, (D, 8); gives the gripper where `planned` has none.

    Returns:
        Absolute joint targets [rad] and gripper width [m], (D, 8).

    Raises:
        IncompleteEpisodeError: a decision has no plan, or one that is not finite.
    """
    if planned.shape[1] == ARM_DOF:
        planned = np.concatenate([planned, commanded[:, ARM_DOF:]], axis=1)
    bad = np.flatnonzero(~np.isfinite(planned).all(axis=1))
    if len(bad):
        raise IncompleteEpisodeError(f"decision {bad[0]} has no plan that is finite")
    return planned
