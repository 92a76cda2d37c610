"""Gives rviz the robot's frames where nobody publishes /tf: hands on those that robot_state_publisher makes.

`view.launch.xml tf:=auto` starts it beside a robot_state_publisher whose /tf goes to /salus/view/tf. As soon as
a simulator publishes /tf it falls silent, whoever was there first. The robot's description it gives with the first
frame of anybody, because rviz draws the links of a robot without frames in a heap at the origin.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from std_msgs.msg import String

from salus_vla import contract
from salus_vla.config.parameters import parameter
from salus_vla.contract import BASE_FRAME, VIEW_DESCRIPTION, VIEW_TF, VIEW_TF_STATIC, WORLD_FRAME, Topic
from salus_vla.contract.errors import ConfigError
from salus_vla.ros.adapters.lean_executor import GATHER_S, LeanExecutor
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.views.frame_source import FrameSource

_LOOK_S = 0.5  # wall time between two looks at who publishes


@dataclass(frozen=True)
class FrameParameters:
    """Parameters of salus_frames."""

    patience_s: float = parameter(
        contract.DISCOVERY_S + 0.5,
        "wall time without another publisher of /tf, while there are joint states, until the frames are given [s]",
        bounds=(0.0, 60.0),
    )


class SalusFramesNode:
    """Wires a `FrameSource` to the topics."""

    def __init__(self) -> None:
        """Connects.

        Raises:
            SalusError: a parameter is wrong, or tf2_msgs is not installed.
        """
        self.node = make_node("salus_frames")
        self._source = FrameSource(read_parameters(self.node, FrameParameters).patience_s)
        try:
            self._message = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError as error:
            raise ConfigError(
                f"salus_frames: tf2_msgs is not installed, which {contract.TF.name} needs: apt install "
                "ros-jazzy-tf2-msgs"
            ) from error
        self._static = [_world_to_base()]
        self._publishers: dict[Topic, Publisher] = {}
        self._description: String | None = None
        self._robot = self.node.create_publisher(
            String, contract.ROBOT_DESCRIPTION.name, qos_profile(contract.ROBOT_DESCRIPTION.qos)
        )
        self._first_frame: Subscription | None = subscribe(self.node, contract.TF, self._on_first_frame, raw=True)
        subscribe(self.node, VIEW_DESCRIPTION, self._on_description)
        subscribe(self.node, VIEW_TF, self._on_frames)
        subscribe(self.node, VIEW_TF_STATIC, self._on_static)
        self.node.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = LeanExecutor(gather_s=GATHER_S)
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy shuts down."""
        self._executor.spin()

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    def _look(self) -> None:
        own = self.node.get_name()
        others = [i for i in self.node.get_publishers_info_by_topic(contract.TF.name) if i.node_name != own]
        joints = self.node.count_publishers(contract.JOINT_STATES.name) > 0
        gives = self._source.gives(others=bool(others), joints=joints, wall_s=time.monotonic())
        if gives and not self._publishers:
            topics = (contract.TF, contract.TF_STATIC)
            self._publishers = {
                topic: self.node.create_publisher(self._message, topic.name, qos_profile(topic.qos)) for topic in topics
            }
            self._send_static()
            self.node.get_logger().info(f"nobody publishes {contract.TF.name}: the description gives the frames")
        elif not gives and self._publishers:
            for publisher in self._publishers.values():
                self.node.destroy_publisher(publisher)
            self._publishers = {}
            self.node.get_logger().info(f"the description gives no frames any more: {_names(others) or 'no robot'}")

    def _on_first_frame(self, *_: Any) -> None:
        if self._first_frame is not None:
            self.node.destroy_subscription(self._first_frame)
        self._first_frame = None
        self._send_description()

    def _on_description(self, message: String) -> None:
        self._description = message
        self._send_description()

    def _send_description(self) -> None:
        if self._first_frame is None and self._description is not None:
            self._robot.publish(self._description)

    def _on_frames(self, message: Any) -> None:
        if self._publishers:
            self._publishers[contract.TF].publish(message)

    def _on_static(self, message: Any) -> None:
        self._static = [_world_to_base(), *message.transforms]
        if self._publishers:
            self._send_static()

    def _send_static(self) -> None:
        self._publishers[contract.TF_STATIC].publish(self._message(transforms=self._static))


def _world_to_base() -> TransformStamped:
    """The robot stands at the world's origin, by the contract."""
    transform = TransformStamped(child_frame_id=BASE_FRAME)
    transform.header.frame_id = WORLD_FRAME
    transform.transform.rotation.w = 1.0
    return transform


def _names(publishers: list[Any]) -> str:
    names = sorted({f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in publishers})
    return f"{', '.join(names)} publishes {contract.TF.name}" if names else ""


def main(args: list[str] | None = None) -> int:
    """Entry point of the `salus_frames` executable."""
    return run_node(SalusFramesNode, args)
