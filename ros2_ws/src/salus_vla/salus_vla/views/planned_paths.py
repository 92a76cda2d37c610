"""Where each member of the ensemble wants to take the tool within the next second: apart where they disagree.

Plain numpy; `ros/nodes/salus_markers_node.py` draws a thin line for each.
"""

from __future__ import annotations

import numpy as np

from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.types import FloatArray

AHEAD_S = 1.0  # of a chunk: what is planned later is planned anew many times before it comes


def planned_paths(chunks: FloatArray, row_s: float, start: FloatArray | None = None) -> list[FloatArray]:
    """The tool's way by each member's chunk.

    Args:
        chunks: arm targets, shape (K, H, 7) [rad].
        row_s: time between two rows, and from the observation to the first [s].
        start: where the tool was at the observation, shape (3,) [m]; None where nobody knows.

    Returns:
        For each member points (n, 3) in the world [m], from the start to `AHEAD_S`; a member whose chunk is not finite
        that far is left out, and so is one with fewer than two points, because it makes no line.
    """
    rows = chunks[:, : max(1, round(AHEAD_S / row_s))]
    paths = []
    for chunk in rows[np.isfinite(rows).all(axis=(1, 2))]:
        points = tool_poses(chunk)[0]
        paths.append(points if start is None else np.vstack([start, points]))
    return [path for path in paths if len(path) > 1]


def line_pairs(paths: list[FloatArray]) -> FloatArray:
    """Ends of every piece of every path, shape (2 n, 3): what rviz's LINE_LIST takes."""
    pieces = [np.stack([path[:-1], path[1:]], axis=1).reshape(-1, 3) for path in paths]
    return np.concatenate(pieces) if pieces else np.zeros((0, 3))
