"""A real `command_gate` process beside a simulator that the test plays, and a commander that is killed in motion.

Frames are sent one at a time and the arm is ideal. Everything is waited for with a time limit.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState

from salus_msgs.msg import Status
from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.contract import JOINTS
from salus_vla.ros.adapters import messages

from .conftest import EPISODES, Collected
from .graph_client import GraphClient
from .test_collect import messages_of, stamp_ns

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

LIMIT_S, DT, FRAME_NS = 30.0, 0.02, 20_000_000
HOME = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854, 0.04, 0.04])
# The arm's data sheet, typed in again; the fingers' are what the controller keeps to.
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973, 0.0, 0.0])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973, 0.04, 0.04])
SPEED = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100, 0.2, 0.2])
ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0, 4.0, 4.0])
JERK = np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0, np.inf, np.inf])
PUSH = np.array([5.0, 2.0, -3.0, 1.0, 4.0, 0.5, -2.0, 0.0, 0.0])  # rad/s^2 of the commander

# Answers every frame of an arm; once a first command has reached it, accelerates it until it is killed.
COMMANDER = f"""
import numpy as np, rclpy
from sensor_msgs.msg import JointState
from salus_vla import contract
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.qos_profiles import qos_profile
rclpy.init()
node = rclpy.create_node("commander")
topic = contract.JOINT_TARGET
publisher = node.create_publisher(JointState, topic.name, qos_profile(topic.qos))
at, v, push, reached = None, np.zeros(9), np.array({PUSH.tolist()}), False
def answer(message):
    global at, v
    at = np.array(message.position) if at is None else at
    if reached:
        v = v + push * {DT}
        at = at + v * {DT}
    publisher.publish(messages.joint_command(messages.to_ns(message.header.stamp), at))
def hear(_):
    global reached
    reached = True
node.create_subscription(JointState, contract.JOINT_COMMAND.name, hear, qos_profile(contract.JOINT_COMMAND.qos))
node.create_subscription(JointState, contract.JOINT_STATES.name, answer, qos_profile(contract.JOINT_STATES.qos))
rclpy.spin(node)
"""


class Bench(GraphClient):
    """The simulator's side of a gate: frames out, commands in."""

    def __init__(self) -> None:
        super().__init__("bench", LIMIT_S)
        self.pose, self.speed, self.stamp = HOME.copy(), np.zeros(9), 10**9
        self.sent: list[tuple[int, np.ndarray]] = []
        self.pid = 0  # of the gate
        self.arrived: list[float] = []  # wall time of each
        self.published: dict[int, float] = {}  # wall time of each frame
        self.statuses: list[Status] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.listen_to(contract.JOINT_COMMAND, self._on_command, depth=100)
        self.listen_to(contract.STATUS_TOPIC, self.statuses.append)
        self.listen_to(contract.DIAGNOSTICS, self.diagnostics.append)
        self._joints = self.publisher(contract.JOINT_STATES, depth=200)
        self._targets: Publisher | None = None  # a commander may be the one publisher there
        self.wait(lambda: self._joints.get_subscription_count(), "gate")

    def _on_command(self, message: JointState) -> None:
        assert list(message.name) == list(JOINTS)
        position = np.array(message.position)
        self.sent.append((messages.to_ns(message.header.stamp), position))
        self.speed, self.pose = (position - self.pose) / DT, position
        self.arrived.append(time.monotonic())

    def frame(self) -> None:
        """The next frame; the arm is where it was told to be, and at rest when it was told nothing since."""
        self.stamp += FRAME_NS
        self.published[self.stamp] = time.monotonic()
        self._joints.publish(
            JointState(
                header=messages.header(self.stamp),
                name=list(JOINTS),
                position=self.pose.tolist(),
                velocity=self.speed.tolist(),
                effort=[0.0] * 9,
            )
        )
        self.speed = np.zeros(9)

    def answered_frame(self) -> None:
        self.frame()
        self.wait(lambda: self.sent and self.sent[-1][0] == self.stamp, f"command of {self.stamp}")

    def frames_until(self, condition: Callable[[], Any], what: str) -> None:
        """Frames until something happens, at no more than the robot's rate."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what} within {LIMIT_S:g} s"
            self.frame()
            rest = time.monotonic() + DT
            while (left := rest - time.monotonic()) > 0.0:
                self._executor.spin_once(timeout_sec=left)

    def answered_until(self, condition: Callable[[], Any], what: str) -> None:
        """Frames until something happens, each sent when the one before was answered; one may be lost unanswered.

        A frame or an answer is lost while two processes know of each other in one direction only. A commander that is
        late, on a busy machine, is waited for: its answer would be refused if the frames went on without it.
        """
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what} within {LIMIT_S:g} s"
            self.frame()
            lost = time.monotonic() + 2.0
            while (not self.sent or self.sent[-1][0] != self.stamp) and time.monotonic() < lost:
                self._executor.spin_once(timeout_sec=0.1)

    def connect_targets(self) -> None:
        self._targets = publisher = self.publisher(contract.JOINT_TARGET, depth=200)
        self.wait(lambda: publisher.get_subscription_count(), "gate")

    def offer(self, position: np.ndarray, stamp: int | None = None) -> None:
        assert self._targets is not None
        self._targets.publish(messages.joint_command(self.stamp if stamp is None else stamp, position))

    def wait_for_status(self, state: int, reason: str = "") -> Status:
        def said() -> bool:
            newest = self.statuses[-1:]
            return [(status.state, status.reason) for status in newest] == [(state, reason)]

        self.wait(said, f"status {state} {reason!r}; the newest are {self.statuses[-3:]}")
        return self.statuses[-1]

    def commands_part(self) -> dict[str, str]:
        """The newest diagnostics of the gate's commands."""
        parts = [s for array in self.diagnostics for s in array.status if s.name == "salus/command_gate: commands"]
        return {item.key: item.value for item in parts[-1].values} if parts else {}


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Beside a gate with the parameters that a test gives."""
    parameters = [word for parameter in getattr(request, "param", ()) for word in ("-p", parameter)]
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "command_gate")
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(config_dir() / "fastdds.xml")
    with subprocess.Popen([str(executable), "--ros-args", *parameters]) as process:
        try:
            bench = Bench()
            bench.pid = process.pid
            try:
                bench.frame()
                yield bench
            finally:
                bench.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()  # does nothing to a process that has ended


@contextmanager
def commander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", COMMANDER]) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_inside(commands: list[np.ndarray], before: np.ndarray) -> None:
    path = np.vstack([np.repeat(before[None], 3, axis=0), np.array(commands)])
    assert ((path >= LOWER) & (path <= UPPER)).all()
    for limit in (SPEED, ACCELERATION, JERK):
        path = np.diff(path, axis=0) / DT
        assert (np.abs(path) <= limit + 1e-6).all(), np.abs(path).max(axis=0)  # rounding: 2e-10 of the third difference


def test_a_commander_that_is_killed_in_motion_leaves_an_arm_that_the_gate_brings_to_rest(bench: Bench) -> None:
    with commander() as process:
        bench.wait(lambda: bench.node.count_publishers(contract.JOINT_TARGET.name) == 1, "the commander")
        bench.wait(lambda: bench.node.count_subscribers(contract.JOINT_STATES.name) == 2, "the commander's ears")
        bench.wait_for_status(Status.READY)
        bench.answered_until(lambda: np.abs(bench.pose - HOME).max() > 0.0, "motion")
        for _ in range(15):
            bench.answered_frame()
        process.kill()
        process.wait(LIMIT_S)
    bench.wait_for_status(Status.RUNNING)
    killed_ns, at_kill = bench.sent[-1]
    speed = (at_kill - bench.sent[-2][1]) / DT
    assert speed[0] > 1.0
    for _ in range(8):
        bench.frame()
    bench.answered_frame()
    assert bench.sent[-1][0] - killed_ns == 180_000_000  # braking when the deadman's 200 ms are over
    while np.abs(bench.sent[-1][1] - bench.sent[-2][1]).max() > 0.0:
        bench.answered_frame()
    status = bench.wait_for_status(Status.HOLDING, "deadman")
    assert status.role == "gate"
    time_to_stop = (np.abs(speed) / ACCELERATION).max()
    assert (bench.stamp - killed_ns) * 1e-9 <= 0.2 + time_to_stop + 3 * DT
    assert_inside([position for _, position in bench.sent], HOME)
    travelled = (bench.pose - at_kill)[:7] / speed[:7]  # all joints stopped together, along the path
    np.testing.assert_allclose(travelled, travelled[0], rtol=1e-6)


@pytest.mark.parametrize("bench", [("pacing:=realtime",)], indirect=True)
def test_a_gate_that_is_shut_down_in_motion_brings_the_arm_to_rest_first(bench: Bench) -> None:
    bench.connect_targets()
    bench.wait_for_status(Status.READY)
    pose, velocity = HOME.copy(), 0.0
    for _ in range(20):
        bench.frame()
        velocity += 3.0 * DT
        pose[0] += velocity * DT
        bench.offer(pose)
        bench.wait(lambda: bench.sent and bench.sent[-1][0] == bench.stamp, "the command")
    os.kill(bench.pid, signal.SIGINT)
    bench.offer(pose + velocity * DT)  # nothing passes any more
    gate = psutil.Process(bench.pid)
    bench.frames_until(lambda: gate.status() == psutil.STATUS_ZOMBIE, "end of the gate")
    assert_inside([position for _, position in bench.sent], HOME)
    assert bench.sent[-1][1][0] > pose[0]  # along the path
    assert np.abs(bench.sent[-1][1] - bench.sent[-2][1]).max() < 0.1 * velocity * DT  # it ends at a rest


# A frame with refused commands only is braked after the deadman's wall time: this test may be slower than 0.2 s.
@pytest.mark.parametrize("bench", [("deadman_s:=2.0",)], indirect=True)
def test_a_flood_of_bad_commands_never_reaches_the_arm_and_does_not_flood_the_status(bench: Bench) -> None:
    bench.connect_targets()
    bench.wait_for_status(Status.READY)
    bench.frame()
    bench.offer(HOME)
    bench.wait(lambda: bench.sent, "the good command")
    bench.frame()
    bench.wait_for_status(Status.RUNNING)
    before = len(bench.statuses)
    bad = [np.full(9, np.nan), np.full(9, np.inf), np.zeros(9), HOME + 1.0, HOME + np.eye(9)[2] * 0.01]
    for number in range(200):
        if number % 20 == 0:
            bench.frame()
        bench.offer(bad[number % len(bad)], bench.stamp if number % 3 else bench.stamp - 10 * FRAME_NS)
    bench.wait_for_status(Status.HOLDING, Status.REASON_COMMAND_REFUSED)
    bench.frames_until(lambda: int(bench.commands_part().get("refused", 0)) >= 200, "count of all refusals")
    assert [status.reason for status in bench.statuses[before:]].count(Status.REASON_COMMAND_REFUSED) <= 2
    assert len(bench.sent) == 1
    part = bench.commands_part()
    assert part["passed"] == "1"
    assert int(part["refused_non_finite"]) > 40
    bench.offer(HOME)
    bench.wait(lambda: len(bench.sent) == 2, "the next good command")
    assert (bench.sent[-1][1] == HOME).all()


def test_a_whole_run_passes_unchanged_and_without_a_refusal(collected: Collected) -> None:
    for episode in range(EPISODES):
        found = messages_of(collected, episode)
        targets = {stamp_ns(message): message for message in found["/salus/joint_target"]}
        commands = {stamp_ns(message): message for message in found["/joint_command"]}
        common = targets.keys() & commands.keys()
        assert len(common) >= max(len(targets), len(commands)) - 1 > 0
        for stamp in common:
            assert list(targets[stamp].position) == list(commands[stamp].position)
        states = {message.state for message in found["/salus/status"] if message.role == "gate"}
        assert states <= {Status.STARTING, Status.READY, Status.RUNNING}
        parts = [part for array in found["/diagnostics"] for part in array.status]
        counted = [part.values for part in parts if part.name == "salus/command_gate: commands"]
        assert counted
        assert {item.value for values in counted for item in values if item.key == "refused"} == {"0"}
