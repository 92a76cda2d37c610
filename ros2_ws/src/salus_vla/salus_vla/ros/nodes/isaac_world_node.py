"""Isaac Sim's part of the topic contract that its graph does not publish: ground truth, commands, resets, pacing.

Runs in Isaac's own Python with Isaac's rclpy: standard messages only, and nothing that needs pydantic or Python 3.12.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, JointState

from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.message_readers import to_ns
from salus_vla.contract.types import Pose
from salus_vla.ros.adapters import standard_messages as messages
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.reset_services import ResetServices
from salus_vla.simulation.frame_pacing import FramePacer
from salus_vla.simulation.isaac.channel import Channel
from salus_vla.simulation.isaac.runtime.world import GroundTruth, World
from salus_vla.simulation.isaac.scene_spec import ResetSample, SceneSpec, reset_sample_from_json
from salus_vla.simulation.isaac.spec_poses import numbers_of

NODE = "isaac_world"
_SPIN_S = 0.2  # at most, so that a stop is noticed while a frame waits
_CALLBACKS_PER_FRAME = 5  # command, image and services are served also when a frame is late
_PICTURES = contract.camera_info_topic(CAMERAS[0])


def run(world: World, spec: SceneSpec, channel: Channel, stop: Callable[[], bool]) -> None:
    """Steps the world and publishes it until `stop` is true.

    Raises:
        SimulatorError: sim time stands still, or `isaac_sim` has gone.
    """
    # Kit and isaac_standalone.py handle the signals.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = IsaacWorldNode(world, spec, channel, stop)
    try:
        node.run()
    finally:
        node.close()
        rclpy.try_shutdown()


class IsaacWorldNode:
    """Publishes each frame and waits, in lockstep, for the command that answers it."""

    def __init__(self, world: World, spec: SceneSpec, channel: Channel, stop: Callable[[], bool]) -> None:
        """Creates publishers and subscriptions, and puts the scene of the first seed in place."""
        self._world = world
        self._spec = spec
        self._channel = channel
        self._stop = stop
        self.node = rclpy.create_node(NODE)
        topics = (contract.CONTACT, *map(contract.pose_topic, ENTITIES))
        self._publishers = {
            topic.name: self.node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos))
            for topic in topics
        }
        command = contract.JOINT_COMMAND
        self.node.create_subscription(JointState, command.name, self._on_command, qos_profile(command.qos))
        # A subscriber of our own says when the cameras publish; without any, Isaac Sim's publishers are silent.
        self.node.create_subscription(CameraInfo, _PICTURES.name, self._on_picture, qos_profile(_PICTURES.qos))
        self._services: ResetServices | None = None
        self._pacer = FramePacer(
            frame_dt_ns=spec.frame_dt_ns,
            lockstep=spec.pacing == contract.LOCKSTEP,
            timeout_s=spec.lockstep_timeout_s,
            wall_s=time.monotonic(),
        )
        self._rejection = ""
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)
        world.begin(self._reset_sample(spec.seed, {}))

    def run(self) -> None:
        """Publishes frames until the end.

        Raises:
            SimulatorError: sim time stands still.
        """
        while not self._stop():
            if self._services is None and self._world.knows_cameras:
                # A reset ends on a camera frame, so none is offered before.
                spec = self._spec
                self._services = ResetServices(self.node, seed=spec.seed, profile=spec.profile, reset=self._reset)
                self._start_over(spec.seed, {})
            else:
                self._publish(self._world.step())
            self._wait()

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    def _wait(self) -> None:
        """Handles messages until the next frame may come."""
        for _ in range(0 if self._pacer.engaged else _CALLBACKS_PER_FRAME):
            self._executor.spin_once(timeout_sec=0.0)
        while not self._stop() and (left := self._pacer.wait_s(time.monotonic())) > 0.0:
            self._executor.spin_once(timeout_sec=min(left, _SPIN_S))
        unanswered_ns = self._pacer.gave_up()
        if unanswered_ns is not None:
            self.node.get_logger().info(
                f"no {contract.JOINT_COMMAND.name} answered stamp {unanswered_ns * 1e-9:.2f} s within "
                f"{self._spec.lockstep_timeout_s:g} s: running in real time until the next reset"
            )

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_command(self, message: JointState) -> None:
        try:
            self._world.set_command(message.name, message.position)
        except SimulatorError as error:
            if str(error) != self._rejection:  # a stream of them is one line
                self.node.get_logger().warning(f"{contract.JOINT_COMMAND.name}: {error}; the message is ignored")
            self._rejection = str(error)
            return
        self._rejection = ""
        self._pacer.answered(to_ns(message.header.stamp))

    def _on_picture(self, message: CameraInfo) -> None:
        self._world.saw_picture(to_ns(message.header.stamp))

    def _reset(self, seed: int, poses: Mapping[str, Pose]) -> int:
        self._pacer.reset()
        return self._start_over(seed, poses)  # its last frame, published by now, is the one that waits

    def _start_over(self, seed: int, poses: Mapping[str, Pose]) -> int:
        return self._world.reset(self._reset_sample(seed, poses), self._publish).stamp_ns

    def _reset_sample(self, seed: int, poses: Mapping[str, Pose]) -> ResetSample:
        given = {name: numbers_of(pose) for name, pose in poses.items()}
        return reset_sample_from_json(self._channel.ask("reset_sample", seed=seed, poses=given))

    # -- to the graph --------------------------------------------------------------------------------------------------

    def _publish(self, frame: GroundTruth) -> None:
        self._pacer.frame(frame.stamp_ns, time.monotonic())
        for entity, pose in frame.poses.items():
            self._send(contract.pose_topic(entity).name, messages.pose_stamped(frame.stamp_ns, pose))
        if frame.contacts:
            self._send(contract.CONTACT.name, messages.contact_array(frame.stamp_ns, frame.contacts))

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)
