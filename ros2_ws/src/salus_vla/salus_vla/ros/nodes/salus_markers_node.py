"""Draws the episode for rviz: table, cube and bin, the gripper's trail by risk, the members' plans, the status as text.

It reads the topics of the contract like everybody else; nothing depends on it. `view.launch.xml` starts it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Vector3
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from salus_msgs.msg import Episode, FailurePrediction, Intervention, MemberChunks, SafetySignals, Status
from salus_vla import contract
from salus_vla.config.parameters import parameter
from salus_vla.config.scene import load_scene
from salus_vla.contract import ARM_DOF, ENTITIES, MARKERS, WORLD_FRAME
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.message_readers import EpisodeEvent, EventKind, member_chunks
from salus_vla.contract.types import FloatArray, Pose
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.lean_executor import GATHER_S, LeanExecutor
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.clients.live_listener import note
from salus_vla.signals.safety_signals import NAMES, SIGNALS
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.planned_paths import line_pairs, planned_paths
from salus_vla.views.seen_scene import TABLE, DrawnBox, SeenScene
from salus_vla.views.text_block import HEIGHT_M, POSITION, SPACE_M, anchored, text_block, wants_a_person
from salus_vla.views.trail import UNKNOWN, Color, Trail, color_of, predicted_risk, risk_of, status_text

_WHITE: Color = (1.0, 1.0, 1.0)
WARNING: Color = (1.0, 0.58, 0.35)  # the palette's vermilion, lighter: as thin letters it is dim on rviz's dark ground
PLANNED: Color = (0.34, 0.71, 0.91)  # sky blue of the palette in `views/trail.py`: apart from every colour of a risk
TRAIL, GRIPPER, TEXT, PLANS = "trail", "gripper", "status", "plans"
NAMESPACES = (TABLE, *ENTITIES, TRAIL, GRIPPER, PLANS, TEXT)  # of the markers, as in salus.rviz
_FRAME_NS = 100_000_000  # sim time between two pictures while nothing but the arm and what it carries moves
_PERIOD_S = 0.05  # wall time between two pictures at least
_TURN_S = 0.2


@dataclass(frozen=True)
class MarkerParameters:
    """Parameters of salus_markers; the bounds suit the shipped ensemble."""

    signal: str = parameter(
        "max_joint_disagreement",
        "signal that colours the trail where no failure is predicted; where it is high the policy is unsure",
        choices=NAMES,
    )
    low: float = parameter(0.01, "value that is drawn green, in the unit of the signal", bounds=(-1e9, 1e9))
    high: float = parameter(0.04, "value that is drawn red, in the unit of the signal", bounds=(-1e9, 1e9))
    longest: int = parameter(2000, "points that the trail keeps [decisions]", bounds=(2, 100_000))
    width_m: float = parameter(0.008, "width of the trail [m]", bounds=(1e-4, 1.0))
    plan_width_m: float = parameter(0.0025, "width of the line of a member's plan [m]", bounds=(1e-4, 1.0))


class SalusMarkersNode:
    """Wires what is drawn to the topics."""

    def __init__(self) -> None:
        """Connects.

        Raises:
            SalusError: a parameter or the scene file is wrong.
        """
        self.node = make_node("salus_markers")
        self._parameters = p = read_parameters(self.node, MarkerParameters)
        if not p.low < p.high:
            raise ConfigError(
                f"salus_markers: parameter 'low' is {p.low}, expected less than 'high', which is {p.high}"
            )
        self._unit = SIGNALS[NAMES.index(p.signal)].unit
        self._monitor = GraphMonitor(time.monotonic())
        self._scene = SeenScene(load_scene())
        self._trail = Trail(p.longest)
        self._paths: list[FloatArray] = []
        self._stamp_ns = self._drawn_ns = 0
        self._due, self._drawn_s = False, 0.0
        self._publisher = self.node.create_publisher(MarkerArray, MARKERS.name, qos_profile(MARKERS.qos))
        subscribe(self.node, contract.JOINT_STATES, self._on_joints, keep_all=True)
        for entity in ENTITIES:
            subscribe(self.node, contract.pose_topic(entity), partial(self._on_pose, entity), keep_all=True)
        subscribe(self.node, contract.EPISODE, self._on_episode, keep_all=True)
        subscribe(self.node, contract.SAFETY_SIGNALS, self._on_signals, keep_all=True)
        subscribe(self.node, contract.MEMBER_CHUNKS, self._on_chunks, keep_all=True)
        subscribe(self.node, contract.FAILURE_PREDICTION, self._on_prediction, keep_all=True)
        subscribe(self.node, contract.INTERVENTION, self._on_intervention, keep_all=True)
        subscribe(self.node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        self._executor = LeanExecutor(gather_s=GATHER_S)
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy shuts down; several messages of one decision make one picture."""
        while self.node.context.ok():
            left_s = self._drawn_s + _PERIOD_S - time.monotonic()
            if self._due and left_s <= 0.0:
                self._draw()
            self._executor.spin_once(timeout_sec=left_s if self._due and left_s > 0.0 else _TURN_S)

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        self._stamp_ns = messages.to_ns(message.header.stamp)
        self._trail.frame(self._stamp_ns, tool_poses(position[:ARM_DOF])[0][0])
        self._due = self._due or abs(self._stamp_ns - self._drawn_ns) >= _FRAME_NS

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        self._scene.saw(entity, messages.to_ns(message.header.stamp), messages.to_pose(message))

    def _on_episode(self, message: Episode) -> None:
        note(self._monitor, contract.EPISODE, message)
        kind = EpisodeEvent.of(message).kind
        if kind is EventKind.STARTED:
            self._trail.clear()
        if kind is not EventKind.EVENT:
            self._paths = []
        self._due = True

    def _on_signals(self, message: SafetySignals) -> None:
        note(self._monitor, contract.SAFETY_SIGNALS, message)
        p = self._parameters
        risk = risk_of(getattr(message, p.signal), p.low, p.high)
        self._trail.decision(messages.to_ns(message.header.stamp), risk)
        self._due = True

    def _on_chunks(self, message: MemberChunks) -> None:
        stamp_ns = messages.to_ns(message.header.stamp)
        self._paths = planned_paths(member_chunks(message), message.row_s, self._trail.position_at(stamp_ns))
        self._due = True

    def _on_prediction(self, message: FailurePrediction) -> None:
        note(self._monitor, contract.FAILURE_PREDICTION, message)
        self._trail.foreseen(messages.to_ns(message.header.stamp), predicted_risk(ForeseenRisk.of(message)))
        self._due = True

    def _on_intervention(self, message: Intervention) -> None:
        note(self._monitor, contract.INTERVENTION, message)
        self._due = True

    def _on_status(self, message: Status) -> None:
        note(self._monitor, contract.STATUS_TOPIC, message)
        self._due = True

    # -- to rviz -------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._due, self._drawn_ns, self._drawn_s = False, self._stamp_ns, time.monotonic()
        markers = [*self._boxes(), *self._way(), self._plans(), self._text()]
        self._publisher.publish(MarkerArray(markers=markers))

    def _boxes(self) -> Iterator[Marker]:
        yield from (self._box(TABLE, number, box) for number, box in enumerate(self._scene.table))
        for entity, boxes in self._scene.entities(self._stamp_ns).items():
            yield from (self._box(entity, number, box) for number, box in enumerate(boxes))
            gone = range(len(boxes), self._scene.most(entity))
            yield from (Marker(ns=entity, id=number, action=Marker.DELETE) for number in gone)

    def _way(self) -> Iterator[Marker]:
        points, at = self._trail.points, self._trail.newest_position
        if len(points) < 2:  # rviz says that a line of fewer is an error
            yield Marker(ns=TRAIL, action=Marker.DELETE)
        else:
            line = self._marker(TRAIL, Marker.LINE_STRIP, Vector3(x=self._parameters.width_m))
            line.points = _points(item.position for item in points)
            line.colors = [_rgba(color_of(item.risk)) for item in points]
            yield line
        if at is not None:
            size = 3.0 * self._parameters.width_m
            ball = self._marker(GRIPPER, Marker.SPHERE, Vector3(x=size, y=size, z=size))
            ball.pose.position = _point(at)
            ball.color = _rgba(color_of(points[-1].risk) if points else UNKNOWN)
            yield ball

    def _plans(self) -> Marker:
        if not self._paths:
            return Marker(ns=PLANS, action=Marker.DELETE)
        lines = self._marker(PLANS, Marker.LINE_LIST, Vector3(x=self._parameters.plan_width_m))
        lines.points = _points(line_pairs(self._paths))
        lines.color = _rgba(PLANNED)
        return lines

    def _text(self) -> Marker:
        snapshot = self._monitor.snapshot(time.monotonic())
        text = self._marker(TEXT, Marker.TEXT_VIEW_FACING, Vector3(x=SPACE_M, z=HEIGHT_M))
        text.text = anchored(text_block(status_text(snapshot, self._parameters.signal, self._unit)))
        text.pose.position = _point(np.array(POSITION))
        text.color = _rgba(WARNING if wants_a_person(snapshot) else _WHITE)
        return text

    def _box(self, namespace: str, number: int, box: DrawnBox) -> Marker:
        marker = self._marker(namespace, Marker.CUBE, Vector3(**dict(zip("xyz", map(float, box.size), strict=True))))
        marker.id = number
        _place(marker, box.pose)
        red, green, blue, alpha = box.rgba
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
        return marker

    def _marker(self, namespace: str, kind: int, scale: Vector3) -> Marker:
        marker = Marker(ns=namespace, type=kind, action=Marker.ADD, scale=scale)
        marker.header = messages.header(self._stamp_ns, WORLD_FRAME)
        marker.pose.orientation.w = 1.0
        return marker


def _place(marker: Marker, pose: Pose) -> None:
    marker.pose.position = _point(pose.position)
    turn = marker.pose.orientation
    turn.x, turn.y, turn.z, turn.w = map(float, pose.quaternion)


def _points(positions: Iterable[FloatArray]) -> list[Point]:
    return [_point(position) for position in positions]


def _point(position: FloatArray) -> Point:
    x, y, z = map(float, position)
    return Point(x=x, y=y, z=z)


def _rgba(color: Color) -> ColorRGBA:
    red, green, blue = color
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `salus_markers` executable."""
    return run_node(SalusMarkersNode, args)
