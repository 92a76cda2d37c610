"""What /joint_command may say: the contract's rule 2, the same for every simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salus_vla.contract import JOINTS
from salus_vla.contract.errors import SimulatorError


def read_command(names: Sequence[str], positions: Sequence[float]) -> dict[str, float]:
    """The new position targets, by joint; a joint that is not named, or whose value is NaN, keeps its last target.

    Args:
        names: any subset of the contract's joints, in any order.
        positions: a target for each name [rad, m].

    Raises:
        SimulatorError: unknown or repeated name, wrong length, or infinite value.
    """
    if len(names) != len(positions):
        raise SimulatorError(f"command has {len(names)} names and {len(positions)} positions")
    unknown = [name for name in names if name not in JOINTS]
    if unknown:
        raise SimulatorError(f"command names unknown joint {unknown[0]!r}; expected {', '.join(JOINTS)}")
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise SimulatorError(f"command names joint {repeated[0]!r} twice")
    values = np.asarray(positions, dtype=np.float64)
    if np.isinf(values).any():
        raise SimulatorError(f"command for joint {names[int(np.argmax(np.isinf(values)))]!r} is infinite")
    return {name: float(value) for name, value in zip(names, values, strict=True) if not np.isnan(value)}
