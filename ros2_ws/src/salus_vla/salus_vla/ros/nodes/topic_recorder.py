"""Subscribes to every topic of the contract, raw, and offers start and stop of an episode's bag.

All bookkeeping is `data.bags.EpisodeRecorder`'s.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future

from salus_msgs.msg import Status
from salus_msgs.srv import StartRecording, StopRecording
from salus_vla import contract
from salus_vla.contract import Source, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.bag_writer import WriterOptions
from salus_vla.data.bags.closing_wait import ClosingWait
from salus_vla.data.bags.episode_recorder import EpisodeRecorder, FinishedEpisode, State
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_episode import EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.provenance import machine_facts
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.health.first_messages import FirstMessages
from salus_vla.health.meters import DiagnosticPart, LatencyMeter, RateMeter, disk
from salus_vla.health.publishers import SOLE
from salus_vla.ros.adapters.lifecycle import destroy
from salus_vla.ros.adapters.publisher_watch import PublisherWatch
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.nodes.recorder_parameters import RecorderParameters


class TopicRecorder:
    """Wires an `EpisodeRecorder` to the topics; records while it is active."""

    def __init__(
        self,
        node: Node,
        executor: Executor,
        parameters: RecorderParameters,
        status: StatusPublisher,
        made: Path | None = None,
    ) -> None:
        """Opens the run and subscribes.

        Args:
            node: gets subscriptions and services.
            executor: of that node.
            parameters: of the node.
            status: of the node.
            made: folder of the run that this process made before, which is no other's.

        Raises:
            RecordingError: the run's folder cannot be written or resumed, or a parameter of it is wrong.
        """
        self._node, self._executor, self._status = node, executor, status
        self._parameters = p = parameters
        self._active = False
        self._facts: dict[str, dict[str, str]] = {}
        topics = [topic for topic in contract.TOPICS if _installed(topic)]
        types = MessageTypes()
        self._run = open_run(p, made)
        options = WriterOptions(compression=p.compression)  # type: ignore[arg-type]
        writer = partial(open_writer, backend=p.backend, types=types, options=options)  # type: ignore[arg-type]
        try:
            self._recorder = EpisodeRecorder(self._run, topics, types, writer)
        except RecordingError:
            self._run.close()
            raise
        self._publishers = PublisherWatch(node, SOLE)
        self._waiting: Future | None = None  # for the end of the episode that is recorded
        self._wait = ClosingWait(p.close_timeout_s)
        self._finished: FinishedEpisode | None = None  # the last one
        self._messages = self._bytes = 0
        self._writing = LatencyMeter(keep=5000)
        # Two reports: a turn takes all that waits on one topic, so the clock may be ahead of the others at a report.
        self._rates = {topic.name: RateMeter(topic.rate_hz or 0.0, patience=2) for topic in topics if judged(topic)}
        # READY once every topic that the simulator publishes all the time has been heard.
        self._first = FirstMessages(self._rates)
        # A group of its own: while it waits for the last messages, the subscriptions' group must go on.
        group = MutuallyExclusiveCallbackGroup()
        self._made = [
            *(subscribe(node, topic, partial(self._on_message, topic), keep_all=True, raw=True) for topic in topics),
            node.create_service(StartRecording, contract.RECORDER_START.name, self._on_start),
            node.create_service(StopRecording, contract.RECORDER_STOP.name, self._on_stop, callback_group=group),
        ]
        self._tell_run()

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self._run.path

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    def activate(self) -> None:
        """Episodes may be recorded from now on."""
        self._active = True
        self._say_idle("")

    def deactivate(self) -> None:
        """Finishes an open bag as ABORTED; no episode is begun any more."""
        self._active = False
        self._finish_open("the recorder was deactivated by a lifecycle transition")
        detail = "the recorder is not active: it was deactivated by a lifecycle transition"
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, detail, self._recorder.sim_time_ns or 0)

    def close(self) -> None:
        """Finishes an open bag as ABORTED, so that Ctrl-C loses nothing, frees the run and disconnects."""
        try:
            self._finish_open("the recorder was stopped" + self._episode_node_gone())
        finally:
            self._run.close()
            destroy(self._node, self._made)

    def tick(self) -> None:
        """Called again and again: closes a bag whose last messages do not come, and gives diagnostics."""
        # Wall time, not sim time: it must also end when the simulator stands still.
        if self._wait.over(time.monotonic()):
            self._give_up_waiting()
        if self._publishers.look():
            self._on_publishers()
        # Who records all the same, an arm without ground truth for example, knows what is missing.
        waits = self._active and self._recorder.state is State.IDLE
        if waits and (hopeless := self._first.hopeless(time.monotonic())):
            self._status.say(Status.FAILED, Status.REASON_NO_EPISODE, hopeless, self._recorder.sim_time_ns or 0)
        self._status.diagnose(self._recorder.sim_time_ns or 0, self._diagnostics)

    def _on_publishers(self) -> None:
        """Two sources of one topic in a bag make no good episode, whatever becomes of it."""
        fault, recorder = self._publishers.fault, self._recorder
        if fault:
            if recorder.state is not State.IDLE:
                recorder.spoiled = fault
            self._status.say(Status.HOLDING, Status.REASON_SECOND_PUBLISHER, fault, recorder.sim_time_ns or 0)
        elif self._active and recorder.state is State.IDLE:
            self._say_idle("the second publisher is gone")

    def _finish_open(self, detail: str) -> None:
        recorder = self._recorder
        if recorder.state is State.RECORDING:
            recorder.stop_now(detail)
        self._wait.end()
        if recorder.state is State.STOPPING:
            self._finished = recorder.close()
            self._answer(None)
        else:
            recorder.abandon()
            self._answer(RecordingError(detail))

    def _episode_node_gone(self) -> str:
        """Names the episode node where it has ended before; only on the same machine is that known."""
        facts = self._facts.get("episode", {})
        pid = facts.get("pid", "")
        gone = pid.isdecimal() and facts.get("host") == os.uname().nodename and not Path("/proc", pid).exists()
        return f"; {facts.get('node', 'the episode node')} had ended" if gone else ""

    def _tell_run(self) -> None:
        self._status.add_facts({"run_id": self._run.run_id, "path": str(self._run.path)})

    def _say_idle(self, detail: str) -> None:
        missing = self._first.missing
        state = Status.STARTING if missing else Status.READY
        if missing:
            detail = f"nothing yet on {', '.join(missing)}"
        self._status.say(state, detail=detail, stamp_ns=self._recorder.sim_time_ns or 0)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _on_message(self, topic: Topic, cdr: bytes, message: Any) -> None:
        self._messages += 1
        self._bytes += len(cdr)
        if self._first.heard(topic.name, time.monotonic()) and self._active:
            self._say_idle("")
        if topic.name == contract.STATUS_TOPIC.name:
            self._facts[message.role] = {item.key: item.value for item in message.facts}  # provenance of the next bags
        event = EpisodeEvent.of(message) if topic.name == contract.EPISODE.name else None
        began = time.perf_counter()
        try:
            self._recorder.on_message(topic.name, cdr, time.time_ns(), event)
            self._writing.add((time.perf_counter() - began) * 1e3)
            if event is not None:
                self._on_event(event)
            if self._recorder.state is State.STOPPING:
                if topic.source is not Source.NODES:  # those never fall silent
                    self._wait.heard(time.monotonic())
                if self._recorder.ready_to_close():
                    self._close_episode()
        except RecordingError as error:
            self._fail(error)
        if topic.name in self._rates:
            self._rates[topic.name].add(self._recorder.sim_time_ns or 0)
        if topic.name == contract.CLOCK.name:
            self._status.diagnose(self._recorder.sim_time_ns or 0, self._diagnostics)

    def _on_event(self, event: EpisodeEvent) -> None:
        recorder = self._recorder
        if event.kind is EventKind.STARTED and recorder.state is State.BUFFERING:
            recorder.begin(event.stamp_ns)
        ours = (event.run_id, event.episode) == (self._run.run_id, recorder.number)
        if ours and event.kind is EventKind.ENDED and recorder.state is State.RECORDING:
            recorder.stop_now("")
            self._wait.begin(time.monotonic(), aborted=event.outcome == Outcome.ABORTED.name)

    # -- services ------------------------------------------------------------------------------------------------------

    def _on_start(self, request: StartRecording.Request, response: StartRecording.Response) -> StartRecording.Response:
        facts = {f"{role}.{key}": value for role, pairs in self._facts.items() for key, value in pairs.items()}
        completed = sum(entry.outcome != Outcome.ABORTED.name for entry in self._run.episodes)
        number = self._run.next_episode
        meta = EpisodeMeta(number, request.first_seed + number, request.task, request.policy_source)
        try:
            if not self._active:
                raise RecordingError("the recorder is not active: it was deactivated by a lifecycle transition")
            self._publishers.look(now=True)
            if self._publishers.fault:
                raise RecordingError(self._publishers.fault)
            response.complete = completed >= request.wanted
            if not response.complete:
                response.path = str(self._recorder.start(meta, {**self._run.record.provenance, **facts}))
        except RecordingError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        if not response.complete:
            response.run_id, response.episode, response.seed = self._run.run_id, meta.number, meta.seed
            self._status.say(Status.RUNNING, stamp_ns=self._recorder.sim_time_ns or 0)
        return response

    async def _on_stop(
        self, request: StopRecording.Request, response: StopRecording.Response
    ) -> StopRecording.Response:
        last = self._finished.entry.number if self._finished is not None else None
        recording = self._recorder.number
        try:
            if request.run_id != self._run.run_id or request.episode not in (last, recording):
                raise RecordingError(
                    f"asked to stop episode {request.episode} of run '{request.run_id}', this recorder records "
                    f"{'nothing' if recording is None else f'episode {recording}'} of run '{self._run.run_id}'"
                )
            if request.episode == recording:
                self._waiting = Future(executor=self._executor)
                if self._recorder.state is not State.STOPPING:  # its ENDED is still on the way
                    self._wait.begin(time.monotonic())
                await self._waiting
            assert self._finished is not None
        except RecordingError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        response.path, response.gaps = str(self._finished.path), self._finished.audit.gaps
        return response

    def _give_up_waiting(self) -> None:
        """What was waited for did not come in time: the last messages of an episode, or its ENDED."""
        self._wait.end()
        recorder = self._recorder
        if recorder.state is State.STOPPING:
            self._close_episode()
        elif recorder.number is not None:
            self._answer(
                RecordingError(
                    f"episode {recorder.number}: no ENDED on {contract.EPISODE.name} within "
                    f"{self._parameters.close_timeout_s:g} s"
                )
            )

    def _close_episode(self) -> None:
        self._wait.end()
        try:
            waiting = self._recorder.waiting_for()
            self._finished = self._recorder.close()
        except RecordingError as error:
            self._fail(error)
            return
        if waiting:
            self._node.get_logger().warning(
                f"{self._finished.path.name}: closed without the last messages of {', '.join(waiting)}"
            )
        if self._active:
            self._say_idle("")
        self._answer(None)

    def _answer(self, error: RecordingError | None) -> None:
        """To whoever waits for the end of the episode."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and error is not None:
            waiting.set_exception(error)
        elif waiting is not None:
            waiting.set_result(None)

    def _fail(self, error: RecordingError) -> None:
        self._status.say(Status.FAILED, Status.REASON_RECORDING_FAILED, str(error), self._recorder.sim_time_ns or 0)
        self._answer(error)

    def _diagnostics(self) -> list[DiagnosticPart]:
        now_ns = self._recorder.sim_time_ns or 0
        state = self._recorder.state
        values: dict[str, float] = {
            "recording": float(state is not State.IDLE),
            "episodes_finished": len(self._run.episodes),
            "messages": self._messages,
            "megabytes": round(self._bytes / 1e6, 3),
        }
        parts = [DiagnosticPart("write", {**values, **self._writing.values("write")}, message=state.value)]
        parts += [meter.part(name, now_ns) for name, meter in self._rates.items()]
        return [*parts, disk(shutil.disk_usage(self._run.path).free, self._parameters.disk_warn_gb)]


def open_run(p: RecorderParameters, made: Path | None = None) -> RunFolder:
    """Makes the run's folder, or opens it to go on; `made` is the one that this process has made before.

    Raises:
        RecordingError: it cannot be written, exists although it should not or the reverse, or a parameter is wrong.
    """
    out = Path(p.out).expanduser()
    if p.resume:
        if not p.run_id:
            raise RecordingError("resume needs run_id, the name of the run to continue")
        return RunFolder.open_existing(out / p.run_id)
    if made is not None and made == (out / (p.run_id or made.name)):
        return RunFolder.open_existing(made)
    run_id = p.run_id or datetime.now().strftime("run_%Y%m%d_%H%M%S")
    try:
        arguments = {key: str(value) for key, value in json.loads(p.arguments or "{}").items()}
    except (ValueError, AttributeError) as error:
        raise RecordingError(f"parameter 'arguments' is not a JSON object: {p.arguments!r}") from error
    return RunFolder.create(out, run_id, provenance=machine_facts(), arguments=arguments)


def judged(topic: Topic) -> bool:
    """Whether a topic comes all the time, so that its rate says something: what the simulator publishes."""
    return topic.source is Source.SIMULATOR and topic.rate_hz is not None and not topic.optional


def _installed(topic: Topic) -> bool:
    try:
        interface_class(topic)
    except ImportError:
        if not topic.optional:
            raise
        return False
    return True
