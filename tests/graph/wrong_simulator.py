"""Simulators that break rules of the topic contract, to show that `salus check-sim` says so.

They are the embedded one with deliberate mistakes in what it sends, in how it reads commands and in how it resets; the
first word of the command line says which.
"""

import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

from sensor_msgs.msg import JointState

from salus_vla import contract
from salus_vla.contract import JOINTS, Topic
from salus_vla.contract.types import Pose
from salus_vla.ros.adapters.image_messages import to_array, to_message
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.nodes.mujoco_sim_node import MujocoSimNode

BACK_S = 1000  # what its clock loses at each reset
# Rules that each breaks and nothing else; `test_check_sim.py` compares.
BROKEN_BY_WRONG = {
    "topic /ground_truth/blue_bin/pose",
    "rate /camera_side/camera_info",
    "image and camera_info side",
    "monotonic /clock",
    "stamps are sim time",
    "reset clock goes on",
    "image front",
    "camera_info top",
    "side pose",
    "command unknown",
    "command newest",
    "reset with another seed",
}


class WrongSimNode(MujocoSimNode):
    """The embedded simulator with mistakes."""

    def __init__(self) -> None:
        self._waiting: deque[JointState] = deque()
        super().__init__()
        self._sent = self._lost_s = 0
        bin_pose = contract.pose_topic("blue_bin")
        self.node.destroy_publisher(self._publishers[bin_pose.name])
        self._publishers[bin_pose.name] = self.node.create_publisher(
            interface_class(bin_pose), bin_pose.name, qos_profile(contract.LATCHED)
        )
        command = contract.JOINT_COMMAND
        self.node.create_subscription(JointState, command.name, self._queue, qos_profile(command.qos, depth=10))

    def _on_command(self, message: JointState) -> None:
        """Nothing: commands are read below, one per frame from a long queue."""

    def _queue(self, message: JointState) -> None:
        self._waiting.append(message)

    def _obey(self, message: JointState) -> None:
        known = [(name, value) for name, value in zip(message.name, message.position, strict=True) if name in JOINTS]
        names, positions = zip(*known, strict=True)
        super()._on_command(JointState(header=message.header, name=names, position=positions))

    def _reset(self, seed: int, poses: dict[str, Pose]) -> int:
        self._lost_s += BACK_S
        self._waiting.clear()
        return super()._reset(2, poses)

    def _send(self, topic: Topic, message: Any) -> None:
        if topic == contract.CLOCK:
            if self._waiting:
                self._obey(self._waiting.popleft())
            message.clock.sec += 10 * BACK_S - self._lost_s
        elif topic == contract.camera_info_topic("side"):
            self._sent += 1
            if self._sent % 2:
                return
        elif topic == contract.camera_info_topic("top"):
            message.k[0] *= 1.1
        elif topic == contract.image_topic("front"):
            message.encoding = "bgr8"
        elif topic == contract.image_topic("side"):
            message = to_message(to_array(message)[:, ::-1], message.header.stamp, message.header.frame_id)
        super()._send(topic, message)


BROKEN_BY_CARELESS = {
    "joints names",
    "joints lengths",
    "joints frame_id",
    "image and camera_info side",
    "image top",
    "camera_info front",
    "pose red_cube",
    "contact after a reset",
    "command subset",
    "command held",
    "command nan",
    "command unknown",
    "reset targets at home",
    "reset with a seed again",
}


class CarelessSimNode(MujocoSimNode):
    """The embedded simulator with other mistakes."""

    def _on_command(self, message: JointState) -> None:
        message.position = [0.0 if value != value else value for value in message.position]
        super()._on_command(message)

    def _reset(self, seed: int, poses: Mapping[str, Pose]) -> int:
        stamp_ns = super()._reset(seed + self._resets, poses)
        self._simulator.set_command(["panda_joint6"], [1.7])
        return stamp_ns

    def _send(self, topic: Topic, message: Any) -> None:
        if topic == contract.JOINT_STATES:
            message.name[7:] = message.name[:6:-1]
            message.effort = [0.0] * 8
            message.header.frame_id = contract.WORLD_FRAME
        elif topic == contract.camera_info_topic("side"):
            message.header.stamp.nanosec ^= 1
        elif topic == contract.camera_info_topic("front"):
            message.distortion_model = "equidistant"
        elif topic == contract.image_topic("top"):
            message.header.frame_id = "top"
        elif topic == contract.pose_topic("red_cube"):
            message.header.frame_id = "table"
        elif topic == contract.CONTACT:
            message.header.frame_id = ""
        super()._send(topic, message)


BROKEN = {"wrong": BROKEN_BY_WRONG, "careless": BROKEN_BY_CARELESS}

if __name__ == "__main__":
    sys.exit(run_node({"wrong": WrongSimNode, "careless": CarelessSimNode}[sys.argv.pop(1)]))
