"""Rotations as quaternions x, y, z, w, the order of ROS messages (MuJoCo's is w, x, y, z)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salus_vla.contract.types import FloatArray, Pose


def quaternion_of(rotation: FloatArray) -> FloatArray:
    """Quaternion x, y, z, w with w >= 0, shape (4,), of a rotation matrix, shape (3, 3).

    The eigenvector of Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000: stable for
    every angle and sign.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    k = np.array(
        [
            [xx - yy - zz, 0.0, 0.0, 0.0],
            [yx + xy, yy - xx - zz, 0.0, 0.0],
            [zx + xz, zy + yz, zz - xx - yy, 0.0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    quaternion = np.linalg.eigh(k / 3.0)[1][:, -1]
    return np.where(quaternion[3] < 0.0, -quaternion, quaternion)


def rotate(quaternion: FloatArray, vector: FloatArray) -> FloatArray:
    """Rotates a vector, shape (3,), by a unit quaternion x, y, z, w, shape (4,)."""
    u = quaternion[:3]
    t = 2.0 * np.cross(u, vector)
    return np.asarray(vector + quaternion[3] * t + np.cross(u, t))


def rotate_all(rotations: FloatArray, vectors: FloatArray) -> FloatArray:
    """Vectors (N, 3) of the world in frames with these rotations (N, 3, 3): each turned back."""
    return np.einsum("nji,nj->ni", rotations, vectors)


def over_hollow(outer: Sequence[float], wall: float, pose: Pose, point: FloatArray) -> bool:
    """True when a point, shape (3,), is over the hollow of an open box: inside the inner walls, at any height.

    Args:
        outer: full extents of the box [m].
        wall: thickness of the walls [m].
        pose: of the box, whose frame is at the centre of the underside.
        point: in the world [m].
    """
    local = _local(pose, point)
    return bool(np.all(np.abs(local[:2]) < np.array(outer[:2]) / 2.0 - wall) and local[2] > 0.0)


def in_hollow(outer: Sequence[float], wall: float, pose: Pose, point: FloatArray) -> bool:
    """True when the point is over the hollow and below the rim; arguments as of `over_hollow`."""
    return over_hollow(outer, wall, pose, point) and bool(_local(pose, point)[2] < outer[2])


def _local(pose: Pose, point: FloatArray) -> FloatArray:
    inverse = pose.quaternion * np.array([-1.0, -1.0, -1.0, 1.0])
    return rotate(inverse, np.asarray(point) - pose.position)
