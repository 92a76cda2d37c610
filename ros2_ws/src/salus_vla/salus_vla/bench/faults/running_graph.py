"""A `salus collect` that faults are injected into, and what it said about sim time and episodes until then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rosgraph_msgs.msg import Clock

from salus_msgs.msg import Episode
from salus_vla import contract
from salus_vla.contract.errors import SalusError
from salus_vla.contract.message_readers import stamp_of, to_ns
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.clients.connection import Connection

RECORDER, SIMULATOR, POLICY, GATE, EPISODE = "bag_recorder", "mujoco_sim", "vla_ensemble", "command_gate", "episode"
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 60.0
_SHOWN = 8000  # characters
DRAIN_S = 0.05  # wall time in which what was published before the nodes stood still arrives here [s]


@dataclass
class Seen:
    """What the graph has published: newest /clock [ns], and the newest episode with its STARTED and ENDED stamps."""

    clock_ns: int | None = None
    episode: int | None = None
    start_ns: int = 0
    end_ns: int | None = None
    finished: list[int] = field(default_factory=list)

    @property
    def recorded_until_ns(self) -> int | None:
        """Up to where the current episode should be in its bag, sim time [ns]; None without one."""
        if self.episode is None or self.clock_ns is None:
            return None
        return self.end_ns if self.end_ns is not None else max(self.start_ns, self.clock_ns)


class Watch(Connection):
    """Subscribes to /clock and /salus/episode of the graphs in this process's ROS domain, one after another."""

    def __init__(self) -> None:
        """Joins the domain."""
        super().__init__("salus_faults")
        self.seen = Seen()
        self._received = False
        clock, episode = contract.CLOCK, contract.EPISODE
        self.node.create_subscription(Clock, clock.name, self._on_clock, qos_profile(clock.qos))
        self.node.create_subscription(Episode, episode.name, self._on_episode, qos_profile(episode.qos))

    def forget(self) -> None:
        """Be ready for the next graph: what is still in the queues is of the one before."""
        self.spin(DRAIN_S)
        while self._received:
            self._received = False
            self.spin(DRAIN_S)
        self.seen = Seen()

    def _on_clock(self, message: Clock) -> None:
        self._received = True
        self.seen.clock_ns = to_ns(message.clock)

    def _on_episode(self, message: Episode) -> None:
        self._received = True
        if message.kind == Episode.STARTED:
            self.seen.episode, self.seen.start_ns, self.seen.end_ns = message.episode, stamp_of(message), None
        elif message.kind == Episode.ENDED and message.episode == self.seen.episode:
            self.seen.end_ns = stamp_of(message)
            self.seen.finished.append(message.episode)


class Collecting:
    """A running `salus collect`."""

    def __init__(self, out: Path, options: Sequence[str], log: Path | None = None, *, own_domain: bool = False) -> None:
        """Starts it.

        Args:
            out: folder of the runs.
            options: of `salus collect`, without --out.
            log: where its output goes, beside `out` by default.
            own_domain: it claims a ROS domain, instead of using the one of this process.
        """
        left_out = {"ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"} if own_domain else set()
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        self.output_file = log or out.with_name(f"{out.name}.log")
        command = [sys.executable, "-m", "salus_vla.cli", "collect", "--out", str(out), *options]
        with self.output_file.open("wb") as output:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def output(self) -> str:
        """The end of what it has printed."""
        return self.output_file.read_text(encoding="utf-8", errors="replace")[-_SHOWN:]

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._popen.poll() is not None

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes by the name of their executable (`bag_recorder`, ...); `collect` and `runner` for the others.

        Raises:
            SalusError: it has ended.
        """
        try:
            root = psutil.Process(self._popen.pid)
            found = {"collect": root}
            for process in root.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    names = [Path(word).name for word in process.cmdline()[:2]]
                    found[names[1] if len(names) > 1 and names[1] != "-m" else "runner"] = process
        except psutil.NoSuchProcess as error:
            raise SalusError(f"salus collect has ended: {self.output}") from error
        return found

    def wait(self) -> int:
        """Waits for its end; returns the exit code.

        Raises:
            SalusError: it does not end.
        """
        try:
            return self._popen.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise SalusError(f"salus collect did not end within {ENDS_WITHIN_S:g} s: {self.output}") from None

    def wait_at_most(self, seconds: float) -> bool:
        """Waits for its end for so long [s]; whether it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
        return self.ended

    def kill_all(self) -> None:
        """Kill -9 of every process at once; waits until they are gone."""
        if self.ended:
            return
        processes = list(self.processes().values())
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.wait()
        psutil.wait_procs(processes, timeout=10.0)

    def kill(self, target: str, watch: Watch) -> None:
        """Kill -9 of one process, or of all with `graph`, after which `watch.seen` holds the moment of the kill.

        Simulator and recorder stand still first, so that the newest /clock is known and nothing more is recorded.
        """
        processes = self.processes()
        still = [processes[name] for name in (SIMULATOR, RECORDER) if name in processes]
        if target == SIMULATOR:
            still = still[:1]
        for process in still:
            process.suspend()
        watch.spin(DRAIN_S)
        if target == "graph":
            self.kill_all()
            return
        processes[target].send_signal(signal.SIGKILL)
        for process in still:
            if process != processes[target]:
                process.resume()
