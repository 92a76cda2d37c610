"""One policy at work in the graph: cameras and joints in, joint targets and safety signals out.

All decisions are the controller's; this matches messages to observations, runs inference beside the callbacks, answers
joint states with commands and watches what comes. `vla_ensemble_node` makes one when it is configured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.contract import CAMERAS
from salus_vla.control.controller import NO_DECISION_YET, NO_EPISODE, Controller, Decision
from salus_vla.control.observations import ObservationMatcher
from salus_vla.control.turns import Turns
from salus_vla.frames import FloatArray, Observation
from salus_vla.nodes import messages
from salus_vla.nodes.ensemble_parameters import EnsembleParameters
from salus_vla.nodes.ensemble_watch import EnsembleWatch
from salus_vla.nodes.images import to_array
from salus_vla.nodes.lifecycle import destroy
from salus_vla.nodes.qos import profile
from salus_vla.nodes.signal_messages import safety_signals
from salus_vla.nodes.sim_parameters import LOCKSTEP
from salus_vla.nodes.status import StatusPublisher
from salus_vla.nodes.subscribe import subscribe
from salus_vla.nodes.worker import Worker
from salus_vla.scene import Scene
from salus_vla.watch.meters import Part
from salus_vla.watch.pacing import commands_due
from salus_vla.watch.watchdog import MISSING_CLOCK, Trip

_WALL_PERIOD_S = 0.1
_INACTIVE = "the node is not active"


@dataclass(frozen=True)
class _Job:
    """What the worker decides on: an observation and the arm command in force at its stamp."""

    observation: Observation
    command_in_force: FloatArray | None


class Commander:
    """Wires a controller to the topics; commands between `activate` and `deactivate` only."""

    def __init__(
        self,
        node: Node,
        parameters: EnsembleParameters,
        scene: Scene,
        controller: Controller,
        status: StatusPublisher,
        entities: tuple[str, ...] = (),
    ) -> None:
        """Connects.

        Args:
            node: gets publishers, subscriptions, timers and the service.
            parameters: of the node.
            scene: its rates.
            controller: with its policy.
            status: of the node.
            entities: whose ground truth the policy reads.
        """
        self._node, self._status, self._controller, self._entities = node, status, controller, entities
        self._period_ns, self._frame_ns = scene.rates.decision_dt_ns, scene.rates.frame_dt_ns
        self._lockstep = parameters.pacing == LOCKSTEP
        self._turns = Turns(period_ns=self._period_ns, frame_ns=self._frame_ns, lockstep=self._lockstep)
        self._matcher = ObservationMatcher(self._frame_ns // 2, entities=entities)
        self._watch = EnsembleWatch(node, parameters)
        self._active = False
        self._held: Trip | None = None  # latched until it is reset
        self._failed = False
        self._episode: Episode | None = None
        self._episode_seen = False  # since the last diagnostics
        self._joints: tuple[int, FloatArray] | None = None
        self._waiting: Observation | None = None  # a camera set that came before the start of its episode was known
        self._observed = False  # whether a complete observation has come; READY is said then, not on hope
        self._limited = self._refused = 0
        self._worker: Worker[_Job, Decision] = Worker(node, self._decide, self._on_decision, self._on_failed_decision)
        self._made: list[Any] = []  # publishers, subscriptions, timers, the service
        self._connect()

    def activate(self) -> None:
        """Commands from now on; in an episode that is running already, from the next decision on."""
        self._active = True
        if self._episode is not None:
            self._watch.dog.arm(time.monotonic())
        if self._held is None:
            self._go_on("activated")

    def deactivate(self) -> None:
        """The arm brakes and holds: joint states are answered until it rests."""
        self._active = False
        self._watch.dog.disarm()
        self._controller.drop_plan(Status.REASON_INACTIVE, _INACTIVE)
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, _INACTIVE, self._watch.dog.now_ns or 0)
        self._answer()  # a simulator in lockstep waits for it

    def close(self) -> None:
        """Ends the worker and disconnects."""
        self._worker.stop()
        destroy(self._node, self._made)

    def _connect(self) -> None:
        node = self._node
        command, signals = contract.JOINT_TARGET, contract.SAFETY_SIGNALS
        self._commands = node.create_publisher(JointState, command.name, profile(command.qos))
        self._signals = node.create_publisher(SafetySignals, signals.name, profile(signals.qos))
        if node.get_parameter("use_sim_time").value:
            self._made.append(subscribe(node, contract.CLOCK, lambda m: self._on_time(messages.to_ns(m.clock))))
        else:
            now = node.get_clock().now
            self._made.append(node.create_timer(self._frame_ns * 1e-9, lambda: self._on_time(now().nanoseconds)))
        wall = node.create_timer(_WALL_PERIOD_S, self._on_wall, clock=Clock(clock_type=ClockType.STEADY_TIME))
        reset = node.create_service(Trigger, contract.RESET_HOLD.name, self._on_reset_hold)
        self._made += [self._commands, self._signals, wall, reset]
        self._made.append(subscribe(node, contract.JOINT_STATES, self._on_joints))
        self._made.append(subscribe(node, contract.EPISODE, self._on_episode))
        for camera in CAMERAS:
            self._made.append(subscribe(node, contract.image_topic(camera), partial(self._on_image, camera)))
        for entity in self._entities:
            self._made.append(subscribe(node, contract.pose_topic(entity), partial(self._on_pose, entity)))

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_episode(self, message: Episode) -> None:
        if message.kind == Episode.STARTED:
            self._episode = message
            answered_ns = self._turns.answered_ns
            self._turns.start(messages.to_ns(message.header.stamp))
            if self._held is not None:  # commands go on while the arm is held: none twice
                self._turns.answered_ns = answered_ns
            self._worker.drain()
            self._controller.start_episode(message.seed)
            self._failed = False
            if not self._active:
                self._controller.drop_plan(Status.REASON_INACTIVE, _INACTIVE)
                return
            self._watch.dog.arm(time.monotonic())
            self._episode_seen = True
            if self._held is None:
                self._status.say(Status.RUNNING, stamp_ns=self._turns.start_ns)
            else:
                self._controller.drop_plan(self._held.reason, self._held.detail)
            waiting, self._waiting = self._waiting, None
            self._on_observation(waiting)
            self._answer()
        elif message.kind == Episode.ENDED and self._episode is not None and message.episode == self._episode.episode:
            self._turns.end_ns = messages.to_ns(message.header.stamp)
            self._answer()

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        stamp_ns = messages.to_ns(message.header.stamp)
        self._check_lockstep(stamp_ns)
        if not self._watch.joints(stamp_ns, self._plan_age_ns(stamp_ns)):
            return
        self._hold_if_tripped()
        self._joints = (stamp_ns, position)
        self._on_observation(self._matcher.add_joints(stamp_ns, position, self._task))
        self._answer()

    def _on_image(self, camera: str, message: Image) -> None:
        stamp_ns, pixels = messages.to_ns(message.header.stamp), to_array(message)
        if not self._watch.image(camera, stamp_ns, pixels, self._joints[1] if self._joints is not None else None):
            return
        self._on_observation(self._matcher.add_image(camera, stamp_ns, pixels, self._task))

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        stamp_ns, pose = messages.to_ns(message.header.stamp), messages.to_pose(message)
        self._on_observation(self._matcher.add_pose(entity, stamp_ns, pose, self._task))

    @property
    def _task(self) -> str:
        return self._episode.task if self._episode is not None else ""

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _on_observation(self, observation: Observation | None) -> None:
        if observation is None:
            return
        stamp_ns = observation.stamp_ns
        self._watch.complete()
        if not self._active:
            return
        if not self._observed:
            self._observed = True
            if self._held is None:
                self._status.say(Status.READY, stamp_ns=stamp_ns)
        if self._episode is None or stamp_ns < self._turns.start_ns or self._turns.over(stamp_ns):
            # The first set of an episode may overtake the message that starts it.
            self._waiting = observation
            return
        if observation.task != self._task:
            observation = replace(observation, task=self._task)
        self._turns.submitted_ns = stamp_ns
        self._worker.submit(_Job(observation, self._controller.command_in_force))

    def _decide(self, job: _Job) -> Decision:
        return self._controller.decide(job.observation, job.command_in_force)

    def _on_decision(self, decision: Decision) -> None:
        if self._joints is None or decision.stamp_ns < self._turns.start_ns:
            return  # decided for an episode that is over
        now_ns, measured = self._joints
        if decision.stamp_ns > now_ns + self._period_ns:
            return  # decided before the clock jumped back
        self._turns.decided_ns = decision.stamp_ns
        self._watch.decided(decision.stamp_ns, decision.inference_ms)
        self._signals.publish(safety_signals(decision))
        if self._held is None and self._active:
            self._controller.accept(decision, max(now_ns, decision.stamp_ns), measured)
        self._answer()

    def _on_failed_decision(self, job: _Job, error: Exception) -> None:
        if job.observation.stamp_ns < self._turns.start_ns:
            return  # of an episode that is over
        self._turns.decided_ns = job.observation.stamp_ns
        self._fail(Status.REASON_NO_VALID_POLICY, f"{type(error).__name__}: {error}")
        self._answer()

    def _fail(self, reason: str, detail: str) -> None:
        """The arm brakes and holds, and the status says FAILED, until the next episode starts."""
        if self._held is not None or not self._active:  # the first reason stays
            self._node.get_logger().error(f"{reason}: {detail}")
            return
        self._failed = True
        self._watch.dog.disarm()
        stamp_ns = self._joints[0] if self._joints is not None else 0
        self._status.say(Status.FAILED, reason, detail, stamp_ns)
        self._controller.drop_plan(reason, detail)

    # -- commanding ----------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Answers the newest joint frame with a command, in lockstep only when its decision is made."""
        if self._episode is None or self._joints is None:
            return
        stamp_ns = self._joints[0]
        if not self._turns.is_next(stamp_ns):
            return
        if not self._active:
            if not self._controller.resting:
                self._send(stamp_ns, quiet=True)
            return
        ended = self._turns.ended(stamp_ns)
        if not ended and self._lockstep and self._held is None and self._turns.decision_due(stamp_ns):
            return
        if ended:
            if self._controller.resting:
                self._watch.dog.disarm()
                if self._held is None:
                    self._status.say(Status.READY, stamp_ns=stamp_ns)
                return
            if self._held is None:
                self._controller.drop_plan(NO_EPISODE, "the episode is over")
        self._send(stamp_ns, quiet=ended or self._failed)

    def _send(self, stamp_ns: int, *, quiet: bool) -> None:
        """Commands and, unless `quiet`, says whether the arm follows a plan."""
        began = time.perf_counter()
        assert self._joints is not None
        measured_ns, measured = self._joints
        command = self._controller.command(stamp_ns, measured, measured_ns)
        self._turns.answered_ns = stamp_ns
        self._commands.publish(messages.joint_command(stamp_ns, command.position))
        self._watch.commanded(stamp_ns, began)
        self._limited += command.limited
        if quiet or self._held is not None:
            return
        if command.hold_reason:
            self._refused += command.hold_reason == Status.REASON_COMMAND_REFUSED
            self._status.say(Status.HOLDING, command.hold_reason, command.detail, stamp_ns)
        else:
            self._status.say(Status.RUNNING, stamp_ns=stamp_ns)

    def _keep_commanding(self, now_ns: int) -> None:
        """Commands that no joint state asked for, one per frame, so that the stream neither stops nor jumps.

        While held that is up to now; in realtime otherwise up to a frame ago, for joint states that are on their way.
        """
        if self._joints is None or self._turns.answered_ns < 0:
            return
        held = self._held is not None or not self._active
        over = (self._turns.over(now_ns) or not self._active) and self._controller.resting
        waits = self._lockstep or self._episode is None or self._failed or self._turns.end_ns is not None
        if over or (not held and waits):
            return
        until_ns = now_ns if held else now_ns - self._frame_ns
        stamps, stands = commands_due(self._turns.answered_ns, until_ns, self._frame_ns)
        if stands:
            self._controller.stand()
        for stamp_ns in stamps:
            self._send(stamp_ns, quiet=not self._active)

    # -- watching ------------------------------------------------------------------------------------------------------

    def _on_time(self, now_ns: int) -> None:
        self._check_lockstep(now_ns)
        if self._watch.clock(now_ns, self._plan_age_ns(now_ns)):
            self._forget_stamps(now_ns)
        self._hold_if_tripped()
        self._keep_commanding(now_ns)
        self._status.diagnose(now_ns, lambda: self._diagnostics(now_ns))

    def _on_wall(self) -> None:
        """Sees what ROS time cannot show: a clock that is missing or stands still."""
        stamp_ns = self._joints[0] if self._joints is not None else 0
        due = self._lockstep and self._turns.is_next(stamp_ns) and self._turns.decision_due(stamp_ns)
        self._watch.dog.wall(time.monotonic(), thinking=self._turns.thinking, set_due=due)
        self._hold_if_tripped()
        now_ns = self._watch.dog.now_ns or 0
        self._status.diagnose(now_ns, lambda: self._diagnostics(now_ns))

    def _hold_if_tripped(self) -> None:
        trip = self._watch.dog.trip
        if trip is None or trip is self._held:
            return
        self._held = trip
        self._node.get_logger().error(f"{trip.reason}: {trip.detail}; holding until {contract.RESET_HOLD.name}")
        self._controller.drop_plan(trip.reason, trip.detail)
        state = Status.FAILED if trip.reason == MISSING_CLOCK else Status.HOLDING
        self._status.say(state, trip.reason, trip.detail, trip.stamp_ns)
        self._answer()  # a simulator in lockstep waits for it

    def _forget_stamps(self, now_ns: int) -> None:
        """After a clock that jumped back: nothing received or decided before can be compared with what comes."""
        self._matcher = ObservationMatcher(self._frame_ns // 2, entities=self._entities)
        self._episode = self._waiting = None
        commanding = self._turns.answered_ns >= 0
        self._turns.forget()
        if self._joints is not None:
            self._joints = (now_ns, self._joints[1])
        if commanding:  # an arm that is moving goes on braking where it is
            self._turns.answered_ns = now_ns - self._frame_ns

    def _on_reset_hold(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        trip, response.success = self._release(), True
        response.message = f"was held by {trip.reason}: {trip.detail}" if trip is not None else "nothing was held"
        return response

    def _release(self) -> Trip | None:
        """Ends a latched hold and gives its reason; the arm rests until the next decision on what it sees then."""
        trip, self._held = self._watch.dog.reset(time.monotonic()), None
        if trip is not None and self._active:
            self._go_on(f"the hold ({trip.reason}) was reset")
        return trip

    def _go_on(self, detail: str) -> None:
        """After a hold: the next decision gives a plan, and in lockstep no frame waits for one before."""
        self._controller.drop_plan(NO_DECISION_YET, detail)
        stamp_ns = self._watch.dog.now_ns or 0
        if self._episode is not None and not self._turns.over(stamp_ns):
            self._turns.skip_to_answered()
            self._status.say(Status.HOLDING, NO_DECISION_YET, detail, stamp_ns)
        else:
            self._status.say(Status.READY if self._observed else Status.STARTING, detail=detail, stamp_ns=stamp_ns)

    def _check_lockstep(self, now_ns: int) -> None:
        """A simulator that went on without the answer to its last frame has given up waiting.

        Comes before the watchdog: everything is stale to a node that was not waited for, and that is not the reason.
        """
        if self._failed or not self._active or self._episode is None or self._joints is None:
            return
        if self._turns.lost(self._joints[0], now_ns):
            self._fail(
                Status.REASON_LOCKSTEP_LOST,
                f"the simulator did not wait for the command of stamp {self._joints[0] * 1e-9:.2f} s; "
                "if decisions are that slow, raise mujoco_sim's lockstep_timeout_s",
            )

    def _plan_age_ns(self, now_ns: int) -> int | None:
        return self._controller.plan_age_ns(now_ns)

    def _diagnostics(self, now_ns: int) -> list[Part]:
        age_ns, overtaken = self._plan_age_ns(now_ns), self._worker.overwritten
        commands = {"commands_limited": self._limited, "commands_refused": self._refused}
        commands |= {f"holds_{reason}": count for reason, count in self._status.holds.items()}
        judged = self._episode is not None and self._turns.end_ns is None and not self._episode_seen
        self._episode_seen = False
        return self._watch.parts(now_ns, judged, self._matcher, overtaken, age_ns, commands)
