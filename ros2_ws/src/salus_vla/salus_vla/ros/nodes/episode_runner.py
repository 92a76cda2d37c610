"""Runs the episodes: waits until the graph is ready, resets the simulator, watches the task, ends each episode.

One episode: the recorder opens a bag -> the simulator is reset with the episode's seed -> STARTED is published with
the stamp of the first observation -> the task monitor watches ground truth -> ENDED is published -> the recorder
closes the bag.
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, Status
from salus_msgs.srv import StartRecording, StopRecording
from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import ENTITIES, FRAME_HZ
from salus_vla.contract.outcomes import Outcome
from salus_vla.episode.course import EpisodeCourse
from salus_vla.health.meters import DiagnosticPart, Level, RateMeter
from salus_vla.health.supervision import FirstCause, Stop
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.lifecycle import destroy
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.subscribe import subscribe, take_waiting
from salus_vla.ros.clients.lifecycle_manager import GraphError
from salus_vla.ros.clients.node_supervisor import DeactivatedError, NodeSupervisor
from salus_vla.ros.nodes.episode_parameters import EpisodeParameters


class EpisodeRunner:
    """Runs episodes while it is active.

    Attributes:
        active: set and cleared by the node's transitions; cleared, the running episode ends as ABORTED.
    """

    def __init__(
        self, node: Node, executor: Executor, parameters: EpisodeParameters, scene: Scene, status: StatusPublisher
    ) -> None:
        """Connects to simulator, policy and recorder."""
        self.active = False
        self._node, self._parameters, self._status = node, parameters, status
        scene_hash = hashlib.sha256(scene.model_dump_json().encode()).hexdigest()[:16]
        status.add_facts({"scene_hash": scene_hash})
        p = parameters
        self._course = EpisodeCourse(
            scene, max_decisions=p.max_decisions or None, silence_timeout_s=p.silence_timeout_s
        )
        self._sim_ns = 0
        self._rates = {topic.name: RateMeter(FRAME_HZ) for topic in (contract.CLOCK, contract.JOINT_STATES)}
        self._lost_shown = 0  # frames lost that diagnostics have shown
        self._running: Episode | None = None
        self._cause = FirstCause()
        self._ending = False
        self._idle: Future | None = None  # done when the run that goes on is over
        self._graph = NodeSupervisor(
            node,
            executor,
            p.brought_up,
            node_timeout_s=p.node_timeout_s,
            service_timeout_s=p.service_timeout_s,
            publisher_timeout_s=p.publisher_timeout_s,
            wanted=lambda: self.active or self._ending,
            on_turn=lambda: self._status.diagnose(self._sim_ns, self._diagnostics),
        )
        topic = contract.EPISODE
        self._episodes = node.create_publisher(Episode, topic.name, qos_profile(topic.qos))
        self._contacts = subscribe(node, contract.CONTACT, self._on_contact, keep_all=True)
        # Every frame counts for the task monitor.
        self._made = [
            self._episodes,
            self._contacts,
            subscribe(node, contract.CLOCK, self._on_clock, keep_all=True),
            subscribe(node, contract.JOINT_STATES, self._on_joints, keep_all=True),
        ]
        for entity in ENTITIES:
            on_pose = partial(self._on_pose, entity)
            self._made.append(subscribe(node, contract.pose_topic(entity), on_pose, keep_all=True))

    def close(self) -> None:
        """Takes the other nodes down and disconnects; the run must be over, see `over`."""
        self._ending = True
        self._graph.take_down()
        self._graph.close()
        destroy(self._node, self._made)

    def over(self) -> Future | None:
        """Done when the run that goes on is over; None while there is none."""
        return self._idle

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self) -> int | None:
        """Runs all episodes; 0 when every one was recorded, 1 when the graph failed, None when it was deactivated."""
        idle = self._idle = Future(executor=self._node.executor)
        try:
            return self._run()
        finally:
            self._ending, self._idle = False, None
            idle.set_result(None)

    def _run(self) -> int | None:
        p, graph = self._parameters, self._graph
        try:
            self._status.say(Status.STARTING, detail="bringing the other nodes up", stamp_ns=self._sim_ns)
            graph.lifecycle.bring_up(p.appear_timeout_s, p.startup_timeout_s)
            self._wait_for_graph()
            self._status.say(Status.RUNNING, stamp_ns=self._sim_ns)
            while self._run_episode():
                pass
        except DeactivatedError as error:
            self._ending = True
            self._abort(error)
            graph.hold()
            self._status.say(Status.HOLDING, error.reason, error.detail, self._sim_ns)
            return None
        except GraphError as error:
            self._ending = True
            self._abort(error)
            self._status.say(Status.FAILED, error.reason, error.detail, self._sim_ns)
            graph.take_down()
            self._drain()
            return 1
        self._ending = True
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self._course.counts.items())) or "none"
        self._node.get_logger().info(f"run complete: {counts}")
        graph.take_down()
        self._status.say(Status.READY, Status.REASON_RUN_COMPLETE, counts, self._sim_ns)
        self._drain()
        return 0

    def _run_episode(self) -> bool:
        """The next episode; False when the run has all of them."""
        p = self._parameters
        start = StartRecording.Request(wanted=p.episodes, first_seed=p.seed, task=p.task, policy_source=p.policy)
        self._wait_for_rest()
        self._wait_until_alone()
        made = self._graph.checked(contract.RECORDER_START, start, Status.REASON_RECORDING_FAILED)
        if made.complete:
            return False
        start_ns = self._reset(made.seed)
        self._course.begin(start_ns, time.monotonic())
        self._cause = FirstCause()
        self._graph.supervisor.begin_episode(time.monotonic())
        self._running = Episode(
            run_id=made.run_id,
            episode=made.episode,
            seed=made.seed,
            task=p.task,
            policy_source=p.policy,
            outcome=Episode.RUNNING,
        )
        self._publish(Episode.STARTED, start_ns)
        self._graph.spin(self._episode_is_over, None)
        self._finish(None)
        return True

    def _episode_is_over(self) -> bool:
        """Feeds the task with the frames that came; true at the terminal observation."""
        # A turn takes much that waits on one topic, so poses may be frames ahead of contacts that have arrived as well.
        take_waiting(self._contacts)
        left = self._graph.supervisor.handed_over()
        handed = None if left is None else self._course.hand_over(left.stamp_ns, left.detail)
        events, over, stop = self._course.advance(time.monotonic())
        events = [*events, *([] if handed is None else [handed])]
        for event in events:
            if self._running is not None:
                self._running.event = event.kind
                self._running.event_stamp = messages.to_time(event.stamp_ns)
                self._running.detail = event.detail
            if event.outcome is not Outcome.TIMEOUT:  # censoring is not an event
                self._publish(Episode.EVENT, event.stamp_ns)
        wall = time.monotonic()
        # Where there is a reason, or was one, a second publisher that it follows from is looked for now.
        fault = self._graph.fault(moving=True, now=stop is not None or self._cause.pending is not None)
        second = fault is not None and fault.reason == Status.REASON_SECOND_PUBLISHER
        cause = self._cause.judge(fault if second else stop or fault, wall)
        if over and cause is None:
            cause = self._cause.pending  # an episode in which the arm was stopped ends by that
        self._graph.stop_for(cause)
        return over

    def _finish(self, stop: Stop | None) -> None:
        episode = self._running
        assert episode is not None
        end = self._course.end(self._sim_ns, stop)
        episode.outcome = int(end.outcome)
        episode.event = end.event
        episode.event_stamp = messages.to_time(end.event_ns)
        episode.decisions = end.decisions
        episode.detail = end.detail
        self._publish(Episode.ENDED, end.end_ns)
        self._running = None
        request = StopRecording.Request(run_id=episode.run_id, episode=episode.episode)
        if self._graph.supervisor.is_lost("recorder"):
            return  # its bag stays open; `salus bag recover` closes it
        answer = self._graph.checked(contract.RECORDER_STOP, request, Status.REASON_RECORDING_FAILED)
        seconds = (end.end_ns - self._course.start_ns) * 1e-9
        self._node.get_logger().info(
            f"episode {episode.episode}: {end.outcome.name} after {episode.decisions} decisions ({seconds:.1f} s), "
            f"{answer.gaps} gaps; {end.detail}"
        )

    def _abort(self, error: GraphError) -> None:
        """Ends a running episode as ABORTED, so that its bag is closed with everything recorded so far."""
        if self._running is None:
            return
        try:
            self._finish(Stop(error.reason, error.detail))
        except GraphError as second:
            self._node.get_logger().error(str(second))

    # -- talking to the graph ------------------------------------------------------------------------------------------

    def _wait_for_graph(self) -> None:
        timeout = self._parameters.startup_timeout_s

        def missing() -> list[str]:
            need = self._graph.not_ready()
            if self._course.fresh_frames() < self._parameters.fresh_messages:
                parts = ", ".join(self._course.frames.missing()) or "more of them"
                need.append(f"{self._parameters.fresh_messages} complete frames ({parts})")
            return need

        def ready() -> bool:
            self._graph.check()
            need = missing()
            self._graph.check_hope(frames=self._course.fresh_frames() >= self._parameters.fresh_messages)
            if need:
                self._status.say(Status.STARTING, detail=f"waiting for {', '.join(need)}", stamp_ns=self._sim_ns)
            return not need

        if not self._graph.spin(ready, timeout):
            raise GraphError(Status.REASON_NO_EPISODE, f"after {timeout:g} s still missing: {', '.join(missing())}")
        self._graph.begin_watch()

    def _wait_for_rest(self) -> None:
        """The policy says READY when the arm rests; a reset before that would command the new world to the old pose."""

        def rests() -> bool:
            self._graph.check()
            return self._graph.supervisor.policy_rests()

        if not self._graph.spin(rests, self._parameters.service_timeout_s):
            raise GraphError(
                Status.REASON_NO_EPISODE, "the policy did not bring the arm to rest after the last episode"
            )

    def _wait_until_alone(self) -> None:
        """No second publisher before the first command; one whose process was killed is gone soon."""

        def alone() -> bool:
            self._graph.check(now=True)
            return not self._graph.supervisor.publisher_fault

        if not self._graph.spin(alone, self._parameters.publisher_timeout_s):
            raise GraphError(Status.REASON_SECOND_PUBLISHER, self._graph.supervisor.publisher_fault)

    def _reset(self, seed: int) -> int:
        """Resets the simulator with a seed; the stamp of the first observation after it [ns]."""
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
        request = SetParameters.Request(parameters=[Parameter(name="seed", value=value)])
        answer = self._graph.call(contract.SIM_SET_PARAMETERS, request)
        refused = [result.reason for result in answer.results if not result.successful]
        if refused:
            raise GraphError(Status.REASON_SIMULATOR_LOST, f"{contract.SIM_SET_PARAMETERS.name}: {refused[0]}")
        reset = self._graph.checked(contract.SIM_RESET, Trigger.Request(), Status.REASON_SIMULATOR_LOST)
        return first_stamp(reset.message, self._parameters.profile)

    def _drain(self) -> None:
        """Gives the last latched messages a moment to leave before the process ends."""
        publishers = (self._episodes, self._status.publisher)
        for publisher in publishers:
            publisher.wait_for_all_acked(Duration(seconds=1))

    def _publish(self, kind: int, stamp_ns: int) -> None:
        assert self._running is not None
        self._running.kind = kind
        self._running.header = messages.header(stamp_ns)
        self._running.decisions = self._course.decisions(stamp_ns)
        self._episodes.publish(self._running)

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_clock(self, message: Clock) -> None:
        self._sim_ns = messages.to_ns(message.clock)
        self._rates[contract.CLOCK.name].add(self._sim_ns)
        self._status.diagnose(self._sim_ns, self._diagnostics)

    def _on_joints(self, message: JointState) -> None:
        position = messages.joint_positions(message)
        stamp_ns = messages.to_ns(message.header.stamp)
        self._course.joints(stamp_ns, position)
        self._rates[contract.JOINT_STATES.name].add(stamp_ns)

    def _diagnostics(self) -> list[DiagnosticPart]:
        course = self._course
        lost, self._lost_shown = course.frames_lost - self._lost_shown, course.frames_lost
        late, incomplete = course.frames.late, course.frames.incomplete
        frames = {"frames_lost": course.frames_lost, "frames_incomplete": incomplete, "messages_late": late}
        frame_part = (
            DiagnosticPart("frames", frames, Level.WARN, f"{lost} frames were lost")
            if lost
            else DiagnosticPart("frames", frames)
        )
        outcomes = {f"outcome_{name}": count for name, count in course.counts.items()}
        running = float(self._running is not None)
        rates = [meter.part(name, self._sim_ns) for name, meter in self._rates.items()]
        return [*rates, frame_part, DiagnosticPart("outcomes", {"episode_running": running, **outcomes})]

    def _on_pose(self, entity: str, message: PoseStamped) -> None:
        self._course.frames.add_pose(entity, messages.to_ns(message.header.stamp), messages.to_pose(message))

    def _on_contact(self, message: DiagnosticArray) -> None:
        self._course.frames.add_contacts(messages.to_ns(message.header.stamp), messages.to_contacts(message))


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
