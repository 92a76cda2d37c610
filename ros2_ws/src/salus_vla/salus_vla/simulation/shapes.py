"""The boxes that table and bin are made of, for every simulator; numbers only."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.scene import BlueBin, Table
from salus_vla.config.scene_types import Rgba, Vector3

FLOOR_Z = -0.7  # top of the floor, on which the table's legs stand [m]
FLOOR_RGBA: Rgba = (0.52, 0.54, 0.56, 1.0)
TABLE_RGBA: Rgba = (0.70, 0.65, 0.58, 1.0)
LEG_RGBA: Rgba = (0.3, 0.3, 0.32, 1.0)
SUN_DIRECTION: Vector3 = (-0.4, -0.35, -1.0)  # of the scene's directional light
LEG = 0.03  # half the width of a leg [m]
LEG_INSET = 0.05  # from the table's edge to the middle of a leg [m]


@dataclass(frozen=True)
class Box:
    """A box along the axes of its body: half its extents and its centre [m], and its colour."""

    half: Vector3
    center: Vector3
    rgba: Rgba


def table_boxes(table: Table) -> tuple[Box, ...]:
    """The top, then four legs; the body's frame is in the middle of the top's upper side."""
    x, y, thickness = table.size[0] / 2.0, table.size[1] / 2.0, table.size[2]
    leg = (-FLOOR_Z - thickness) / 2.0
    top = Box((x, y, thickness / 2.0), (0.0, 0.0, -thickness / 2.0), TABLE_RGBA)
    legs = (
        Box((LEG, LEG, leg), (sx * (x - LEG_INSET), sy * (y - LEG_INSET), -thickness - leg), LEG_RGBA)
        for sx in (-1, 1)
        for sy in (-1, 1)
    )
    return (top, *legs)


def bin_boxes(blue_bin: BlueBin) -> tuple[Box, ...]:
    """The floor, then four walls; the body's frame is at the centre of the underside."""
    x, y, z = (extent / 2.0 for extent in blue_bin.outer)
    wall = blue_bin.wall / 2.0
    boxes: tuple[tuple[Vector3, Vector3], ...] = (
        ((x, y, wall), (0.0, 0.0, wall)),
        ((wall, y, z), (x - wall, 0.0, z)),
        ((wall, y, z), (wall - x, 0.0, z)),
        ((x, wall, z), (0.0, y - wall, z)),
        ((x, wall, z), (0.0, wall - y, z)),
    )
    return tuple(Box(half, center, blue_bin.rgba) for half, center in boxes)
