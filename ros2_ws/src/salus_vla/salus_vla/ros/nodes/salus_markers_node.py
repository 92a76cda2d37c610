"""Draws the episode for rviz: a trail of the gripper, coloured by the predicted risk, and the status as text.

It reads the topics of the contract like everybody else; nothing depends on it. `view.launch.xml` starts it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from salus_msgs.msg import Episode, FailurePrediction, Intervention, SafetySignals, Status
from salus_vla import contract
from salus_vla.config.parameters import parameter
from salus_vla.config.scene import load_scene
from salus_vla.contract import ARM_DOF, MARKERS, WORLD_FRAME
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.clients.live_listener import note
from salus_vla.signals.safety_signals import NAMES, SIGNALS
from salus_vla.simulation.mujoco.kinematics import Kinematics
from salus_vla.simulation.mujoco.mujoco_model import build_model
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.trail import UNKNOWN, Color, Trail, color_of, predicted_risk, risk_of, status_text

_TEXT_ABOVE_M = 0.25  # over the gripper, clear of the hand
_NO_POSITION = np.array([0.0, 0.0, 1.0])  # of the text before the first joint state
_WHITE: Color = (1.0, 1.0, 1.0)
TRAIL, GRIPPER, TEXT = "trail", "gripper", "status"  # namespaces of the markers, as in salus.rviz


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


class SalusMarkersNode:
    """Wires the trail and the status text to the topics."""

    def __init__(self) -> None:
        """Connects.

        Raises:
            SalusError: a parameter is wrong, or the robot's files are missing.
        """
        self.node = make_node("salus_markers")
        self._parameters = p = read_parameters(self.node, MarkerParameters)
        if not p.low < p.high:
            raise ConfigError(
                f"salus_markers: parameter 'low' is {p.low}, expected less than 'high', which is {p.high}"
            )
        scene = load_scene()
        self._kinematics = Kinematics(build_model(scene), scene.robot.home_position[:ARM_DOF])
        self._unit = SIGNALS[NAMES.index(p.signal)].unit
        self._monitor = GraphMonitor(time.monotonic())
        self._trail = Trail(p.longest)
        self._stamp_ns = 0
        self._publisher = self.node.create_publisher(MarkerArray, MARKERS.name, qos_profile(MARKERS.qos))
        subscribe(self.node, contract.JOINT_STATES, self._on_joints, keep_all=True)
        subscribe(self.node, contract.EPISODE, self._on_episode, keep_all=True)
        subscribe(self.node, contract.SAFETY_SIGNALS, self._on_signals, keep_all=True)
        subscribe(self.node, contract.FAILURE_PREDICTION, self._on_prediction, keep_all=True)
        subscribe(self.node, contract.INTERVENTION, self._on_intervention, keep_all=True)
        subscribe(self.node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy shuts down."""
        self._executor.spin()

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        self._stamp_ns = messages.to_ns(message.header.stamp)
        self._trail.frame(self._stamp_ns, self._kinematics.tool(position[:ARM_DOF])[0])

    def _on_episode(self, message: Episode) -> None:
        note(self._monitor, contract.EPISODE, message)
        if EpisodeEvent.of(message).kind is EventKind.STARTED:
            self._trail.clear()
        self._draw()

    def _on_signals(self, message: SafetySignals) -> None:
        note(self._monitor, contract.SAFETY_SIGNALS, message)
        p = self._parameters
        risk = risk_of(getattr(message, p.signal), p.low, p.high)
        self._trail.decision(messages.to_ns(message.header.stamp), risk)
        self._draw()

    def _on_prediction(self, message: FailurePrediction) -> None:
        note(self._monitor, contract.FAILURE_PREDICTION, message)
        self._trail.foreseen(messages.to_ns(message.header.stamp), predicted_risk(ForeseenRisk.of(message)))
        self._draw()

    def _on_intervention(self, message: Intervention) -> None:
        note(self._monitor, contract.INTERVENTION, message)
        self._draw()

    def _on_status(self, message: Status) -> None:
        note(self._monitor, contract.STATUS_TOPIC, message)
        self._draw()

    # -- to rviz -------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        points = self._trail.points
        at = self._trail.newest_position
        markers = [self._text(_NO_POSITION if at is None else at)]
        if len(points) < 2:  # rviz says that a line of fewer is an error
            markers.append(Marker(ns=TRAIL, action=Marker.DELETE))
        else:
            line = self._marker(TRAIL, Marker.LINE_STRIP, Vector3(x=self._parameters.width_m))
            line.points = [_point(item.position) for item in points]
            line.colors = [_rgba(color_of(item.risk)) for item in points]
            markers.append(line)
        if at is not None:
            size = 3.0 * self._parameters.width_m
            ball = self._marker(GRIPPER, Marker.SPHERE, Vector3(x=size, y=size, z=size))
            ball.pose.position = _point(at)
            ball.color = _rgba(color_of(points[-1].risk) if points else UNKNOWN)
            markers.append(ball)
        self._publisher.publish(MarkerArray(markers=markers))

    def _text(self, at: np.ndarray) -> Marker:
        text = self._marker(TEXT, Marker.TEXT_VIEW_FACING, Vector3(z=0.04))
        text.text = status_text(self._monitor.snapshot(time.monotonic()), self._parameters.signal, self._unit)
        text.pose.position = _point(at + np.array([0.0, 0.0, _TEXT_ABOVE_M]))
        text.color = _rgba(_WHITE)
        return text

    def _marker(self, namespace: str, kind: int, scale: Vector3) -> Marker:
        marker = Marker(ns=namespace, type=kind, action=Marker.ADD, scale=scale)
        marker.header = messages.header(self._stamp_ns, WORLD_FRAME)
        marker.pose.orientation.w = 1.0
        return marker


def _point(position: np.ndarray) -> Point:
    x, y, z = map(float, position)
    return Point(x=x, y=y, z=z)


def _rgba(color: Color) -> ColorRGBA:
    red, green, blue = color
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `salus_markers` executable."""
    return run_node(SalusMarkersNode, args)
