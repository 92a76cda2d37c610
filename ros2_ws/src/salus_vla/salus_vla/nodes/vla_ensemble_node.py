"""The policy in the graph: cameras and joints in, joint commands and safety signals out.

All decisions are the controller's; this node matches messages to observations, runs inference beside the callbacks and
publishes. Without a valid policy it holds the arm and says why.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES
from salus_vla.control.controller import NO_EPISODE, Controller, Decision, make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.control.observations import ObservationMatcher
from salus_vla.errors import ModelError, SimulatorError
from salus_vla.frames import FloatArray, Observation
from salus_vla.nodes import messages
from salus_vla.nodes.images import BACKEND, to_array
from salus_vla.nodes.main import run_node
from salus_vla.nodes.mujoco_sim_node import LOCKSTEP, REALTIME
from salus_vla.nodes.parameters import make_node, parameter, read_parameters
from salus_vla.nodes.qos import profile
from salus_vla.nodes.status import StatusPublisher
from salus_vla.nodes.subscribe import subscribe
from salus_vla.nodes.worker import Worker
from salus_vla.policy.registry import BUILTIN_TINY, DTYPES, MODES, POLICIES, make_policy
from salus_vla.scene import load_scene


@dataclass(frozen=True)
class EnsembleParameters:
    """Parameters of vla_ensemble."""

    policy: str = parameter("ensemble", "what produces the actions", choices=POLICIES)
    pacing: str = parameter(
        LOCKSTEP,
        "lockstep: a camera set's frame is answered after its decision; realtime: at once, from the plan",
        choices=(LOCKSTEP, REALTIME),
    )
    members: tuple[str, ...] = parameter(
        (BUILTIN_TINY,), "folders or Hub names of the ensemble's members", name="model.members"
    )
    device: str = parameter("cpu", "where all members run: cpu, cuda:0, ...", name="model.device")
    devices: tuple[str, ...] = parameter((), "spreads the members over these devices instead", name="model.devices")
    mode: str = parameter(
        "auto", "auto: compiled and as a CUDA graph where there is one; else eager", name="model.mode", choices=MODES
    )
    dtype: str = parameter(
        "auto", "stored: in the precision of the checkpoint; fp32; auto: fp32 on the CPU, else stored",
        name="model.dtype", choices=DTYPES,
    )  # fmt: skip
    noise_samples: int = parameter(
        2, "flow-matching noise samples per member, the same for all", name="model.noise_samples", bounds=(1, 64)
    )
    allow_identical_experts: bool = parameter(
        False, "accept members with the same action expert", name="model.allow_identical_experts"
    )
    threads: int = parameter(1, "CPU threads of torch", name="model.threads", bounds=(1, 256))
    blend_s: float = parameter(
        0.2, "shortest time over which a new chunk takes over [s]", name="plan.blend_s", bounds=(0.0, 2.0)
    )
    max_jump_s: float = parameter(
        0.5, "a target that the fastest motion does not reach in this time is refused [s]",
        name="limiter.max_jump_s", bounds=(0.02, 5.0),
    )  # fmt: skip
    disturb: bool = parameter(False, "disturb what is commanded, so that demonstrations show how to recover")
    scene_file: str = parameter("", "contract YAML; empty for the installed one")


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
        self._episode: Episode | None = None
        self._start_ns = 0
        self._end_ns: int | None = None
        self._decided_ns = -1  # stamp of the last camera set that was decided on
        self._answered_ns = -1
        self._joints: tuple[int, FloatArray] | None = None
        self._waiting: Observation | None = None  # a camera set that came before the start of its episode was known
        self._latency_ms: deque[float] = deque(maxlen=100)
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
        p = self._parameters
        try:
            policy = make_policy(
                p.policy,
                scene=self._scene,
                members=p.members,
                device=p.device,
                devices=p.devices,
                mode=p.mode,
                dtype=p.dtype,
                noise_samples=p.noise_samples,
                allow_identical_experts=p.allow_identical_experts,
            )
        except (ModelError, SimulatorError) as error:
            self._status.say(Status.FAILED, Status.REASON_NO_VALID_POLICY, str(error))
            return None
        if p.policy == "ensemble":
            import torch

            torch.set_num_threads(p.threads)
        self._status.add_facts(policy.facts())
        self._entities = ENTITIES if policy.needs_poses else ()
        disturbance = Disturbance() if p.disturb else None
        return make_controller(policy, self._scene, blend_s=p.blend_s, max_jump_s=p.max_jump_s, disturbance=disturbance)

    def _connect(self) -> None:
        node = self.node
        command, signals = contract.JOINT_COMMAND, contract.SAFETY_SIGNALS
        self._commands = node.create_publisher(JointState, command.name, profile(command.qos))
        self._signals = node.create_publisher(SafetySignals, signals.name, profile(signals.qos))
        subscribe(node, contract.JOINT_STATES, self._on_joints)
        subscribe(node, contract.EPISODE, self._on_episode)
        for camera in CAMERAS:
            subscribe(node, contract.image_topic(camera), partial(self._on_image, camera))
        for entity in self._entities:
            subscribe(node, contract.pose_topic(entity), partial(self._on_pose, entity))

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_episode(self, message: Episode) -> None:
        if message.kind == Episode.STARTED:
            self._episode = message
            self._start_ns, self._end_ns = messages.to_ns(message.header.stamp), None
            self._decided_ns = self._answered_ns = -1
            self._worker.drain()
            if self._controller is None:
                return
            self._controller.start_episode(message.seed)
            self._failed = False
            self._status.say(Status.RUNNING, stamp_ns=self._start_ns)
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                self._on_observation(waiting)
            self._answer()
        elif message.kind == Episode.ENDED and self._episode is not None and message.episode == self._episode.episode:
            self._end_ns = messages.to_ns(message.header.stamp)
            self._answer()

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        stamp_ns = messages.to_ns(message.header.stamp)
        self._check_lockstep()
        self._joints = (stamp_ns, position)
        observation = self._matcher.add_joints(stamp_ns, position, self._task)
        if observation is not None:
            self._on_observation(observation)
        self._answer()
        self._diagnose(stamp_ns)

    def _on_image(self, camera: str, message: Image) -> None:
        observation = self._matcher.add_image(
            camera, messages.to_ns(message.header.stamp), to_array(message), self._task
        )
        if observation is not None:
            self._on_observation(observation)

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        observation = self._matcher.add_pose(
            entity, messages.to_ns(message.header.stamp), messages.to_pose(message), self._task
        )
        if observation is not None:
            self._on_observation(observation)

    @property
    def _task(self) -> str:
        return self._episode.task if self._episode is not None else ""

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _on_observation(self, observation: Observation) -> None:
        if self._controller is None:
            return
        stamp_ns = observation.stamp_ns
        if not self._observed:
            self._observed = True
            self._status.say(Status.READY, stamp_ns=stamp_ns)
        if self._episode is None or stamp_ns < self._start_ns or self._over(stamp_ns):
            # The first set of an episode may overtake the message that starts it.
            self._waiting = observation
            return
        if observation.task != self._task:
            observation = replace(observation, task=self._task)
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
        self._decided_ns = decision.stamp_ns
        self._latency_ms.append(decision.inference_ms)
        self._signals.publish(messages.safety_signals(decision))
        now_ns, measured = self._joints
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
        self._failed = True
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
        if not ended and self._lockstep and self._decision_due(stamp_ns):
            return
        if ended:
            if self._controller.resting:
                self._status.say(Status.READY, stamp_ns=stamp_ns)
                return
            self._controller.drop_plan(NO_EPISODE, "the episode is over")
        command = self._controller.command(stamp_ns, measured)
        self._answered_ns = stamp_ns
        self._commands.publish(messages.joint_command(stamp_ns, command.position))
        self._limited += command.limited
        if ended or self._failed:
            return
        if command.hold_reason:
            self._refused += command.hold_reason == Status.REASON_COMMAND_REFUSED
            self._status.say(Status.HOLDING, command.hold_reason, command.detail, stamp_ns)
        else:
            self._status.say(Status.RUNNING, stamp_ns=stamp_ns)

    def _check_lockstep(self) -> None:
        """A simulator that went on without the answer to its last frame has given up waiting."""
        if not self._lockstep or self._failed or self._episode is None or self._joints is None:
            return
        last_ns = self._joints[0]
        over = self._end_ns is not None and last_ns >= self._end_ns
        if last_ns >= self._start_ns and not over and self._answered_ns < last_ns:
            self._fail(
                Status.REASON_LOCKSTEP_LOST,
                f"the simulator did not wait for the command of stamp {last_ns * 1e-9:.2f} s; "
                "if decisions are that slow, raise mujoco_sim's lockstep_timeout_s",
            )

    def _decision_due(self, stamp_ns: int) -> bool:
        """Whether a camera set of this very frame is still to come or being decided on."""
        last = self._decided_ns if self._decided_ns >= 0 else self._start_ns - self._period_ns
        return stamp_ns > last + self._period_ns - self._frame_ns // 2

    def _diagnose(self, stamp_ns: int) -> None:
        self._status.diagnose(stamp_ns, lambda: (self._diagnostics(stamp_ns), ""))

    def _diagnostics(self, stamp_ns: int) -> dict[str, object]:
        age_ns = self._controller.plan_age_ns(stamp_ns) if self._controller is not None else None
        return {
            "decision_ms_p50": f"{median(self._latency_ms):.1f}" if self._latency_ms else "none",
            "decision_ms_max": f"{max(self._latency_ms):.1f}" if self._latency_ms else "none",
            "commands_limited": self._limited,
            "commands_refused": self._refused,
            "camera_sets_dropped": self._matcher.dropped,
            "images_repeated": self._matcher.repeated,
            "decisions_overtaken": self._worker.overwritten,
            "plan_age_s": "none" if age_ns is None else f"{age_ns * 1e-9:.3f}",
        }


def main(args: list[str] | None = None) -> int:
    """Entry point of the `vla_ensemble` executable."""
    return run_node(VlaEnsembleNode, args)
