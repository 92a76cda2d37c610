"""/tf and /tf_static of the robot, the entities and the cameras, where tf2_msgs is installed (it is not on PyPI)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, WORLD_FRAME
from salus_vla.contract.types import Pose
from salus_vla.ros.adapters.messages import header
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.simulation.mujoco.simulator import Simulator


class TransformPublisher:
    """Publishes world -> body each frame, and world -> camera optical frames once.

    The cameras' frames are the scene's own, also when a profile moves the cameras: a real robot whose camera was
    knocked goes on publishing the pose it was calibrated with, and nothing in the graph may know better.
    """

    def __init__(self, node: Node, scene: Scene) -> None:
        """Creates the publishers, or does nothing forever without tf2_msgs."""
        try:
            self._message = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            self._message = None
            node.get_logger().info(f"tf2_msgs is not installed: no {contract.TF.name}")
            return
        self._tf = node.create_publisher(self._message, contract.TF.name, qos_profile(contract.TF.qos))
        self._static = node.create_publisher(
            self._message, contract.TF_STATIC.name, qos_profile(contract.TF_STATIC.qos)
        )
        poses = {contract.camera_frame(camera): scene.cameras.views[camera].optical_pose() for camera in CAMERAS}
        self._static.publish(self._message(transforms=list(transforms(0, poses))))

    def publish(self, stamp_ns: int, simulator: Simulator) -> None:
        """Publishes the poses of all bodies."""
        if self._message is not None:
            self._tf.publish(self._message(transforms=list(transforms(stamp_ns, simulator.body_poses()))))


def transforms(stamp_ns: int, poses: Mapping[str, Pose]) -> Iterable[TransformStamped]:
    """Transforms from the world to each named frame."""
    for name, pose in poses.items():
        message = TransformStamped(header=header(stamp_ns, WORLD_FRAME), child_frame_id=name)
        shift, turn = message.transform.translation, message.transform.rotation
        shift.x, shift.y, shift.z = (float(v) for v in pose.position)
        turn.x, turn.y, turn.z, turn.w = (float(v) for v in pose.quaternion)
        yield message
