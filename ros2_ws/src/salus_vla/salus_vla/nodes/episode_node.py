"""Runs the episodes: waits until the graph is ready, resets the simulator, watches the task, ends each episode.

One episode: the recorder opens a bag -> the simulator is reset with the episode's seed -> STARTED is published with
the stamp of the first observation -> the task monitor watches ground truth -> ENDED is published -> the recorder
closes the bag.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, Status
from salus_msgs.srv import StartRecording, StopRecording
from salus_vla import contract
from salus_vla.contract import DEFAULT_TASK, ENTITIES, FRAME_HZ, Service
from salus_vla.errors import SalusError
from salus_vla.nodes import messages
from salus_vla.nodes.main import run_node
from salus_vla.nodes.parameters import make_node, parameter, read_parameters
from salus_vla.nodes.qos import interface_class, profile
from salus_vla.nodes.status import StatusPublisher
from salus_vla.nodes.subscribe import subscribe, take_waiting
from salus_vla.profiles import DEFAULT_PROFILE
from salus_vla.scene import load_scene
from salus_vla.task.assembly import FrameAssembler
from salus_vla.task.episode import EpisodeTracker
from salus_vla.task.monitor import Outcome
from salus_vla.watch.meters import Level, Part, RateMeter
from salus_vla.watch.watchdog import REASONS


class GraphError(SalusError):
    """The graph cannot go on: something never came up, failed or stopped answering."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class EpisodeParameters:
    """Parameters of episode."""

    episodes: int = parameter(
        1, "episodes of the whole run, finished ones of a resumed run included", bounds=(1, 10**6)
    )
    seed: int = parameter(0, "seed of episode 0; episode n has seed + n", bounds=(0, 2**31 - 1))
    task: str = parameter(DEFAULT_TASK, "instruction given to the policy")
    policy: str = parameter("ensemble", "recorded as policy_source")
    profile: str = parameter(DEFAULT_PROFILE, "randomisation profile that the simulator must have; recorded")
    max_decisions: int = parameter(0, "decisions before TIMEOUT; 0 takes the scene's", bounds=(0, 10**6))
    fresh_messages: int = parameter(3, "complete frames to wait for before the first episode", bounds=(1, 1000))
    startup_timeout_s: float = parameter(180.0, "wall time for the graph to come up [s]", bounds=(1.0, 3600.0))
    service_timeout_s: float = parameter(20.0, "wall time for an answer of a service [s]", bounds=(0.1, 600.0))
    silence_timeout_s: float = parameter(
        60.0, "wall time without a frame after which the simulator counts as lost [s]", bounds=(1.0, 3600.0)
    )
    scene_file: str = parameter("", "contract YAML; empty for the installed one")


class EpisodeNode:
    """Runs a number of episodes, then ends the graph by ending itself."""

    def __init__(self) -> None:
        """Connects to simulator, policy and recorder.

        Raises:
            SalusError: a parameter or the scene file is wrong.
        """
        self.node = make_node("episode")
        self._parameters = p = read_parameters(self.node, EpisodeParameters)
        self._scene = load_scene(Path(p.scene_file) if p.scene_file else None)
        self._status = StatusPublisher(self.node, "episode")
        self._status.add_parameters(p)
        scene_hash = hashlib.sha256(self._scene.model_dump_json().encode()).hexdigest()[:16]
        self._status.add_facts({"scene_hash": scene_hash})
        self._tracker = EpisodeTracker(self._scene, max_decisions=p.max_decisions or None)
        self._frames = FrameAssembler()
        self._roles: dict[str, Status] = {}
        self._fresh = self._frames_lost = self._taken_ns = 0
        self._sim_ns = 0
        self._last_frame_wall = time.monotonic()
        self._counts: dict[str, int] = {}
        self._rates = {topic.name: RateMeter(FRAME_HZ) for topic in (contract.CLOCK, contract.JOINT_STATES)}
        self._lost_shown = 0  # frames lost that diagnostics have shown
        self._running: Episode | None = None
        self._connect()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._status.say(Status.STARTING)

    def _connect(self) -> None:
        node = self.node
        topic = contract.EPISODE
        self._episodes = node.create_publisher(Episode, topic.name, profile(topic.qos))
        # Every frame counts for the task monitor.
        subscribe(node, contract.CLOCK, self._on_clock, keep_all=True)
        subscribe(node, contract.JOINT_STATES, self._on_joints, keep_all=True)
        self._contacts = subscribe(node, contract.CONTACT, self._on_contact, keep_all=True)
        for entity in ENTITIES:
            subscribe(node, contract.pose_topic(entity), partial(self._on_pose, entity), keep_all=True)
        subscribe(node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        self._clients = {
            service: node.create_client(interface_class(service), service.name)
            for service in (
                contract.SIM_RESET,
                contract.SIM_SET_PARAMETERS,
                contract.RECORDER_START,
                contract.RECORDER_STOP,
            )
        }

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Runs all episodes; 0 when every one was recorded, 1 when the graph failed."""
        try:
            self._wait_for_graph()
            first = int(self._fact("recorder", "next_episode", "0"))
            self._run_id = self._fact("recorder", "run_id", "")
            self._status.say(Status.RUNNING, stamp_ns=self._sim_ns)
            # Aborted episodes of a resumed run keep their numbers and are made up for by further ones.
            left = self._parameters.episodes - int(self._fact("recorder", "completed", "0"))
            for number in range(first, first + left):
                self._wait_for_rest()
                self._run_episode(number)
        except GraphError as error:
            self._abort(error)
            self._status.say(Status.FAILED, error.reason, error.detail, self._sim_ns)
            self._drain()
            return 1
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self._counts.items())) or "none"
        self.node.get_logger().info(f"run complete: {counts}")
        self._status.say(Status.READY, Status.REASON_RUN_COMPLETE, counts, self._sim_ns)
        self._drain()
        return 0

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    def _run_episode(self, number: int) -> None:
        p = self._parameters
        seed = p.seed + number
        start = StartRecording.Request(
            run_id=self._run_id, episode=number, seed=seed, task=p.task, policy_source=p.policy
        )
        self._checked(contract.RECORDER_START, start, Status.REASON_RECORDING_FAILED)
        start_ns = self._reset(seed)
        self._frames.forget_before(start_ns)
        self._taken_ns = start_ns - self._scene.rates.frame_dt_ns
        self._tracker.start(start_ns)
        self._running = Episode(
            run_id=self._run_id, episode=number, seed=seed, task=p.task, policy_source=p.policy, outcome=Episode.RUNNING
        )
        self._publish(Episode.STARTED, start_ns)
        self._last_frame_wall = time.monotonic()
        self._spin(self._episode_is_over, None)
        self._finish(self._tracker.outcome, self._tracker.event.detail if self._tracker.event else "")

    def _episode_is_over(self) -> bool:
        """Feeds the task with the frames that came; true at the terminal observation."""
        # A turn takes all that waits on one topic, so poses may be frames ahead of contacts that have arrived as well.
        take_waiting(self._contacts)
        for frame in self._frames.take():
            assert frame.joint_position is not None
            self._frames_lost += round((frame.stamp_ns - self._taken_ns) / self._scene.rates.frame_dt_ns) - 1
            self._taken_ns, self._last_frame_wall = frame.stamp_ns, time.monotonic()
            for event in self._tracker.update(frame.stamp_ns, frame.joint_position, frame.poses, frame.contacts):
                if self._running is not None:
                    self._running.event = event.kind
                    self._running.event_stamp = messages.to_time(event.stamp_ns)
                    self._running.detail = event.detail
                if event.outcome is not Outcome.TIMEOUT:  # censoring is no event
                    self._publish(Episode.EVENT, event.stamp_ns)
            if self._tracker.over(frame.stamp_ns):
                return True
        silent = time.monotonic() - self._last_frame_wall
        if silent > self._parameters.silence_timeout_s:
            missing = ", ".join(self._frames.missing()) or "no single part"
            raise GraphError(Status.REASON_SIMULATOR_LOST, f"no complete frame for {silent:.0f} s; missing: {missing}")
        self._check_roles()
        return False

    def _finish(self, outcome: Outcome, detail: str) -> None:
        episode, tracker = self._running, self._tracker
        assert episode is not None
        end_ns = min(tracker.end_ns, self._sim_ns) if tracker.end_ns is not None else self._sim_ns
        event = tracker.event if tracker.event and tracker.event.outcome is not Outcome.TIMEOUT else None
        event_ns = event.stamp_ns if event else 0
        episode.outcome = int(outcome)
        episode.event = event.kind if event else ""
        episode.event_stamp = messages.to_time(event_ns)
        episode.decisions = tracker.decisions(end_ns)
        episode.detail = detail
        self._publish(Episode.ENDED, end_ns)
        self._running = None
        stop = StopRecording.Request(
            end_stamp=messages.to_time(end_ns),
            outcome=int(outcome),
            event_stamp=episode.event_stamp,
            decisions=episode.decisions,
            detail=detail,
        )
        answer = self._checked(contract.RECORDER_STOP, stop, Status.REASON_RECORDING_FAILED)
        self._counts[outcome.name] = self._counts.get(outcome.name, 0) + 1
        seconds = (end_ns - tracker.start_ns) * 1e-9
        self.node.get_logger().info(
            f"episode {episode.episode}: {outcome.name} after {episode.decisions} decisions ({seconds:.1f} s), "
            f"{answer.gaps} gaps; {detail}"
        )

    def _abort(self, error: GraphError) -> None:
        """Ends a running episode as ABORTED, so that its bag is closed with everything recorded so far."""
        if self._running is None:
            return
        try:
            self._finish(Outcome.ABORTED, str(error))
        except GraphError as second:
            self.node.get_logger().error(str(second))

    # -- talking to the graph ------------------------------------------------------------------------------------------

    def _wait_for_graph(self) -> None:
        timeout = self._parameters.startup_timeout_s

        def missing() -> list[str]:
            need = [f"service {s.name}" for s, client in self._clients.items() if not client.service_is_ready()]
            ready = (Status.READY,)
            roles = ("policy", "recorder", "gate")
            need += [
                f"{role} READY" for role in roles if role not in self._roles or self._roles[role].state not in ready
            ]
            self._fresh += sum(1 for _ in self._frames.take())
            if self._fresh < self._parameters.fresh_messages:
                parts = ", ".join(self._frames.missing()) or "more of them"
                need.append(f"{self._parameters.fresh_messages} complete frames ({parts})")
            return need

        def ready() -> bool:
            self._check_roles()
            return not missing()

        if not self._spin(ready, timeout):
            raise GraphError(Status.REASON_NO_EPISODE, f"after {timeout:g} s still missing: {', '.join(missing())}")

    def _wait_for_rest(self) -> None:
        """The policy says READY when the arm rests; a reset before that would command the new world to the old pose."""

        def resting() -> bool:
            self._check_roles()
            return self._roles["policy"].state == Status.READY

        if not self._spin(resting, self._parameters.service_timeout_s):
            raise GraphError(
                Status.REASON_NO_EPISODE, "the policy did not bring the arm to rest after the last episode"
            )

    def _check_roles(self) -> None:
        for role, status in self._roles.items():
            held = status.state == Status.HOLDING and status.reason in REASONS  # latched: it does not go on by itself
            if role != "episode" and (held or status.state == Status.FAILED):
                raise GraphError(status.reason, f"{role}: {status.detail}")

    def _fact(self, role: str, key: str, default: str) -> str:
        return next((item.value for item in self._roles[role].facts if item.key == key), default)

    def _reset(self, seed: int) -> int:
        """Resets the simulator with a seed; the stamp of the first observation after it [ns]."""
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
        request = SetParameters.Request(parameters=[Parameter(name="seed", value=value)])
        answer = self._call(contract.SIM_SET_PARAMETERS, request)
        refused = [result.reason for result in answer.results if not result.successful]
        if refused:
            raise GraphError(Status.REASON_SIMULATOR_LOST, f"{contract.SIM_SET_PARAMETERS.name}: {refused[0]}")
        reset = self._checked(contract.SIM_RESET, Trigger.Request(), Status.REASON_SIMULATOR_LOST)
        return first_stamp(reset.message, self._parameters.profile)

    def _checked(self, service: Service, request: Any, reason: str) -> Any:
        answer = self._call(service, request)
        if not answer.success:
            raise GraphError(reason, f"{service.name}: {answer.message}")
        return answer

    def _call(self, service: Service, request: Any) -> Any:
        client: Client = self._clients[service]
        future = client.call_async(request)
        if not self._spin(future.done, self._parameters.service_timeout_s):
            raise GraphError(
                Status.REASON_SIMULATOR_LOST if service.name.startswith("/sim") else Status.REASON_RECORDING_FAILED,
                f"{service.name} did not answer within {self._parameters.service_timeout_s:g} s",
            )
        return future.result()

    def _spin(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Handles messages until `done`; False when the time is up first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not done():
            if not self.node.context.ok():
                raise KeyboardInterrupt
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._executor.spin_once(timeout_sec=0.2)
            self._status.diagnose(self._sim_ns, self._diagnostics)
        return True

    def _drain(self) -> None:
        """Gives the last latched messages a moment to leave before the process ends."""
        publishers = (self._episodes, self._status.publisher)
        for publisher in publishers:
            publisher.wait_for_all_acked(Duration(seconds=1))

    def _publish(self, kind: int, stamp_ns: int) -> None:
        assert self._running is not None
        self._running.kind = kind
        self._running.header = messages.header(stamp_ns)
        self._running.decisions = self._tracker.decisions(stamp_ns)
        self._episodes.publish(self._running)

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_status(self, message: Status) -> None:
        self._roles[message.role] = message

    def _on_clock(self, message: Clock) -> None:
        self._sim_ns = messages.to_ns(message.clock)
        self._rates[contract.CLOCK.name].add(self._sim_ns)
        self._status.diagnose(self._sim_ns, self._diagnostics)

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        stamp_ns = messages.to_ns(message.header.stamp)
        self._frames.add_joints(stamp_ns, position)
        self._rates[contract.JOINT_STATES.name].add(stamp_ns)

    def _diagnostics(self) -> list[Part]:
        lost, self._lost_shown = self._frames_lost - self._lost_shown, self._frames_lost
        late, incomplete = self._frames.late, self._frames.incomplete
        frames = {"frames_lost": self._frames_lost, "frames_incomplete": incomplete, "messages_late": late}
        frame_part = Part("frames", frames, Level.WARN, f"{lost} frames were lost") if lost else Part("frames", frames)
        outcomes = {f"outcome_{name}": count for name, count in self._counts.items()}
        running = float(self._running is not None)
        rates = [meter.part(name, self._sim_ns) for name, meter in self._rates.items()]
        return [*rates, frame_part, Part("outcomes", {"episode_running": running, **outcomes})]

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        self._frames.add_pose(entity, messages.to_ns(message.header.stamp), messages.to_pose(message))

    def _on_contact(self, message: DiagnosticArray) -> None:
        self._frames.add_contacts(messages.to_ns(message.header.stamp), messages.to_contacts(message))


def first_stamp(answer: str, profile: str) -> int:
    """Stamp of the first observation after a reset, from the simulator's answer [ns].

    Args:
        answer: JSON of the service's message.
        profile: randomisation profile that the episode is recorded with.

    Raises:
        GraphError: the answer has no stamp, or the simulator says that it shows another profile; not every one says.
    """
    try:
        fields = json.loads(answer)
        stamp_ns, shown = int(fields["stamp_ns"]), fields.get("profile", profile)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise GraphError(
            Status.REASON_SIMULATOR_LOST, f"{contract.SIM_RESET.name} answered '{answer}', expected JSON with stamp_ns"
        ) from error
    if shown != profile:
        raise GraphError(Status.REASON_NO_EPISODE, f"the simulator shows profile {shown!r}, expected {profile!r}")
    return stamp_ns


def main(args: list[str] | None = None) -> int:
    """Entry point of the `episode` executable."""
    return run_node(EpisodeNode, args)
