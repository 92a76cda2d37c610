"""Feeds the recorded inputs of an episode to a real `vla_ensemble` process, which decides on them again.

It is fed as a simulator in lockstep feeds it: the next frame goes out when the last one has its command and, where it
has a camera set, its decision. What was commanded then and what is commanded now is the same as long as the decisions
are.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.config.parameters import PARAMETER_FORMAT, parameter_names
from salus_vla.contract import Topic
from salus_vla.contract.errors import ModelError, RecordingError, SimulatorError
from salus_vla.data.bags.foreign_bag import node_facts
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS, holds, opened_bag
from salus_vla.data.replay.comparison import RecordedDecision
from salus_vla.data.replay.recorded_inputs import (
    FACTS,
    INPUTS,
    EpisodeStory,
    InputFrame,
    read_frames,
    read_story,
)
from salus_vla.processes import start_with_parent
from salus_vla.ros.adapters.messages import header, to_ns, to_time
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.clients.connection import Connection
from salus_vla.ros.clients.lifecycle_manager import GraphError, LifecycleManager
from salus_vla.ros.environment.domains import private_graph
from salus_vla.ros.launch.packages import find_executable
from salus_vla.ros.nodes.ensemble_parameters import EnsembleParameters

NODE = "vla_ensemble"
_PARAMETERS = f"{FACTS}param."
_NEEDS_POSES = "expert"
_STATUS, _CLOCK = contract.STATUS_TOPIC.name, contract.CLOCK.name
_READY_S = 300.0  # wall time to load a model, and for one decision: a large ensemble on a CPU is slow
_AGAIN_S = 1.0
_END_S = 10.0
_LOG_LINES = 15


@dataclass(frozen=True)
class Repeated:
    """What a policy decided on recorded observations.

    Attributes:
        decisions: in order.
        facts: what its node says of itself: parameters, hashes, versions.
    """

    decisions: tuple[RecordedDecision, ...]
    facts: dict[str, str]


@dataclass(frozen=True)
class Decided:
    """What a policy decided on observations that nobody had decided on.

    Attributes:
        added: topic, serialized message, and when it belongs into the recording [ns]: the decisions, and before them
            the start of the episode where the bag does not say it.
        decisions: how many.
        facts: what the policy's node says of itself.
    """

    added: tuple[tuple[Topic, bytes, int], ...]
    decisions: int
    facts: dict[str, str]


def decide_again(
    bag: Path, model: str | None, on_decision: Callable[[int], None], episode: int | None = None
) -> Repeated:
    """Decides on the observations of a bag with the parameters of its recording, in a private ROS domain.

    Args:
        bag: folder of a finished bag.
        model: as `salus collect --model`; None for the recorded one.
        on_decision: called with the number of decisions made so far.
        episode: its number, of a bag that holds several.

    Raises:
        RecordingError: the bag cannot be read, or does not hold the inputs of the policy.
        ModelError: the policy cannot be loaded or fails on an observation.
        SimulatorError: the node does not answer.
    """
    story = read_story(bag, episode)
    provenance = node_facts(bag)
    if model is None and not any(name.startswith(_PARAMETERS) for name in provenance):
        raise RecordingError(f"{bag}: says nothing of the policy that decided, not on {_STATUS} either; give --model")
    feeder, _ = _decided(bag, story, recorded_parameters(provenance, model), on_decision)
    return Repeated(tuple(feeder.decisions), feeder.facts)


def decide_first(
    bag: Path, model: str, task: str, seed: int, on_decision: Callable[[int], None], episode: int | None = None
) -> Decided:
    """Lets a policy decide on cameras and joints that nobody decided on, in a private ROS domain.

    Args:
        bag: folder of a finished bag; it may begin and end anywhere where it has no /salus/episode.
        model: as `salus collect --model`.
        task: the instruction, where the bag does not have it.
        seed: of the policy's noise, likewise.
        on_decision: called with the number of decisions made so far.
        episode: its number, of a bag that holds several.

    Raises:
        RecordingError: the bag cannot be read, does not hold the inputs of the policy, or has decisions already.
        ModelError: the policy cannot be loaded or fails on an observation.
        SimulatorError: the node does not answer.
    """
    with opened_bag(bag) as reader:
        told = holds(reader, contract.EPISODE)
        if holds(reader, contract.SAFETY_SIGNALS):
            raise RecordingError(
                f"{bag}: {contract.SAFETY_SIGNALS.name} is there already; --recompute compares with it"
            )
    added: list[tuple[Topic, bytes, int]] = []
    if told:
        story = read_story(bag, episode, decided=False)
    else:
        first = next((frame for frame in read_frames(bag) if frame.decided), None)
        if first is None:
            raise RecordingError(f"{bag}: holds no camera set with joints of its stamp")
        started = serialize_message(_started(bag, first.stamp_ns, task, seed))
        story = EpisodeStory(first.stamp_ns, None, started, ())
        added.append((contract.EPISODE, started, first.log_ns))
    parameters = recorded_parameters({}, model) | {"task": task}
    feeder, recorded = _decided(bag, story, parameters, on_decision)
    for stamp_ns, raw in feeder.raw:
        log_ns = next(log for stamp, log in recorded if abs(stamp - stamp_ns) <= HALF_FRAME_NS)
        added.append((contract.SAFETY_SIGNALS, raw, log_ns))
    return Decided(tuple(added), len(feeder.raw), feeder.facts)


def _started(bag: Path, stamp_ns: int, task: str, seed: int) -> Episode:
    return Episode(
        header=header(stamp_ns),
        kind=Episode.STARTED,
        run_id=bag.resolve().name,
        episode=0,
        seed=seed,
        task=task,
        policy_source="ensemble",
        outcome=Episode.RUNNING,
    )


def _decided(
    bag: Path, story: EpisodeStory, parameters: Mapping[str, Any], on_decision: Callable[[int], None]
) -> tuple[_Feeder, list[tuple[int, int]]]:
    """Who heard the decisions, and stamp and time of recording of each camera set [ns]."""
    # Never the user's domain: a graph that runs there would be commanded.
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    needs_poses = parameters["policy"] == _NEEDS_POSES
    with private_graph(environment), tempfile.TemporaryDirectory(prefix="salus_recompute_") as folder:
        # What keeps the graph on this machine holds for this process as well.
        os.environ.update({name: value for name, value in environment.items() if name != "ROS_DOMAIN_ID"})
        domain = int(environment["ROS_DOMAIN_ID"])
        with (
            _Feeder(domain, needs_poses=needs_poses) as feeder,
            _node_process(parameters, Path(folder), environment) as process,
        ):
            feeder.bring_up(process)
            recorded = _feed(bag, story, feeder, on_decision)
    return feeder, recorded


def recorded_parameters(provenance: Mapping[str, str], model: str | None) -> dict[str, Any]:
    """Parameters of vla_ensemble that repeat a recording, and let us configure and activate it.

    Args:
        provenance: custom data of the bag.
        model: replaces the recorded members.

    Raises:
        RecordingError: a recorded value cannot be read.
    """
    values: dict[str, Any] = {}
    as_json = provenance.get(f"{FACTS}{PARAMETER_FORMAT}") == "json"
    for name, field in parameter_names(EnsembleParameters).items():
        text = provenance.get(f"{_PARAMETERS}{name}")
        value = field.default
        if text is not None:
            try:
                value = json.loads(text) if as_json else _literal(text, field.default)
            except (ValueError, SyntaxError) as error:
                raise RecordingError(
                    f"{_PARAMETERS}{name} is recorded as {text!r:.80}, which is not a value"
                ) from error
        values[name] = [item for item in value if item] if isinstance(value, tuple | list) else value
    if model is not None:
        values |= {"policy": "ensemble", "model.members": [model]}
    # Nobody else is there to wait for, and interventions change commands only, which are not compared.
    values |= {"commands_to": "", "recorded_by": "", "intervention": "off"}
    values |= {"pacing": "lockstep", "autostart": False, "use_sim_time": True}
    return {name: value for name, value in values.items() if value != []}  # an empty list has no type in YAML


def _literal(text: str, default: Any) -> Any:
    """A value of a bag from before parameters were recorded as JSON."""
    return text if isinstance(default, str) else ast.literal_eval(text)


def _feed(bag: Path, story: EpisodeStory, feeder: _Feeder, on_decision: Callable[[int], None]) -> list[tuple[int, int]]:
    start_ns, started = story.start_ns, story.started
    frames = read_frames(bag, start_ns, story.end_ns)
    first = next(frames, None)
    if first is None or first.stamp_ns > start_ns + HALF_FRAME_NS or not first.decided:
        raise RecordingError(f"{bag}: does not hold the first observation of its episode, of {start_ns * 1e-9:.2f} s")
    # As in a run, the node knows time and observation before it hears of the episode.
    feeder.send_until_ready(first)
    feeder.publish(contract.EPISODE.name, started)
    feeder.wait_for_answer(first)
    on_decision(len(feeder.decisions))
    recorded = [(first.stamp_ns, first.log_ns)]
    for frame in frames:
        feeder.send(frame)
        feeder.wait_for_answer(frame)
        if frame.decided:
            on_decision(len(feeder.decisions))
            recorded.append((frame.stamp_ns, frame.log_ns))
    return recorded


@contextmanager
def _node_process(
    parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> Iterator[_NodeProcess]:
    file, log = folder / "parameters.yaml", folder / "vla_ensemble.log"
    file.write_text(yaml.safe_dump({NODE: {"ros__parameters": dict(parameters)}}), encoding="utf-8")
    executable = find_executable("salus_vla", NODE, environment)
    with log.open("wb") as output:
        process = start_with_parent(
            [str(executable), "--ros-args", "--params-file", str(file)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _NodeProcess(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class _NodeProcess:
    """The policy's process and the file with its output."""

    popen: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises ModelError when the process has ended."""
        if self.popen.poll() is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            raise ModelError("\n".join([f"{NODE} has ended with exit code {self.popen.returncode}:", *lines]))


class _Feeder(Connection):
    """Publishes what the simulator published, and hears the answers.

    Attributes:
        decisions: every message on /salus/safety_signals so far.
        raw: stamp [ns] and bytes of each of them.
        facts: of the newest status of the policy.
    """

    def __init__(self, domain: int, *, needs_poses: bool) -> None:
        """Connects; before the policy's process is started, so that it knows us from its first message on."""
        self.decisions: list[RecordedDecision] = []
        self.raw: list[tuple[int, bytes]] = []
        self.facts: dict[str, str] = {}
        self._status: Status | None = None
        self._answered_ns = -1
        self._process: _NodeProcess | None = None
        super().__init__("salus_recompute", domain=domain)
        subscribe(self.node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        subscribe(self.node, contract.JOINT_TARGET, self._on_command, keep_all=True)
        subscribe(self.node, contract.SAFETY_SIGNALS, self._on_signals, keep_all=True)
        self._publishers = {topic.name: self._publisher(topic) for topic in (*INPUTS, contract.EPISODE)}
        poses = [topic.name for topic in map(contract.pose_topic, contract.ENTITIES)]
        self._heard = [item for name, item in self._publishers.items() if needs_poses or name not in poses]

    def bring_up(self, process: _NodeProcess) -> None:
        """Configures and activates the policy's node, and waits until it hears us.

        Raises:
            ModelError: the policy cannot be loaded, or its process ends.
            SimulatorError: it does not come up.
        """
        self._process = process
        lifecycle = LifecycleManager(self.node, [NODE], self._spin, self._check)
        try:
            lifecycle.bring_up(_READY_S, _READY_S)
        except GraphError as error:
            process.check()
            raise SimulatorError(error.detail) from error
        finally:
            lifecycle.close()
        self._wait(lambda: all(item.get_subscription_count() for item in self._heard), f"{NODE} to subscribe")

    def send(self, frame: InputFrame) -> None:
        """Publishes a frame; its stamp is the time where none was recorded, as of a robot."""
        for topic, raw in frame.messages:
            self.publish(topic, raw)
            if topic == contract.JOINT_STATES.name and not any(name == _CLOCK for name, _ in frame.messages):
                self._publishers[_CLOCK].publish(Clock(clock=to_time(frame.stamp_ns)))

    def publish(self, topic: str, raw: bytes) -> None:
        """Publishes a serialized message."""
        self._publishers[topic].publish(raw)

    def send_until_ready(self, frame: InputFrame) -> None:
        """Publishes the first frame until the node has made its observation.

        What a publisher sends once it knows a subscription is still lost where the subscription does not yet know the
        publisher, and nothing says when it does.
        """
        ready = partial(self._is_ready, frame.stamp_ns)

        def said() -> bool:
            if not ready():
                self.send(frame)
                self.spin(_AGAIN_S, ready)
            return ready()

        self._wait(said, f"{NODE} to see the observation of {frame.stamp_ns * 1e-9:.2f} s")

    def wait_for_answer(self, frame: InputFrame) -> None:
        """Waits for the command, and for the decision if the frame has a camera set.

        Raises:
            ModelError: the decision failed.
        """
        self._wait(lambda: self._answered_ns >= frame.stamp_ns, f"the command of {frame.stamp_ns * 1e-9:.2f} s")
        if frame.decided:
            self._wait(partial(self._has_decided, frame.stamp_ns), f"the decision of {frame.stamp_ns * 1e-9:.2f} s")
        if self._has_failed():
            assert self._status is not None
            raise ModelError(f"{NODE}: {self._status.reason}: {self._status.detail}")

    def _publisher(self, topic: Topic) -> Any:
        return self.node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos))

    def _on_status(self, message: Status) -> None:
        if message.role == "policy":
            self._status = message
            self.facts = {item.key: item.value for item in message.facts}

    def _on_command(self, message: JointState) -> None:
        self._answered_ns = max(self._answered_ns, to_ns(message.header.stamp))

    def _on_signals(self, message: SafetySignals) -> None:
        self.decisions.append(RecordedDecision.of(message))
        self.raw.append((to_ns(message.header.stamp), serialize_message(message)))

    def _has_failed(self) -> bool:
        return self._status is not None and self._status.state == Status.FAILED

    def _is_ready(self, stamp_ns: int) -> bool:
        status = self._status
        return (
            status is not None
            and status.state == Status.READY
            and abs(to_ns(status.header.stamp) - stamp_ns) <= HALF_FRAME_NS
        )

    def _has_decided(self, stamp_ns: int) -> bool:
        return bool(self.decisions) and self.decisions[-1].stamp_ns >= stamp_ns - HALF_FRAME_NS

    def _check(self) -> None:
        """Raises ModelError when the policy has said that it failed, or its process has ended."""
        if self._has_failed():
            raise ModelError(self._status.detail if self._status is not None else f"{NODE} failed")
        assert self._process is not None
        self._process.check()

    def _spin(self, done: Callable[[], bool], timeout_s: float) -> bool:
        return self.spin(timeout_s, done)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_S
        while not condition():
            self._process.check()
            if time.monotonic() > deadline:
                words = f"; its status: {self._status.reason} {self._status.detail}" if self._status else ""
                raise SimulatorError(f"waited {_READY_S:.0f} s for {what}{words}")
            self._executor.spin_once(timeout_sec=0.1)
