"""Real nodes flooded with messages that break the contract: each goes on and names every topic; the bag is closed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import serialize_message

from graph.graph_client import GraphClient
from hostile import good_message
from salus_msgs.msg import Episode
from salus_msgs.srv import StartRecording
from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.contract import CAMERAS, ENTITIES, Topic
from salus_vla.data.bags.recorded_observations import opened_bag
from salus_vla.data.bags.run_info import read_run

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

LIMIT_S, FRAME_NS = 40.0, 20_000_000
IMAGES = [contract.image_topic(camera) for camera in CAMERAS]
POSES = [contract.pose_topic(entity) for entity in ENTITIES]
# Node -> the topics of which it must refuse messages.
READS = {
    "vla_ensemble": [contract.CLOCK, contract.JOINT_STATES, contract.EPISODE, *IMAGES, *POSES],
    "episode": [
        contract.CLOCK, contract.JOINT_STATES, contract.CONTACT, contract.STATUS_TOPIC, contract.DIAGNOSTICS, *POSES
    ],
    "command_gate": [contract.JOINT_STATES, contract.JOINT_TARGET],
    "bag_recorder": [
        contract.CLOCK, contract.JOINT_STATES, contract.CONTACT, contract.EPISODE, contract.STATUS_TOPIC, *IMAGES,
        *POSES, contract.JOINT_TARGET, contract.JOINT_COMMAND, contract.SAFETY_SIGNALS, contract.DIAGNOSTICS,
    ],
}  # fmt: skip
# The policy by itself: it would rightly stop a run of which only the clock and the joints go on.
# The gate too: what it publishes may have no second publisher beside a recorder.
GROUPS = [["vla_ensemble"], ["command_gate"], ["episode", "bag_recorder"]]
TOPICS = list({topic.name: topic for topics in READS.values() for topic in topics}.values())
ROUNDS = 5


def wrong_messages(topic: Topic, now_ns: int, chance: random.Random) -> Iterator[bytes]:
    """Serialized messages: cut off, with changed bytes, with stamps and numbers that cannot be."""
    good = serialize_message(good_message(topic, now_ns))
    for size in (1, 4, 7, chance.randrange(1, len(good))):  # Fast DDS itself never delivers one of no bytes
        yield good[:size]
    for stamp in ((-1, 0), (1, 2**32 - 1)):
        yield good[:4] + struct.pack("<iI", *stamp) + good[12:]
    # What can be read may not start an episode or say that a node failed: that rightly ends a run.
    if topic not in (contract.STATUS_TOPIC, contract.EPISODE):
        yield good[:4] + struct.pack("<iI", 2**31 - 1, 0) + good[12:]
        for _ in range(6):
            at = chance.randrange(4, len(good))
            changed = good[:at] + chance.randbytes(chance.randrange(1, 9)) + good[at + 8 :]
            yield changed[: len(good)]  # no publisher sends more than its type can be
    message = good_message(topic, now_ns)
    if topic in (contract.JOINT_STATES, contract.JOINT_TARGET, contract.JOINT_COMMAND):
        for value in (float("nan"), float("inf"), 1e308, -1e308):
            message.position[chance.randrange(9)] = value
            yield serialize_message(message)
        message.name = message.name[:4] * 3
    elif topic in IMAGES:
        message.encoding, message.width = "bgr8", 2**31
    elif topic in POSES:
        message.pose.orientation.w = 0.0
    elif topic == contract.CONTACT:
        message.status[0].values = []
    elif topic == contract.EPISODE:
        message.kind, message.seed = 200, -1
    elif topic == contract.STATUS_TOPIC:
        message.role = ""
    yield serialize_message(message)


class Attacker(GraphClient):
    """Publishes on every topic what comes to mind, and listens to the diagnostics.

    Attributes:
        now_ns: stamp of the newest good frame [ns].
        refused: messages that a node refused, by node and topic.
    """

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        super().__init__("attacker", LIMIT_S)
        self._processes = processes
        self.now_ns = 10**9
        self.refused: dict[tuple[str, str], int] = {}
        self.listen_to(contract.DIAGNOSTICS, self._on_diagnostics, depth=200)
        self._publishers = {topic: self.publisher(topic, depth=200) for topic in TOPICS}
        self._start = self.node.create_client(StartRecording, contract.RECORDER_START.name)
        self.wait(lambda: all(map(self._is_heard, TOPICS)), "subscriptions of all nodes")

    def _is_heard(self, topic: Topic) -> bool:
        wanted = sum(topic in READS[name] for name in self._processes) + (topic == contract.DIAGNOSTICS)
        return self._publishers[topic].get_subscription_count() >= wanted

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.endswith(": messages"):
                node = status.name.removeprefix("salus/").removesuffix(": messages")
                for item in status.values:
                    self.refused[node, item.key.removeprefix("refused ")] = int(item.value)

    def check(self) -> None:
        """The nodes are alive."""
        ended = {name: process.poll() for name, process in self._processes.items() if process.poll() is not None}
        assert not ended, f"ended: {ended}"

    def send(self, topic: Topic, message: Any) -> None:
        self._publishers[topic].publish(message)

    def good_frame(self) -> None:
        self.now_ns += FRAME_NS
        for topic in (contract.CLOCK, contract.JOINT_STATES, *POSES):
            self.send(topic, good_message(topic, self.now_ns))

    def start_recording(self) -> None:
        """As the episode node does it."""
        self.wait(self._start.service_is_ready, contract.RECORDER_START.name)
        future = self._start.call_async(StartRecording.Request(wanted=1, first_seed=7, task="lift"))
        self.wait(future.done, "answer of the recorder")
        assert future.result().success, future.result().message
        message = good_message(contract.EPISODE, self.now_ns)
        message.kind, message.run_id, message.episode = Episode.STARTED, "run", 0
        self.send(contract.EPISODE, message)

    def attack(self) -> None:
        """Some rounds of everything, and more until every node has said of each of its topics that it refused some."""
        chance, rounds = random.Random(5), 0
        wanted = {(name, topic.name) for name in self._processes for topic in READS[name]}

        def done() -> bool:
            nonlocal rounds
            rounds += 1
            for topic in TOPICS:
                for message in wrong_messages(topic, self.now_ns, chance):
                    self.send(topic, message)
            for _ in range(10):
                self.good_frame()
            return rounds > ROUNDS and wanted <= {key for key, count in self.refused.items() if count}

        self.wait(done, f"refusal of each of {sorted(wanted)}")


@pytest.fixture(params=GROUPS, ids=" ".join)
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The nodes; their output is in NAME.log."""
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(config_dir() / "fastdds.xml")
    parameters = {
        "vla_ensemble": ["policy:=expert", "commands_to:=''"],
        "bag_recorder": [f"out:={tmp_path}", "run_id:=run"],
    }
    with contextlib.ExitStack() as stack:
        started = {}
        for name in request.param:
            executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", name)
            given = ["use_sim_time:=true", *parameters.get(name, [])]
            words = [word for parameter in given for word in ("-p", parameter)]
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = [str(executable), "--ros-args", *words]
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
            stack.callback(process.kill)  # does nothing to a process that has ended
            started[name] = process
        yield started


def test_every_node_goes_on_names_each_topic_and_closes_what_it_recorded(
    processes: dict[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    attacker = Attacker(processes)
    try:
        attacker.good_frame()
        if "bag_recorder" in processes:
            attacker.start_recording()
        attacker.attack()
    finally:
        attacker.close()
    for name, process in processes.items():
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0, name
        log = (tmp_path / f"{name}.log").read_text(errors="replace")
        assert "Traceback" not in log, log
        lines = [line for line in log.splitlines() if line.endswith("the message is refused")]
        assert all(any(topic.name in line for line in lines) for topic in READS[name]), log
        assert len(lines) <= 3 * len(READS[name]), log  # the flood is thousands of messages
        assert log.count("]: messages: ") <= 6, log
    if "bag_recorder" in processes:
        (entry,) = read_run(tmp_path / "run").record.episodes
        assert entry.outcome == "ABORTED"
        with opened_bag(tmp_path / "run" / entry.path) as reader:
            recorded = {connection.topic: connection.msgcount for connection in reader.connections}
        assert recorded["/clock"] >= 10 * ROUNDS
        assert recorded["/joint_states"] >= 10 * ROUNDS
