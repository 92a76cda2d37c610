"""The policy in the graph: cameras and joints in, joint commands and safety signals out.

All decisions are the controller's; this node matches messages to observations, runs inference beside the callbacks and
publishes. Without a valid policy it holds the arm and says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES
from salus_vla.control.controller import NO_DECISION_YET, NO_EPISODE, Controller, Decision
from salus_vla.control.observations import ObservationMatcher
from salus_vla.errors import ModelError, SimulatorError
from salus_vla.frames import FloatArray, Observation
from salus_vla.nodes import messages
from salus_vla.nodes.ensemble_parameters import EnsembleParameters
from salus_vla.nodes.ensemble_policy import load_controller
from salus_vla.nodes.ensemble_watch import EnsembleWatch
from salus_vla.nodes.images import BACKEND, to_array
from salus_vla.nodes.main import run_node
from salus_vla.nodes.mujoco_sim_node import LOCKSTEP
from salus_vla.nodes.parameters import make_node, read_parameters
from salus_vla.nodes.qos import profile
from salus_vla.nodes.status import StatusPublisher
from salus_vla.nodes.subscribe import subscribe
from salus_vla.nodes.worker import Worker
from salus_vla.scene import load_scene
from salus_vla.watch.meters import Part
from salus_vla.watch.pacing import commands_due
from salus_vla.watch.watchdog import MISSING_CLOCK, Trip

_WALL_PERIOD_S = 0.1


@dataclass(frozen=True)
class _Job:
    """What the worker decides on: an observation and the arm command in force at its stamp."""

    observation: Observation
    command_in_force: FloatArray | None


class VlaEnsembleNode:
    """Wires a controller to the topics."""

    def __init__(self) -> None:
        """Loads the policy and connects.

        Raises:
            SalusError: a parameter is wrong. A policy that cannot be loaded is no exception here: the node stays, holds
                and says why.
        """
        self.node = make_node("vla_ensemble")
        self._parameters = read_parameters(self.node, EnsembleParameters)
        path = self._parameters.scene_file
        self._scene = load_scene(Path(path) if path else None)
        self._period_ns = self._scene.rates.decision_dt_ns
        self._frame_ns = self._scene.rates.frame_dt_ns
        self._lockstep = self._parameters.pacing == LOCKSTEP
        self._status = StatusPublisher(self.node, "policy")
        self._status.add_parameters(self._parameters)
        self._status.add_facts({"image_backend": BACKEND})
        self._status.say(Status.STARTING, detail="loading the policy")
        self._entities: tuple[str, ...] = ()  # whose ground truth the policy reads
        self._controller = self._load()
        self._matcher = ObservationMatcher(self._frame_ns // 2, entities=self._entities)
        self._watch = EnsembleWatch(self.node, self._parameters)
        self._held: Trip | None = None  # latched until it is reset
        self._sim_time = bool(self.node.get_parameter("use_sim_time").value)
        self._episode: Episode | None = None
        self._start_ns = 0
        self._end_ns: int | None = None
        self._decided_ns = -1  # stamp of the last camera set that was decided on
        self._answered_ns = self._submitted_ns = -1
        self._episode_seen = False  # since the last diagnostics
        self._joints: tuple[int, FloatArray] | None = None
        self._waiting: Observation | None = None  # a camera set that came before the start of its episode was known
        self._limited = self._refused = 0
        self._worker: Worker[_Job, Decision] = Worker(
            self.node, self._decide, self._on_decision, self._on_failed_decision
        )
        self._connect()
        self._observed = False  # whether a complete observation has come; READY is said then, not on hope
        self._failed = self._controller is None
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy shuts down."""
        self._executor.spin()

    def close(self) -> None:
        """Ends the worker."""
        self._worker.stop()
        self.node.destroy_node()

    def _load(self) -> Controller | None:
        try:
            controller, policy = load_controller(self._parameters, self._scene)
        except (ModelError, SimulatorError) as error:
            self._status.say(Status.FAILED, Status.REASON_NO_VALID_POLICY, str(error))
            return None
        self._status.add_facts(policy.facts())
        self._entities = ENTITIES if policy.needs_poses else ()
        return controller

    def _connect(self) -> None:
        node = self.node
        command, signals = contract.JOINT_TARGET, contract.SAFETY_SIGNALS
        self._commands = node.create_publisher(JointState, command.name, profile(command.qos))
        self._signals = node.create_publisher(SafetySignals, signals.name, profile(signals.qos))
        if self._sim_time:
            subscribe(node, contract.CLOCK, lambda message: self._on_time(messages.to_ns(message.clock)))
        else:
            node.create_timer(self._frame_ns * 1e-9, lambda: self._on_time(node.get_clock().now().nanoseconds))
        node.create_timer(_WALL_PERIOD_S, self._on_wall, clock=Clock(clock_type=ClockType.STEADY_TIME))
        node.create_service(Trigger, contract.RESET_HOLD.name, self._on_reset_hold)
        subscribe(node, contract.JOINT_STATES, self._on_joints)
        subscribe(node, contract.EPISODE, self._on_episode)
        for camera in CAMERAS:
            subscribe(node, contract.image_topic(camera), partial(self._on_image, camera))
        for entity in self._entities:
            subscribe(node, contract.pose_topic(entity), partial(self._on_pose, entity))

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_episode(self, message: Episode) -> None:
        if message.kind == Episode.STARTED:
            if self._sim_time:  # the reset put the world and the arm where they are known to be
                self._release()
            self._episode = message
            self._start_ns, self._end_ns = messages.to_ns(message.header.stamp), None
            self._decided_ns = self._answered_ns = self._submitted_ns = -1
            self._worker.drain()
            if self._controller is None:
                return
            self._controller.start_episode(message.seed)
            self._failed = False
            self._watch.dog.arm(time.monotonic())
            self._episode_seen = True
            if self._held is None:
                self._status.say(Status.RUNNING, stamp_ns=self._start_ns)
            else:
                self._controller.drop_plan(self._held.reason, self._held.detail)
            waiting, self._waiting = self._waiting, None
            self._on_observation(waiting)
            self._answer()
        elif message.kind == Episode.ENDED and self._episode is not None and message.episode == self._episode.episode:
            self._end_ns = messages.to_ns(message.header.stamp)
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
        if self._controller is None or observation is None:
            return
        stamp_ns = observation.stamp_ns
        self._watch.complete()
        if not self._observed:
            self._observed = True
            if self._held is None:
                self._status.say(Status.READY, stamp_ns=stamp_ns)
        if self._episode is None or stamp_ns < self._start_ns or self._over(stamp_ns):
            # The first set of an episode may overtake the message that starts it.
            self._waiting = observation
            return
        if observation.task != self._task:
            observation = replace(observation, task=self._task)
        self._submitted_ns = stamp_ns
        self._worker.submit(_Job(observation, self._controller.command_in_force))

    def _over(self, stamp_ns: int) -> bool:
        """Whether a stamp lies behind the terminal observation; that one itself is still decided on."""
        return self._end_ns is not None and stamp_ns > self._end_ns

    def _decide(self, job: _Job) -> Decision:
        assert self._controller is not None
        return self._controller.decide(job.observation, job.command_in_force)

    def _on_decision(self, decision: Decision) -> None:
        if self._controller is None or self._joints is None or decision.stamp_ns < self._start_ns:
            return  # decided for an episode that is over
        now_ns, measured = self._joints
        if decision.stamp_ns > now_ns + self._period_ns:
            return  # decided before the clock jumped back
        self._decided_ns = decision.stamp_ns
        self._watch.decided(decision.stamp_ns, decision.inference_ms)
        self._signals.publish(messages.safety_signals(decision))
        if self._held is None:
            self._controller.accept(decision, max(now_ns, decision.stamp_ns), measured)
        self._answer()

    def _on_failed_decision(self, job: _Job, error: Exception) -> None:
        if job.observation.stamp_ns < self._start_ns:
            return  # of an episode that is over
        self._decided_ns = job.observation.stamp_ns
        self._fail(Status.REASON_NO_VALID_POLICY, f"{type(error).__name__}: {error}")
        self._answer()

    def _fail(self, reason: str, detail: str) -> None:
        """The arm brakes and holds, and the status says FAILED, until the next episode starts."""
        if self._held is not None:  # the first reason stays
            self.node.get_logger().error(f"{reason}: {detail}")
            return
        self._failed = True
        self._watch.dog.disarm()
        stamp_ns = self._joints[0] if self._joints is not None else 0
        self._status.say(Status.FAILED, reason, detail, stamp_ns)
        if self._controller is not None:
            self._controller.drop_plan(reason, detail)

    # -- commanding ----------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Answers the newest joint frame with a command, in lockstep only when its decision is made."""
        if self._controller is None or self._episode is None or self._joints is None:
            return
        stamp_ns, measured = self._joints
        if stamp_ns < self._start_ns or stamp_ns <= self._answered_ns:
            return
        ended = self._end_ns is not None and stamp_ns >= self._end_ns + self._frame_ns // 2
        if not ended and self._lockstep and self._held is None and self._decision_due(stamp_ns):
            return
        if ended:
            if self._controller.resting:
                self._watch.dog.disarm()
                if self._held is None:
                    self._status.say(Status.READY, stamp_ns=stamp_ns)
                return
            if self._held is None:
                self._controller.drop_plan(NO_EPISODE, "the episode is over")
        self._send(stamp_ns, measured, quiet=ended or self._failed)

    def _send(self, stamp_ns: int, measured: FloatArray, *, quiet: bool) -> None:
        """Commands and, unless `quiet`, says whether the arm follows a plan."""
        assert self._controller is not None
        began = time.perf_counter()
        command = self._controller.command(stamp_ns, measured)
        self._answered_ns = stamp_ns
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
        if self._controller is None or self._joints is None or self._answered_ns < 0:
            return
        over = self._over(now_ns) and self._controller.resting
        waits = self._lockstep or self._episode is None or self._failed or self._end_ns is not None
        if over or (self._held is None and waits):
            return
        until_ns = now_ns if self._held is not None else now_ns - self._frame_ns
        stamps, stands = commands_due(self._answered_ns, until_ns, self._frame_ns)
        if stands:
            self._controller.stand()
        for stamp_ns in stamps:
            self._send(stamp_ns, self._joints[1], quiet=False)

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
        due = self._lockstep and self._answered_ns < stamp_ns and self._decision_due(stamp_ns)
        self._watch.dog.wall(time.monotonic(), thinking=self._submitted_ns > self._decided_ns, set_due=due)
        self._hold_if_tripped()
        if self._watch.silent():
            now_ns = self._watch.dog.now_ns or 0
            self._status.diagnose(now_ns, lambda: self._diagnostics(now_ns), force=True)

    def _hold_if_tripped(self) -> None:
        trip = self._watch.dog.trip
        if trip is None or trip is self._held or self._controller is None:
            return
        self._held = trip
        self.node.get_logger().error(f"{trip.reason}: {trip.detail}; holding until {contract.RESET_HOLD.name}")
        self._controller.drop_plan(trip.reason, trip.detail)
        state = Status.FAILED if trip.reason == MISSING_CLOCK else Status.HOLDING
        self._status.say(state, trip.reason, trip.detail, trip.stamp_ns)
        self._answer()  # a simulator in lockstep waits for it

    def _forget_stamps(self, now_ns: int) -> None:
        """After a clock that jumped back: nothing received or decided before can be compared with what comes."""
        self._matcher = ObservationMatcher(self._frame_ns // 2, entities=self._entities)
        self._episode = self._waiting = self._end_ns = None
        self._start_ns, self._decided_ns, self._submitted_ns = 0, -1, -1
        if self._joints is not None:
            self._joints = (now_ns, self._joints[1])
        if self._answered_ns >= 0:  # an arm that is moving goes on braking where it is
            self._answered_ns = now_ns - self._frame_ns

    def _on_reset_hold(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        trip, response.success = self._release(), True
        response.message = f"was held by {trip.reason}: {trip.detail}" if trip is not None else "nothing was held"
        return response

    def _release(self) -> Trip | None:
        """Ends a latched hold and gives its reason; the arm rests until the next decision on what it sees then."""
        trip, self._held = self._watch.dog.reset(time.monotonic()), None
        if trip is None or self._controller is None:
            return trip
        detail = f"the hold ({trip.reason}) was reset"
        self._controller.drop_plan(NO_DECISION_YET, detail)
        stamp_ns = self._watch.dog.now_ns or 0
        if self._episode is not None and not self._over(stamp_ns):
            # In lockstep the frames until the next camera set wait for no decision.
            periods = max(0, self._answered_ns - self._start_ns) // self._period_ns
            self._decided_ns = max(self._decided_ns, self._start_ns + periods * self._period_ns)
            self._status.say(Status.HOLDING, NO_DECISION_YET, detail, stamp_ns)
        else:
            self._status.say(Status.READY if self._observed else Status.STARTING, detail=detail, stamp_ns=stamp_ns)
        return trip

    def _check_lockstep(self, now_ns: int) -> None:
        """A simulator that went on without the answer to its last frame has given up waiting.

        Comes before the watchdog: everything is stale to a node that was not waited for, and that is not the reason.
        """
        if not self._lockstep or self._failed or self._episode is None or self._joints is None:
            return
        last_ns = self._joints[0]
        over = self._end_ns is not None and last_ns >= self._end_ns
        if self._answered_ns < last_ns < now_ns and last_ns >= self._start_ns and not over:
            self._fail(
                Status.REASON_LOCKSTEP_LOST,
                f"the simulator did not wait for the command of stamp {last_ns * 1e-9:.2f} s; "
                "if decisions are that slow, raise mujoco_sim's lockstep_timeout_s",
            )

    def _decision_due(self, stamp_ns: int) -> bool:
        """Whether a camera set of this very frame is still to come or being decided on."""
        last = self._decided_ns if self._decided_ns >= 0 else self._start_ns - self._period_ns
        return stamp_ns > last + self._period_ns - self._frame_ns // 2

    def _plan_age_ns(self, now_ns: int) -> int | None:
        return self._controller.plan_age_ns(now_ns) if self._controller is not None else None

    def _diagnostics(self, now_ns: int) -> list[Part]:
        age_ns, overtaken = self._plan_age_ns(now_ns), self._worker.overwritten
        commands = {"commands_limited": self._limited, "commands_refused": self._refused}
        commands |= {f"holds_{reason}": count for reason, count in self._status.holds.items()}
        judged = self._episode is not None and self._end_ns is None and not self._episode_seen
        self._episode_seen = False
        return self._watch.parts(now_ns, judged, self._matcher, overtaken, age_ns, commands)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `vla_ensemble` executable."""
    return run_node(VlaEnsembleNode, args)
