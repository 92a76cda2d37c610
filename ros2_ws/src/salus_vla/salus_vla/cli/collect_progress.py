"""The live view of `salus collect`: episodes, decisions, outcomes, speed, time left, from the graph's topics."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from salus_vla import contract
from salus_vla.episode.outcome_monitor import Outcome
from salus_vla.views.terminal_styles import OUTCOME_STYLES


class RunProgress:
    """Follows a graph until its process ends."""

    def __init__(self, console: Console, episodes: int, environment: Mapping[str, str], log: Path | None) -> None:
        """Prepares the view.

        Args:
            console: where to draw; without a terminal a line is printed per episode instead.
            episodes: episodes of the whole run.
            environment: of the graph; this process joins the same ROS domain.
            log: output of the nodes to show as well, or None.
        """
        self._console = console
        self._episodes = episodes
        self._environment = environment
        self._log = log.open(encoding="utf-8", errors="replace") if log else None
        self._outcomes: Counter[str] = Counter()
        self._done = self._decisions = self._in_episode = 0
        self._state = "starting the graph"
        self._first = self._newest = self._began = time.monotonic()
        self._finished_here = 0
        self._bar = Progress(
            TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.description}")
        )
        self._bar_task = self._bar.add_task("", total=episodes)

    def follow(self, graph: subprocess.Popen[bytes]) -> None:
        """Shows the run until the graph's process has ended."""
        # Fast DDS and rclpy read these when the context is made; this process has made none before.
        os.environ.update(self._environment)
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        from salus_msgs.msg import Episode, SafetySignals, Status
        from salus_vla.ros.adapters.qos_profiles import profile

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = rclpy.create_node("salus_collect")
            episode, signals = contract.EPISODE, contract.SAFETY_SIGNALS
            node.create_subscription(Episode, episode.name, self._on_episode, profile(episode.qos))
            node.create_subscription(SafetySignals, signals.name, self._on_signals, profile(signals.qos))
            status = contract.STATUS_TOPIC
            node.create_subscription(Status, status.name, self._on_status, profile(status.qos, depth=10))
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            with Live(self, console=self._console, refresh_per_second=4, transient=not self._console.is_terminal):
                while graph.poll() is None:
                    executor.spin_once(timeout_sec=0.1)
                    self._show_log()
            self._show_log()
            node.destroy_node()
        finally:
            rclpy.try_shutdown()

    def __rich__(self) -> Group:
        """Draws the bar and the line below it."""
        if not self._console.is_terminal:
            return Group()
        self._bar.update(self._bar_task, completed=self._done, description=self._remaining())
        line = Text.assemble(("  " + self._state, "bold"))
        if self._decisions:
            line.append(f"  decision {self._in_episode}")
        rate = self._rate()
        if rate > 0.0:
            line.append(f"  {rate:.1f} decisions/s ({rate / contract.DECISION_HZ:.1f} x real time)")
        for name, count in self._outcomes.items():
            line.append(f"  {name} {count}", style=OUTCOME_STYLES[name])
        return Group(self._bar, line)

    def _on_episode(self, message: object) -> None:
        from salus_msgs.msg import Episode

        assert isinstance(message, Episode)
        if message.kind == Episode.STARTED:
            if self._state.startswith("starting"):
                self._first = time.monotonic()
                self._done = message.episode
            self._state = f"episode {message.episode}, seed {message.seed}"
            self._in_episode = 0
        elif message.kind == Episode.ENDED:
            name = Outcome(message.outcome).name
            self._outcomes[name] += 1
            self._done = message.episode + 1
            self._finished_here += 1
            if not self._console.is_terminal:
                self._console.print(
                    f"episode {message.episode}: {name} after {message.decisions} decisions, "
                    f"{self._rate():.1f} decisions/s; {self._done} of {self._episodes} done",
                    soft_wrap=True,
                )

    def _on_status(self, message: object) -> None:
        """Until the first episode: who is not ready yet."""
        from salus_msgs.msg import Status

        assert isinstance(message, Status)
        if self._state.startswith("starting") and message.state == Status.STARTING and message.detail:
            self._state = f"starting the graph: {message.detail}"

    def _on_signals(self, message: object) -> None:
        self._decisions += 1
        self._newest = time.monotonic()
        self._in_episode = message.decision  # type: ignore[attr-defined]

    def _rate(self) -> float:
        """Decisions per second of wall time, from the start of the first episode to the newest decision."""
        return self._decisions / max(self._newest - self._first, 1e-9) if self._decisions else 0.0

    def _remaining(self) -> str:
        elapsed = time.monotonic() - self._began
        if not self._finished_here:
            return f"{elapsed:.0f} s"
        left = (self._episodes - self._done) * (time.monotonic() - self._first) / self._finished_here
        return f"{elapsed:.0f} s, about {left:.0f} s left"

    def _show_log(self) -> None:
        for line in self._log or ():
            self._console.print(line.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)
