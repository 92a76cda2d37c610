"""A real `vla_ensemble` process that is fed recorded inputs, as a simulator in lockstep feeds it."""

from __future__ import annotations

import signal
import subprocess
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

from salus_msgs.msg import SafetySignals, Status
from salus_vla import contract
from salus_vla.contract import Topic
from salus_vla.contract.errors import ModelError, SimulatorError
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.data.replay.comparison import RecordedDecision
from salus_vla.data.replay.recorded_inputs import INPUTS, InputFrame
from salus_vla.processes import start_with_parent
from salus_vla.ros.adapters.messages import to_ns, to_time
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.clients.connection import Connection
from salus_vla.ros.clients.lifecycle_manager import GraphError, LifecycleManager
from salus_vla.ros.launch.packages import find_executable

_NODE = "vla_ensemble"
_CLOCK = contract.CLOCK.name
_READY_S = 300.0  # wall time to load a model, and for one decision: a large ensemble on a CPU is slow
_AGAIN_S = 1.0
_END_S = 10.0
_LOG_LINES = 15


@contextmanager
def policy_process(
    parameters: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> Iterator[PolicyProcess]:
    """Starts the policy's node with parameters, and ends it; its files are in the folder."""
    file, log = folder / "parameters.yaml", folder / "vla_ensemble.log"
    file.write_text(yaml.safe_dump({_NODE: {"ros__parameters": dict(parameters)}}), encoding="utf-8")
    executable = find_executable("salus_vla", _NODE, environment)
    with log.open("wb") as output:
        process = start_with_parent(
            [str(executable), "--ros-args", "--params-file", str(file)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield PolicyProcess(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class PolicyProcess:
    """The policy's process and the file with its output."""

    popen: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises ModelError when the process has ended."""
        if self.popen.poll() is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            raise ModelError("\n".join([f"{_NODE} has ended with exit code {self.popen.returncode}:", *lines]))


class PolicyFeeder(Connection):
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
        self._process: PolicyProcess | None = None
        super().__init__("salus_recompute", domain=domain)
        subscribe(self.node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        subscribe(self.node, contract.JOINT_TARGET, self._on_command, keep_all=True)
        subscribe(self.node, contract.SAFETY_SIGNALS, self._on_signals, keep_all=True)
        self._publishers = {topic.name: self._publisher(topic) for topic in (*INPUTS, contract.EPISODE)}
        poses = [topic.name for topic in map(contract.pose_topic, contract.ENTITIES)]
        self._heard = [item for name, item in self._publishers.items() if needs_poses or name not in poses]

    def bring_up(self, process: PolicyProcess) -> None:
        """Configures and activates the policy's node, and waits until it hears us.

        Raises:
            ModelError: the policy cannot be loaded, or its process ends.
            SimulatorError: it does not come up.
        """
        self._process = process
        lifecycle = LifecycleManager(self.node, [_NODE], self._spin, self._check)
        try:
            lifecycle.bring_up(_READY_S, _READY_S)
        except GraphError as error:
            process.check()
            raise SimulatorError(error.detail) from error
        finally:
            lifecycle.close()
        self._wait(lambda: all(item.get_subscription_count() for item in self._heard), f"{_NODE} to subscribe")

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

        self._wait(said, f"{_NODE} to see the observation of {frame.stamp_ns * 1e-9:.2f} s")

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
            raise ModelError(f"{_NODE}: {self._status.reason}: {self._status.detail}")

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
            raise ModelError(self._status.detail if self._status is not None else f"{_NODE} failed")
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
