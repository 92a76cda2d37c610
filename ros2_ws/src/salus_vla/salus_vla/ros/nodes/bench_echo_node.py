"""The other side of the transport benchmark: takes images and answers each joint state with a command."""

from __future__ import annotations

from functools import partial

from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState

from salus_vla import contract
from salus_vla.contract import CAMERAS
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_array
from salus_vla.ros.adapters.node_parameters import make_node
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.run_node import run_node


class EchoNode:
    """Answers the first joint state of a camera set once all three images are there."""

    def __init__(self) -> None:
        """Connects."""
        self.node = make_node("salus_bench_echo")
        self._images: dict[str, int] = {}
        command, states = contract.JOINT_COMMAND, contract.JOINT_STATES
        self._commands = self.node.create_publisher(JointState, command.name, qos_profile(command.qos))
        self.node.create_subscription(JointState, states.name, self._on_joints, qos_profile(states.qos))
        for camera in CAMERAS:
            topic = contract.image_topic(camera)
            self.node.create_subscription(Image, topic.name, partial(self._on_image, camera), qos_profile(topic.qos))
        self._waiting: JointState | None = None

    def run(self) -> None:
        """Spins until it is terminated."""
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        executor.spin()

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    def _on_image(self, camera: str, message: Image) -> None:
        to_array(message)
        self._images[camera] = messages.to_ns(message.header.stamp)
        self._answer()

    def _on_joints(self, message: JointState) -> None:
        self._waiting = message
        self._answer()

    def _answer(self) -> None:
        if self._waiting is None or len(self._images) < len(CAMERAS):
            return
        stamp_ns = messages.to_ns(self._waiting.header.stamp)
        # Every fifth joint state has images of its own stamp; the others come up to four frames (80 ms) after them.
        if min(self._images.values()) < stamp_ns - 80_000_000:
            return
        self._commands.publish(messages.joint_command(stamp_ns, messages.joint_positions(self._waiting)))
        self._waiting = None


if __name__ == "__main__":
    raise SystemExit(run_node(EchoNode))
