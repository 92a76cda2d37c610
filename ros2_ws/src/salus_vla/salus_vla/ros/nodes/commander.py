"""Carries messages between the graph and an `Authority`, which decides whether the arm may move and what is sent."""

from __future__ import annotations

import time
from functools import partial

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, Status
from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, LOCKSTEP
from salus_vla.contract.message_readers import measured_joints
from salus_vla.contract.reasons import DEADMAN
from salus_vla.control.authority import Authority
from salus_vla.control.authority_types import EpisodeStart, Job, Refuse
from salus_vla.control.controller import Controller
from salus_vla.control.decision import Decision
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_array
from salus_vla.ros.adapters.lifecycle import destroy
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.adapters.worker import Worker
from salus_vla.ros.nodes.authority_output import AuthorityOutput
from salus_vla.ros.nodes.ensemble_diagnostics import EnsembleDiagnostics
from salus_vla.ros.nodes.ensemble_parameters import EnsembleParameters

_WALL_PERIOD_S = 0.1


class Commander:
    """Wires a controller to the topics; commands between `activate` and `deactivate` only."""

    def __init__(
        self, node: Node, parameters: EnsembleParameters, scene: Scene, controller: Controller, status: StatusPublisher,
        entities: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Connects a node with its status; the policy of the controller reads the ground truth of some entities."""
        self._node, self._status, self._controller, self._entities = node, status, controller, entities
        self._frame_ns, self._lockstep = scene.rates.frame_dt_ns, parameters.pacing == LOCKSTEP
        self._authority = Authority(
            controller,
            frame_ns=self._frame_ns, period_ns=scene.rates.decision_dt_ns, lockstep=self._lockstep,
            limits=parameters.watch_limits, wall_s=time.monotonic(), entities=entities,
        )  # fmt: skip
        self._watch = EnsembleDiagnostics(node, self._authority)
        self._epoch = -1  # of the newest decision, in the worker's thread
        self._worker: Worker[Job, tuple[Job, Decision]] = Worker(
            node, self._decide, lambda result: self._do(self._authority.decided(*result)), self._on_failed_decision
        )
        row_s = scene.rates.decision_dt_ns * 1e-9
        output = AuthorityOutput(node, status, self._watch, self._worker, row_s, controller.safety)
        # Without an image there is no observation, and without one it is not READY.
        self._connected = lambda: output.reaches(parameters.commands_to, parameters.recorded_by)
        self._is_connected = False
        self._do, self._made = output.carry, list(output.made)  # publishers, subscriptions, timers, the service
        self._connect()

    def activate(self) -> None:
        """Commands from now on; in an episode that is running already, from the next decision on."""
        self._do(self._authority.activate(time.monotonic()))

    def deactivate(self) -> None:
        """The arm brakes and holds: joint states are answered until it rests."""
        self._do(self._authority.deactivate())

    def close(self, patience_s: float) -> None:
        """Ends the worker and disconnects; raises SalusError where a decision takes longer than that [s]."""
        self._worker.stop(patience_s)
        destroy(self._node, self._made)

    def _connect(self) -> None:
        node = self._node
        if node.get_parameter("use_sim_time").value:
            self._made.append(subscribe(node, contract.CLOCK, lambda m: self._on_time(messages.to_ns(m.clock))))
        else:
            now = node.get_clock().now
            self._made.append(node.create_timer(self._frame_ns * 1e-9, lambda: self._on_time(now().nanoseconds)))
        wall = node.create_timer(_WALL_PERIOD_S, self._on_wall, clock=Clock(clock_type=ClockType.STEADY_TIME))
        reset = node.create_service(Trigger, contract.RESET_HOLD.name, self._on_reset_hold)
        self._made += [wall, reset, subscribe(node, contract.JOINT_STATES, self._on_joints)]
        self._made.append(subscribe(node, contract.EPISODE, self._on_episode))
        if not self._lockstep:  # in lockstep no command comes late
            self._made.append(subscribe(node, contract.STATUS_TOPIC, self._on_status, keep_all=True))
            self._made.append(subscribe(node, contract.JOINT_COMMAND, self._on_command))
        self._made += [subscribe(node, contract.image_topic(name), partial(self._on_image, name)) for name in CAMERAS]
        poses = self._entities
        self._made += [subscribe(node, contract.pose_topic(name), partial(self._on_pose, name)) for name in poses]

    def _on_episode(self, message: Episode) -> None:
        stamp_ns = messages.to_ns(message.header.stamp)
        if message.kind == Episode.STARTED:
            self._worker.forget()
            start = EpisodeStart(message.episode, message.seed, message.task, stamp_ns)
            self._do(self._authority.episode_started(start, time.monotonic()))
        elif message.kind == Episode.ENDED:
            self._do(self._authority.episode_ended(message.episode, stamp_ns))

    def _on_joints(self, message: JointState) -> None:
        stamp_ns, joints = messages.to_ns(message.header.stamp), measured_joints(message)
        self._watch.joints(stamp_ns)
        self._do(self._authority.joints(stamp_ns, joints[0], joints[1:]))

    def _on_image(self, camera: str, message: Image) -> None:
        self._is_connected = self._is_connected or self._connected()
        if not self._is_connected:
            return
        stamp_ns, pixels = messages.to_ns(message.header.stamp), to_array(message)
        outputs = self._authority.image(camera, stamp_ns, pixels)
        if not any(isinstance(output, Refuse) for output in outputs):
            self._watch.image(camera, stamp_ns, pixels, self._authority.arm)
        self._do(outputs)

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        self._do(self._authority.pose(entity, messages.to_ns(message.header.stamp), messages.to_pose(message)))

    def _on_status(self, message: Status) -> None:
        if message.role == "gate":
            holds, stamp_ns = message.state == Status.HOLDING, messages.to_ns(message.header.stamp)
            self._do(self._authority.gate_holds(holds and message.reason == DEADMAN, stamp_ns))

    def _on_command(self, message: JointState) -> None:
        stamp_ns, position = messages.to_ns(message.header.stamp), messages.joint_positions(message)
        self._do(self._authority.gate_commanded(stamp_ns, position))

    def _on_time(self, now_ns: int) -> None:
        jumped, outputs = self._authority.clock(now_ns, time.monotonic())
        self._watch.clock(now_ns, jumped)
        self._do(outputs)
        self._diagnose(now_ns)

    def _on_wall(self) -> None:
        self._do(self._authority.wall(time.monotonic()))
        self._diagnose(self._authority.watchdog.now_ns or 0)

    def _diagnose(self, now_ns: int) -> None:
        self._status.diagnose(now_ns, lambda: self._watch.parts(now_ns, self._worker.overwritten, self._status.holds))

    def _on_reset_hold(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        trip, outputs = self._authority.reset_hold(time.monotonic())
        self._do(outputs)
        response.success, response.message = True, "nothing was held"
        if trip is not None:
            response.message = f"was held by {trip.reason}: {trip.detail}"
        return response

    def _decide(self, job: Job) -> tuple[Job, Decision]:
        """In the worker's thread."""
        if job.epoch != self._epoch:
            self._epoch = job.epoch
            self._controller.start_decisions(job.seed)
        return job, self._controller.decide(job.observation, job.command_in_force)

    def _on_failed_decision(self, job: Job, error: Exception) -> None:
        self._do(self._authority.decision_failed(job, f"{type(error).__name__}: {error}"))
