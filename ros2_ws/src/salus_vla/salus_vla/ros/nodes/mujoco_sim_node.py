"""The embedded simulator as a node: the whole topic contract, in lockstep or in real time.

Uses standard messages only, as every simulator does; the rest of the graph cannot tell it from Isaac Sim.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from salus_vla import contract
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, LOCKSTEP, REALTIME, Topic
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import Pose, SimStep
from salus_vla.health.meters import SLOW, DiagnosticPart, LatencyMeter, Level
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_message
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.reset_services import ResetServices
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import DiagnosticsPublisher
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.adapters.transforms import TransformPublisher
from salus_vla.ros.nodes.sim_parameters import SimParameters
from salus_vla.simulation.frame_pacing import FramePacer
from salus_vla.simulation.mujoco.render import begin_to_find_backend
from salus_vla.simulation.mujoco.simulator import Simulator

_SPIN_S = 1.0  # at most, so that diagnostics come also while a frame waits
_CALLBACKS_WHEN_LATE = 5  # clock, command and services are served also when a frame is late


class MujocoSimNode:
    """Publishes frames and waits, in lockstep, for the commands that answer them."""

    def __init__(self) -> None:
        """Builds the scene and every publisher.

        Raises:
            SalusError: a parameter, the scene file or the robot's model is wrong.
        """
        begin_to_find_backend()  # beside the node and the model: who waits for a graph waits for the first image
        self.node = make_node("mujoco_sim")
        self._parameters = read_parameters(self.node, SimParameters)
        path = self._parameters.scene_file
        self._scene = load_scene(Path(path) if path else None)
        self._simulator = Simulator(self._scene, profile=self._parameters.profile, seed=self._parameters.seed)
        self._publishers = {
            topic.name: self.node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos))
            for topic in contract.SIMULATOR_TOPICS
            if not topic.optional
        }
        self._images = [contract.image_topic(camera).name for camera in CAMERAS]
        self._transforms = TransformPublisher(self.node, self._scene)
        subscribe(self.node, contract.JOINT_COMMAND, self._on_command)
        shown = self._parameters.profile
        self._services = ResetServices(self.node, seed=self._parameters.seed, profile=shown, reset=self._reset)
        self._pacer = FramePacer(
            frame_dt_ns=self._scene.rates.frame_dt_ns,
            lockstep=self._parameters.pacing == LOCKSTEP,
            timeout_s=self._parameters.lockstep_timeout_s,
            wall_s=time.monotonic(),
        )
        self._was_reset = False
        self._diagnostics = DiagnosticsPublisher(self.node)
        self._stages = {stage: LatencyMeter() for stage in ("step", "render", "wait")}
        self._frames = self._commands = self._rejected = self._resets = 0
        self._rejection = ""  # why the last command was rejected
        self._shown = (0, 0, 0)  # frames, rejected commands and timeouts that diagnostics have shown
        self._diagnosed_wall = time.monotonic()
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Publishes frames forever; ends when rclpy shuts down."""
        frame = self._simulator.frame
        while self.node.context.ok():
            self._was_reset = False
            self._publish(frame)
            self._pacer.frame(frame.stamp_ns, time.monotonic())
            self._diagnostics.diagnose(frame.stamp_ns, self._parts)
            self._wait(frame.stamp_ns)
            began = time.perf_counter()
            frame = self._simulator.frame if self._was_reset else self._simulator.step()
            self._stages["step"].add((time.perf_counter() - began) * 1e3)

    def close(self) -> None:
        """Frees the cameras and the node."""
        self._simulator.close()
        self.node.destroy_node()

    def _wait(self, stamp_ns: int) -> None:
        """Handles messages until the next frame may come."""
        began, engaged = time.perf_counter(), self._pacer.engaged
        for _ in range(0 if engaged else _CALLBACKS_WHEN_LATE):
            self._executor.spin_once(timeout_sec=0.0)
        while self.node.context.ok() and (left := self._pacer.wait_s(time.monotonic())) > 0.0:
            self._executor.spin_once(timeout_sec=min(left, _SPIN_S))
            self._diagnostics.diagnose(stamp_ns, self._parts)
        if engaged:
            self._stages["wait"].add((time.perf_counter() - began) * 1e3)
        unanswered_ns = self._pacer.gave_up()
        if unanswered_ns is not None:
            self.node.get_logger().info(
                f"no {contract.JOINT_COMMAND.name} answered stamp {unanswered_ns * 1e-9:.2f} s within "
                f"{self._parameters.lockstep_timeout_s:g} s: running in real time until the next reset"
            )

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_command(self, message: JointState) -> None:
        self._commands += 1
        try:
            self._simulator.set_command(message.name, message.position)
        except SimulatorError as error:
            self._rejected += 1
            if str(error) != self._rejection:  # a stream of them is one line
                self.node.get_logger().warning(f"{contract.JOINT_COMMAND.name}: {error}; the message is ignored")
            self._rejection = str(error)
            return
        self._rejection = ""
        self._pacer.answered(messages.to_ns(message.header.stamp))

    def _reset(self, seed: int, poses: Mapping[str, Pose]) -> int:
        frame = self._simulator.reset(seed, poses=poses)
        self._pacer.reset()
        self._was_reset = True
        self._resets += 1
        return frame.stamp_ns

    # -- to the graph --------------------------------------------------------------------------------------------------

    def _publish(self, frame: SimStep) -> None:
        self._frames += 1
        # In lockstep this node waits for the answer to the joints next, so they go first; the images, which take long
        # to render, go last, and meanwhile the other nodes take the rest. No reader may depend on the order.
        self._send(contract.JOINT_STATES, messages.joint_state(frame))
        self._send(contract.CLOCK, Clock(clock=messages.to_time(frame.stamp_ns)))
        for entity, pose in frame.poses.items():
            self._send(contract.pose_topic(entity), messages.pose_stamped(frame.stamp_ns, pose))
        if frame.contacts:
            self._send(contract.CONTACT, messages.contact_array(frame.stamp_ns, frame.contacts))
        self._transforms.publish(frame.stamp_ns, self._simulator)
        if frame.camera_due:
            self._publish_cameras(frame)

    def _publish_cameras(self, frame: SimStep) -> None:
        cameras = self._scene.cameras
        focal = float(cameras.intrinsics()[0, 0])
        for camera in CAMERAS:
            frame_id = contract.camera_frame(camera)
            info = messages.camera_info(frame.stamp_ns, frame_id, cameras.width, cameras.height, focal)
            self._send(contract.camera_info_topic(camera), info)
        # Rendering is the simulator's largest cost; nobody pays it while nobody looks (the contract allows silence).
        if any(self._publishers[name].get_subscription_count() for name in self._images):
            stamp = messages.to_time(frame.stamp_ns)
            began = time.perf_counter()
            for camera, pixels in self._simulator.render(CAMERAS).items():
                self._send(contract.image_topic(camera), to_message(pixels, stamp, contract.camera_frame(camera)))
            self._stages["render"].add((time.perf_counter() - began) * 1e3)

    def _parts(self) -> list[DiagnosticPart]:
        wall = time.monotonic()
        span_s, self._diagnosed_wall = wall - self._diagnosed_wall, wall
        frames, rejected, timeouts = (now - shown for now, shown in zip(self._counts(), self._shown, strict=True))
        self._shown = self._counts()
        rate = frames / span_s if span_s > 0.0 else 0.0
        expected = 1.0 / self._scene.rates.frame_dt
        values = {"frames_per_wall_s": round(rate, 2), "frames": self._frames, "resets": self._resets}
        latencies = [meter.values(stage) for stage, meter in self._stages.items()]
        values |= {key: value for stage in latencies for key, value in stage.items()}
        # In lockstep it is as fast as the policy; only in real time is there a speed to keep.
        slow = self._parameters.pacing == REALTIME and span_s * expected >= 3.0 and rate < SLOW * expected
        message = f"{rate:.1f} frames per second of wall time, expected {expected:g}" if slow else "ok"
        frame_part = DiagnosticPart("frames", values, Level.WARN if slow else Level.OK, message)
        counts = {"received": self._commands, "rejected": self._rejected, "lockstep_timeouts": self._pacer.timeouts}
        wrong = [f"{rejected} rejected"] * (rejected > 0) + ["the lockstep was given up"] * (timeouts > 0)
        level = Level.WARN if wrong else Level.OK
        return [frame_part, DiagnosticPart("commands", counts, level, ", ".join(wrong) or "ok")]

    def _counts(self) -> tuple[int, int, int]:
        return self._frames, self._rejected, self._pacer.timeouts

    def _send(self, topic: Topic, message: Any) -> None:
        self._publishers[topic.name].publish(message)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `mujoco_sim` executable."""
    return run_node(MujocoSimNode, args, role="simulator")
