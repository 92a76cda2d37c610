"""A real `mujoco_sim` process, and a client that knows nothing of it but the topic contract.

Everything is waited for with a time limit; nothing sleeps.
"""

import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix
from rcl_interfaces.msg import Log, Parameter, ParameterType, ParameterValue, SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.node import NodeNameNonExistentError
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.contract import CAMERAS, Service, Topic
from salus_vla.ros.adapters.messages import header, to_ns
from salus_vla.ros.adapters.qos_profiles import interface_class

from .graph_client import GraphClient

LIMIT_S = 30.0  # for anything that must happen: far more than it takes, so that a busy machine fails no test
FRAME_NS = 20_000_000
OF_EVERY_NODE = ("/rosout", "/parameter_events")
IMAGES = tuple(contract.image_topic(camera) for camera in CAMERAS)


def start_simulator(*ros_arguments: str, **pipes: Any) -> subprocess.Popen[str]:
    """Starts the installed executable, with `--ros-args` before the arguments."""
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "mujoco_sim")
    # Read by Fast DDS in this process, too.
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(config_dir() / "fastdds.xml")
    return subprocess.Popen([str(executable), "--ros-args", *ros_arguments], text=True, **pipes)


@contextmanager
def running_simulator(*ros_arguments: str) -> Iterator["SimClient"]:
    """A simulator with a client that hears it; at the end SIGINT must end the process with exit code 0."""
    with start_simulator(*ros_arguments) as process:
        try:
            client = SimClient()
            try:
                client.wait(lambda: client.received["/joint_states"] or process.poll() is not None, "a frame")
                assert process.poll() is None, "the simulator has ended"
                yield client
            finally:
                client.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()  # does nothing to a process that has ended


@dataclass(frozen=True)
class Reset:
    """Answer of /sim/reset."""

    seed: int
    stamp_ns: int
    profile: str


class SimClient(GraphClient):
    """Receives every topic of the simulator (images only when asked to), commands it and calls its services.

    Attributes:
        received: topic -> messages in order of arrival, since the last `forget`.
        logs: what any node logged.
    """

    def __init__(self) -> None:
        super().__init__("contract_client", LIMIT_S)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.logs: list[Log] = []
        self.node.create_subscription(Log, "/rosout", self.logs.append, 100)
        for topic in contract.SIMULATOR_TOPICS:
            if topic not in IMAGES and not topic.optional:
                self.subscribe(topic)
        # Deeper than the contract's, so that it is the simulator's queue that decides which commands count.
        self._commands = self.node.create_publisher(JointState, "/joint_command", 10)
        self._services = {
            service: self.node.create_client(interface_class(service), service.name)
            for service in (contract.SIM_RESET, contract.SIM_SET_PARAMETERS)
        }

    # -- receiving -----------------------------------------------------------------------------------------------------

    def subscribe(self, topic: Topic) -> Any:
        """Receives a topic from now on, through a queue that loses nothing."""
        return self.listen_to(topic, self.received[topic.name].append, depth=200)

    @contextmanager
    def watching_cameras(self) -> Iterator[None]:
        """Receives the images meanwhile."""
        subscriptions = [self.subscribe(topic) for topic in IMAGES]
        try:
            yield
        finally:
            for subscription in subscriptions:
                self.node.destroy_subscription(subscription)

    def forget(self) -> None:
        """Drops what was received."""
        for messages in self.received.values():
            messages.clear()
        self.logs.clear()

    def eventually(self, get: Callable[[], Any], expected: Any) -> None:
        """Waits until `get` gives what is expected; what is known of the graph arrives after its messages."""
        deadline = time.monotonic() + 10.0
        while (found := get()) != expected and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.1)
        assert found == expected

    def interfaces(self, kind: str, node: str) -> dict[str, list[str]]:
        """Name -> types of a node's `publisher`s, `subscriber`s, `service`s or `client`s, without those of any node."""
        try:
            found = getattr(self.node, f"get_{kind}_names_and_types_by_node")(node, "/")
        except NodeNameNonExistentError:  # not known yet
            return {}
        return {name: types for name, types in found if name not in OF_EVERY_NODE and not name.startswith(f"/{node}/")}

    def listen(self, seconds: float) -> None:
        """Handles messages for a while, in which something must not happen."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    def wait_for(self, topic: Topic, count: int) -> list[Any]:
        """The first `count` messages of a topic since the last `forget`."""
        messages = self.received[topic.name]
        self.wait(lambda: len(messages) >= count, f"{count} messages on {topic.name}")
        return messages[:count]

    def at(self, topic: Topic, stamp_ns: int) -> Any:
        """The message with this stamp."""
        return self.wait(
            lambda: next((m for m in self.received[topic.name] if stamp_of(m) == stamp_ns), None),
            f"{topic.name} with stamp {stamp_ns}",
        )

    # -- services ------------------------------------------------------------------------------------------------------

    def call(self, service: Service, request: Any) -> Any:
        """Answer of a service."""
        client = self._services[service]
        self.wait(client.service_is_ready, service.name)
        future = client.call_async(request)
        self.wait(future.done, f"answer of {service.name}")
        return future.result()

    def set_parameters(self, values: Mapping[str, object]) -> list[SetParametersResult]:
        """Sets what the next reset uses.

        Commands and calls arrive in the order in which they were sent, and a call is handled after the commands before
        it; so an answer also says that those were handled.
        """
        parameters = [Parameter(name=name, value=_parameter_value(value)) for name, value in values.items()]
        return self.call(contract.SIM_SET_PARAMETERS, SetParameters.Request(parameters=parameters)).results

    def reset(self, seed: int = 0, **poses: Sequence[float]) -> Reset:
        """Sets the seed and the poses of entities, resets and waits until the joints of the reset were received."""
        results = self.set_parameters({"seed": seed} | {f"{entity}.pose": pose for entity, pose in poses.items()})
        assert all(result.successful for result in results), results
        response = self.try_reset()
        assert response.success, response.message
        reset = Reset(**json.loads(response.message))
        self.at(contract.JOINT_STATES, reset.stamp_ns)
        return reset

    def try_reset(self) -> Trigger.Response:
        """Answer of /sim/reset with whatever parameters were set."""
        return self.call(contract.SIM_RESET, Trigger.Request())

    # -- commands ------------------------------------------------------------------------------------------------------

    def send(self, stamp_ns: int, targets: Mapping[str, float] | None = None, **changed: Any) -> None:
        """Sends a command; `changed` replaces fields of the message."""
        targets = targets or {}
        fields = {"name": list(targets), "position": [float(v) for v in targets.values()]} | changed
        self._commands.publish(JointState(header=header(stamp_ns), **fields))

    def send_and_see(self, stamp_ns: int, targets: Mapping[str, float] | None = None, **changed: Any) -> None:
        """Sends a command and returns when the simulator has handled it."""
        self.send(stamp_ns, targets, **changed)
        self.set_parameters({})

    def step(self, stamp_ns: int, targets: Mapping[str, float] | None = None, frames: int = 1) -> JointState | None:
        """Answers this frame with targets and the next ones with none; the joints of the last frame that came of it."""
        state = None
        for number in range(frames):
            self.send(stamp_ns + number * FRAME_NS, None if number else targets)
            state = self.at(contract.JOINT_STATES, stamp_ns + (number + 1) * FRAME_NS)
        return state


def stamp_of(message: Any) -> int:
    """Stamp of a message with a header, or of a /clock [ns]."""
    return to_ns(message.clock if hasattr(message, "clock") else message.header.stamp)


def stamps_of(messages: Sequence[Any]) -> list[int]:
    """Stamps of messages [ns]."""
    return [stamp_of(message) for message in messages]


def _parameter_value(value: Any) -> ParameterValue:
    if isinstance(value, int):
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE_ARRAY, double_array_value=[float(v) for v in value])
