"""The boxes that stand around the arm: the table by the scene, cube and bin where ground truth says they are.

A real robot has no ground truth: there the table is all that is drawn. `ros/nodes/salus_markers_node.py` makes markers
of the boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.config.scene_types import Rgba
from salus_vla.contract import ENTITIES
from salus_vla.contract.geometry import rotate
from salus_vla.contract.types import FloatArray, Pose
from salus_vla.simulation.shapes import Box, bin_boxes, table_boxes

TABLE = "table"
# Behind the newest frame: ground truth that is silent for so long is not true any more. A node that fell behind takes
# up to 1.3 s of one topic before the next (ros/adapters/subscribe.py).
STALE_NS = 2_000_000_000


@dataclass(frozen=True)
class DrawnBox:
    """A box in the world: full extents (3,) and its pose [m], colour with opacity 0 to 1."""

    size: FloatArray
    pose: Pose
    rgba: Rgba


class SeenScene:
    """What stands around the arm, as far as it is known."""

    def __init__(self, scene: Scene) -> None:
        """Knows shapes, and no pose but the table's."""
        objects = scene.objects
        cube = (objects.red_cube.edge / 2.0,) * 3
        shapes: dict[str, tuple[Box, ...]] = {
            "red_cube": (Box(cube, (0.0, 0.0, 0.0), objects.red_cube.rgba),),
            "blue_bin": bin_boxes(objects.blue_bin),
        }
        self._shapes: Mapping[str, tuple[Box, ...]] = {name: shapes[name] for name in ENTITIES}
        self._poses: dict[str, tuple[int, Pose]] = {}
        table = Pose(np.array([*objects.table.center, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))
        self.table = _placed(table_boxes(objects.table), table)

    def saw(self, entity: str, stamp_ns: int, pose: Pose) -> None:
        """Notes the ground truth of an entity; for a box its pose is that of its body's frame, as in the contract."""
        self._poses[entity] = stamp_ns, pose

    def entities(self, now_ns: int) -> dict[str, tuple[DrawnBox, ...]]:
        """Boxes of each entity; none where ground truth has said nothing around this time [ns]."""
        drawn: dict[str, tuple[DrawnBox, ...]] = {}
        for name, boxes in self._shapes.items():
            stamp_ns, pose = self._poses.get(name, (0, None))
            known = pose is not None and abs(now_ns - stamp_ns) <= STALE_NS
            drawn[name] = _placed(boxes, pose) if known and pose is not None else ()
        return drawn

    def most(self, entity: str) -> int:
        """Boxes that an entity is drawn with at most."""
        return len(self._shapes[entity])


def _placed(boxes: tuple[Box, ...], body: Pose) -> tuple[DrawnBox, ...]:
    return tuple(
        DrawnBox(
            2.0 * np.array(box.half),
            Pose(body.position + rotate(body.quaternion, np.array(box.center)), body.quaternion),
            box.rgba,
        )
        for box in boxes
    )
