"""Starts Isaac Sim as the simulator: finds it, says what is missing, waits for its first frames, ends it.

What publishes the topics is the process in Isaac's own Python (`isaac_standalone.py`). It asks this one for the scene
and for what each seed draws, because it cannot read them itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock

from salus_vla import contract
from salus_vla.config.parameters import parameter
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, Topic
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.message_readers import to_ns
from salus_vla.health.meters import RateMeter
from salus_vla.processes import start_with_parent
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import DiagnosticsPublisher
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.nodes.sim_parameters import SimParameters
from salus_vla.simulation.isaac.channel import serve
from salus_vla.simulation.isaac.host import installation
from salus_vla.simulation.isaac.host.scene_spec_builder import SceneSpecBuilder
from salus_vla.simulation.isaac.isaac_environment import isaac_environment
from salus_vla.simulation.isaac.scene_spec import as_json

_FIRST = (contract.CLOCK, contract.JOINT_STATES, *map(contract.image_topic, CAMERAS), contract.pose_topic(CUBE))
_SPIN_S = 0.2
_END_S = 4.0  # less than the runner waits before it ends this process, which could then not end Isaac Sim


@dataclass(frozen=True)
class IsaacParameters(SimParameters):
    """Parameters of isaac_sim."""

    frames_timeout_s: float = parameter(
        600.0,
        "wall time from the start to the first frames; a first start compiles shaders for minutes [s]",
        bounds=(1.0, 7200.0),
    )


class IsaacSimNode:
    """One Isaac Sim, from its start to its end."""

    def __init__(self) -> None:
        """Reads parameters and scene, and checks everything that can be checked before the start.

        Raises:
            SalusError: a parameter or the scene file is wrong, or Isaac Sim cannot be started; says what is missing.
        """
        self.node = make_node("isaac_sim")
        self._parameters = p = read_parameters(self.node, IsaacParameters)
        scene = load_scene(Path(p.scene_file) if p.scene_file else None)
        self._builder = SceneSpecBuilder(scene, p.profile)
        self._install = installation.find_install(os.environ)
        installation.check_gpu(os.environ)
        self._environment = isaac_environment(os.environ, self._install.release, self._install.folder, Path(sys.prefix))
        installation.check_eula(self._install, self._environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""  # what the process in Isaac's Python said before it ended
        self._missing: dict[str, Subscription] = {}
        self._diagnostics = DiagnosticsPublisher(self.node)
        self._clock_rate, self._clock_ns = RateMeter(contract.FRAME_HZ), 0
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)

    def run(self) -> int:
        """Runs Isaac Sim; the exit code is 0 when this process was told to stop.

        Raises:
            SimulatorError: no first frames in time, or Isaac Sim ended by itself.
        """
        logger, install = self.node.get_logger(), self._install
        logger.info(f"Isaac Sim {install.version} in {install.folder}: starting, which may take minutes")
        process = self._start()
        self._wait_for_frames(process)
        logger.info("Isaac Sim publishes")
        subscribe(self.node, contract.CLOCK, self._on_clock)
        while self.node.context.ok() and process.poll() is None:
            self._spin_once()
        if self.node.context.ok():
            raise SimulatorError(self._how_it_ended(process))
        return 0

    def close(self) -> None:
        """Ends Isaac Sim and the node."""
        if self._process is not None:
            self._end(self._process)
        self.node.destroy_node()

    # -- process -------------------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        script = Path(__file__).resolve().with_name("isaac_standalone.py")
        with theirs:
            try:
                self._process = start_with_parent(
                    [str(self._install.python), str(script), "--channel", str(theirs.fileno())],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # python.sh is a shell: a signal must reach its child as well
                )
            except OSError as error:
                ours.close()
                raise SimulatorError(f"{self._install.python}: cannot be started ({error.strerror})") from error
        answers = {
            "scene_spec": self._answer_scene_spec,
            "reset_sample": self._builder.answer_reset_sample,
            "failed": self._hear_failure,
        }
        threading.Thread(target=_serve, args=(ours, answers), daemon=True).start()
        return self._process

    def _answer_scene_spec(self, _: Mapping[str, Any]) -> dict[str, Any]:
        p = self._parameters
        spec = self._builder.scene_spec(
            version=self._install.version,
            folder=str(self._install.folder),
            seed=p.seed,
            pacing=p.pacing,
            lockstep_timeout_s=p.lockstep_timeout_s,
        )
        return as_json(spec)

    def _hear_failure(self, values: Mapping[str, Any]) -> None:
        self._failure = str(values["error"])

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        return self._failure or f"Isaac Sim ended by itself with exit code {code}; its output says why"

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        for number, wait_s in ((signal.SIGINT, _END_S), (signal.SIGKILL, None)):
            if process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            try:
                process.wait(timeout=wait_s)
            except subprocess.TimeoutExpired:
                continue

    # -- first frames --------------------------------------------------------------------------------------------------

    def _wait_for_frames(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until each kind of topic was heard once; this also wakes publishers that are silent without a reader.

        Raises:
            SimulatorError: says which topics are missing, or why the process has ended.
        """
        self._missing = {topic.name: self._listen(topic) for topic in _FIRST}
        deadline = time.monotonic() + self._parameters.frames_timeout_s
        while self._missing and self.node.context.ok():
            if process.poll() is not None:
                raise SimulatorError(self._how_it_ended(process))
            if time.monotonic() > deadline:
                raise SimulatorError(
                    f"Isaac Sim: nothing on {', '.join(self._missing)} within "
                    f"{self._parameters.frames_timeout_s:g} s (frames_timeout_s); docs/isaac.md says what to look at"
                )
            self._spin_once()

    def _spin_once(self) -> None:
        self._executor.spin_once(timeout_sec=_SPIN_S)
        # The sign of life by which the episode node knows that there is a simulator.
        self._diagnostics.diagnose(self._clock_ns, lambda: [self._clock_rate.part("clock", self._clock_ns)])

    def _on_clock(self, message: Clock) -> None:
        self._clock_ns = to_ns(message.clock)
        self._clock_rate.add(self._clock_ns)

    def _listen(self, topic: Topic) -> Subscription:
        def heard(_: Any) -> None:
            subscription = self._missing.pop(topic.name, None)
            if subscription is not None:
                self.node.destroy_subscription(subscription)

        return self.node.create_subscription(
            interface_class(topic), topic.name, heard, qos_profile(topic.qos), raw=True
        )


def _serve(connection: socket.socket, answers: Mapping[str, Any]) -> None:
    with connection:
        serve(connection, answers)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `isaac_sim` executable."""
    return run_node(IsaacSimNode, args, role="simulator")
