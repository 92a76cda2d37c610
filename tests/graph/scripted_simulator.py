"""A real `vla_ensemble` process under a simulator that the test plays frame by frame, and can leave things out of.

The arm is ideal: what was commanded is measured in the next frame. Everything is waited for with a time limit.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, ENTITIES, JOINTS, Topic
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import Pose
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_message

from .graph_client import GraphClient

LIMIT_S = 40.0
FRAME_NS = 20_000_000
DT = FRAME_NS * 1e-9
ROUNDING = 1e-9
AGAIN_S = 1.0
_FRAMES_TO_REST = 100
HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4, 0.04, 0.04])
PLACES = {"red_cube": (0.5, 0.15, 0.025), "blue_bin": (0.45, -0.30, 0.0)}
NOISE = np.random.default_rng(3).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@contextmanager
def scripted_simulator(*parameters: str, configured: bool = True) -> Iterator["ScriptedSimulator"]:
    """A `vla_ensemble` with the scripted expert that hears this simulator; SIGINT must end it with exit code 0."""
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "vla_ensemble")
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(config_dir() / "fastdds.xml")
    given = {"policy": "expert", "use_sim_time": "true", "commands_to": "scripted_simulator"}
    given |= dict(word.split(":=") for word in parameters)
    words = [f"{name}:={value}" for name, value in given.items()]
    arguments = [word for parameter in words for word in ("-p", parameter)]
    with subprocess.Popen([str(executable), "--ros-args", *arguments]) as process:
        try:
            simulator = ScriptedSimulator(process, clock_heard=given["use_sim_time"] == "true", configured=configured)
            try:
                yield simulator
            finally:
                simulator.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()  # does nothing to a process that has ended


class ScriptedSimulator(GraphClient):
    """Publishes frames, one at a time, and collects what the ensemble answers.

    Attributes:
        now_ns: stamp of the newest frame [ns].
        commands: (stamp [ns], position (9,)) of every command, in order of arrival.
        statuses, signals, diagnostics: messages in order of arrival.
    """

    def __init__(self, process: subprocess.Popen[bytes], *, clock_heard: bool = True, configured: bool = True) -> None:
        super().__init__("scripted_simulator", LIMIT_S)
        self._process = process
        self._period_ns = load_scene(None).rates.decision_dt_ns
        self.now_ns, self._start_ns, self._episode = 1_000_000_000, 1_000_000_000, 0
        self.measured = HOME
        self.commands: list[tuple[int, np.ndarray]] = []
        self.signals: list[SafetySignals] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._listen(contract.JOINT_TARGET, self._on_command)
        self._listen(contract.SAFETY_SIGNALS, self.signals.append)
        self._listen(contract.DIAGNOSTICS, self.diagnostics.append)
        self.statuses = self.late_statuses()  # the last subscription: it tells when all are known there
        poses = [contract.pose_topic(entity) for entity in ENTITIES]
        images = [contract.image_topic(camera) for camera in CAMERAS]
        topics = [contract.CLOCK, contract.JOINT_STATES, contract.EPISODE, *poses, *images]
        self._publishers = {topic.name: self.publisher(topic) for topic in topics}
        self._reset_hold = self.node.create_client(Trigger, contract.RESET_HOLD.name)
        if not configured:
            return  # nobody listens
        self.wait(self._reset_hold.service_is_ready, contract.RESET_HOLD.name)
        heard = [p for name, p in self._publishers.items() if clock_heard or name != contract.CLOCK.name]
        self.wait(lambda: all(publisher.get_subscription_count() for publisher in heard), "all subscriptions")
        # And it knows of this one's, or what it says first would be lost: the last of them hears an earlier status.
        self.wait(lambda: self.statuses, "status of vla_ensemble")

    def check(self) -> None:
        """The policy is alive."""
        assert self._process.poll() is None, "vla_ensemble has ended"

    def late_statuses(self) -> list[Status]:
        """What a subscriber that joins now hears on /salus/status."""
        heard: list[Status] = []
        self._listen(contract.STATUS_TOPIC, heard.append)
        return heard

    def wait_for_status(self, state: int, reason: str = "") -> Status:
        """Waits until this is the newest status."""
        found = self.wait(
            lambda: (
                self.statuses
                and (self.statuses[-1].state, self.statuses[-1].reason) == (state, reason)
                and self.statuses[-1]
            ),
            f"status {state} {reason!r}, the newest is {self.statuses[-1:]}",
        )
        assert isinstance(found, Status)
        return found

    def reset_hold(self) -> str:
        """Calls /salus/reset_hold; its message."""
        future = self._reset_hold.call_async(Trigger.Request())
        self.wait(future.done, "answer of the reset")
        assert future.result().success
        return str(future.result().message)

    # -- frames --------------------------------------------------------------------------------------------------------

    def start_episode(self) -> None:
        """Sends three frames and starts an episode at the third, which has a camera set."""
        self.measured = HOME
        self.signals.clear()
        self.commands.clear()
        self._start_ns = self.now_ns + 3 * FRAME_NS
        for _ in range(3):
            self.now_ns += FRAME_NS
            self.send()
        self._say_episode(Episode.STARTED)
        self.wait(self._decided_or_sent_again(), "the first decision")
        self.wait(lambda: self.commands and self.commands[-1][0] >= self.now_ns, "the first command")

    def _decided_or_sent_again(self) -> Callable[[], bool]:
        """Whether this frame was decided on; it is sent again each second until then.

        That the policy's subscriptions are known here does not say that it knows these publishers, and what it hears
        before is lost to it.
        """
        again = time.monotonic() + AGAIN_S

        def decided() -> bool:
            nonlocal again
            done = bool(self.signals) and self._newest_signal() >= self.now_ns
            if not done and time.monotonic() >= again:
                again = time.monotonic() + AGAIN_S
                self.send()
            return done

        return decided

    def end_episode(self) -> None:
        """Ends the episode at this frame."""
        self._say_episode(Episode.ENDED)
        self._episode += 1

    def come_to_rest(self) -> None:
        """Frames until the policy says READY: before that nobody may put the arm home, as the episode node knows."""
        for _ in range(_FRAMES_TO_REST):
            self.now_ns += FRAME_NS
            self.send()
            self.wait(lambda: self._rests or self.commands[-1][0] >= self.now_ns, f"command of stamp {self.now_ns}")
            if self._rests:
                return
        raise AssertionError(f"{_FRAMES_TO_REST} frames after its episode the arm does not rest")

    @property
    def _rests(self) -> bool:
        return bool(self.statuses[-1].state == Status.READY)

    def frame(self, without: Sequence[str] = ()) -> None:
        """The next frame, without `joints`, `clock` or cameras; waits for the command and decision that answer it."""
        self.now_ns += FRAME_NS
        self.send(without)
        # Without joint states commands come a frame later, in case that they are only late.
        due_ns = self.now_ns - (FRAME_NS if "joints" in without else 0)
        self.wait(lambda: self.commands and self.commands[-1][0] >= due_ns, f"command of stamp {due_ns}")
        if self.camera_due and not set(without) & {"joints", *CAMERAS}:
            self.wait(lambda: self._newest_signal() >= self.now_ns, f"decision of stamp {self.now_ns}")

    def frames(self, count: int, without: Sequence[str] = ()) -> None:
        """Several frames."""
        for _ in range(count):
            self.frame(without)

    @property
    def camera_due(self) -> bool:
        """Whether this frame has a camera set."""
        return (self.now_ns - self._start_ns) % self._period_ns == 0

    def send(self, without: Sequence[str] = ()) -> None:
        """Sends the frame of `now_ns` in the order in which mujoco_sim does."""
        now = self.now_ns
        if "joints" not in without:
            joints = [float(value) for value in self.measured]
            self._send(
                contract.JOINT_STATES, JointState(header=messages.header(now), name=list(JOINTS), position=joints)
            )
        if "clock" not in without:
            self._send(contract.CLOCK, Clock(clock=messages.to_time(now)))
        for entity, place in PLACES.items():
            pose = Pose(np.array(place), np.array([0.0, 0.0, 0.0, 1.0]))
            self._send(contract.pose_topic(entity), messages.pose_stamped(now, pose))
        for camera in CAMERAS:
            if self.camera_due and camera not in without:
                pixels = np.roll(NOISE, now // FRAME_NS, axis=0)
                image = to_message(pixels, messages.to_time(now), contract.camera_frame(camera))
                self._send(contract.image_topic(camera), image)

    def _newest_signal(self) -> int:
        return messages.to_ns(self.signals[-1].header.stamp)

    def _say_episode(self, kind: int) -> None:
        stamp = messages.header(self.now_ns)
        self._send(contract.EPISODE, Episode(header=stamp, kind=kind, episode=self._episode, seed=3, task="test"))

    def _on_command(self, message: JointState) -> None:
        self.measured = np.array(message.position)
        self.commands.append((messages.to_ns(message.header.stamp), self.measured))

    def _listen(self, topic: Topic, callback: Callable[[Any], None]) -> None:
        self.listen_to(topic, callback, depth=200)

    def _send(self, topic: Topic, message: Any) -> None:
        self._publishers[topic.name].publish(message)


# -- what was commanded ------------------------------------------------------------------------------------------------


def velocities(simulator: ScriptedSimulator) -> np.ndarray:
    """Commanded velocities of the arm (n, 7) [rad/s]; the stream must have one command per frame."""
    stamps, positions = zip(*simulator.commands, strict=True)
    assert set(np.diff(stamps)) == {FRAME_NS}, np.diff(stamps) // FRAME_NS
    return np.diff(np.array(positions)[:, :7], axis=0) / DT


def speeds(simulator: ScriptedSimulator) -> np.ndarray:
    """Commanded speed of the fastest joint (n,) [rad/s]."""
    return np.abs(velocities(simulator)).max(axis=1)


def assert_braked(simulator: ScriptedSimulator, within_ns: int, last_good_ns: int) -> None:
    """The commands stay inside the limits, brake in time, and end at rest."""
    velocity = velocities(simulator)
    assert (np.abs(velocity) <= PANDA.velocity + ROUNDING).all()
    assert (np.abs(np.diff(velocity, axis=0)) / DT <= PANDA.acceleration * (1.0 + 1e-6)).all()
    speed = speeds(simulator)
    assert speed[-1] == 0.0
    stamps = np.array([stamp for stamp, _ in simulator.commands[1:]])
    begin = int(np.flatnonzero(stamps >= last_good_ns + within_ns)[0])
    assert 0.0 < speed[begin] < speed[begin - 1]
    assert (np.diff(speed[begin:]) <= ROUNDING).all()
    rest = simulator.commands[-1][1]
    assert (rest[:7] >= PANDA.lower).all()
    assert (rest[:7] <= PANDA.upper).all()
