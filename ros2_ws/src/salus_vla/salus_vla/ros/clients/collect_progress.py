"""The live view of `salus collect`: episodes, decisions, outcomes, speed, time left, from the graph's topics."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from salus_msgs.msg import Episode, FailurePrediction, Intervention, SafetySignals, Status
from salus_vla import contract
from salus_vla.contract.outcomes import Outcome
from salus_vla.control.realtime_pace import TOO_SLOW
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.clients.connection import Connection
from salus_vla.safety.intervention.told_motion import EpisodeMotions, ToldMotion
from salus_vla.views.terminal_styles import OUTCOME_STYLES

_HEARD = (
    (contract.EPISODE, Episode),
    (contract.SAFETY_SIGNALS, SafetySignals),
    (contract.FAILURE_PREDICTION, FailurePrediction),
    (contract.INTERVENTION, Intervention),
    (contract.STATUS_TOPIC, Status),
)
_DEPTH = 10  # of our queues: several nodes say their status at once


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
        self._refused = False  # somebody refuses what the simulator publishes, and it was printed
        self._slow = False  # the policy said so
        self._risk: FailurePrediction | None = None  # the newest of the episode
        self._alarm = ""  # the first of the episode, in words
        self._motions = EpisodeMotions()
        self._first = self._newest = self._began = time.monotonic()
        self._finished_here = 0
        self._bar = Progress(
            TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.description}")
        )
        self._bar_task = self._bar.add_task("", total=episodes)

    def follow(self, graph: subprocess.Popen[bytes]) -> None:
        """Shows the run until the graph's process has ended."""
        os.environ.update(self._environment)  # Fast DDS and rclpy read it when the context is made
        with Connection("salus_collect") as connection:
            for topic, kind in _HEARD:
                depth = max(topic.qos.depth, _DEPTH)
                connection.node.create_subscription(
                    kind, topic.name, partial(self.take, topic), qos_profile(topic.qos, depth=depth)
                )
            with Live(self, console=self._console, refresh_per_second=4, transient=not self._console.is_terminal):
                while graph.poll() is None:
                    connection.spin(0.1)
                    self._show_log()
            self._show_log()

    def __rich__(self) -> Group:
        """Draws the bar and the line below it."""
        if not self._console.is_terminal:
            return Group()
        self._bar.update(self._bar_task, completed=self._done, description=self._remaining())
        line = Text.assemble(("  " + self._state, "bold"))
        if self._decisions:
            line.append(f"  decision {self._in_episode}")
        if self._risk is not None:
            line.append(f"  risk {self._risk.failure:.0%}", style="bold red" if self._risk.alarm else "")
        motion = self._motions.newest
        if motion is not None and motion.intervenes:
            line.append(f"  {motion.name}", style="yellow")
        rate = self._rate()
        if rate > 0.0:
            line.append(f"  {rate:.1f} decisions/s ({rate / contract.DECISION_HZ:.1f} x real time)")
        for name, count in self._outcomes.items():
            line.append(f"  {name} {count}", style=OUTCOME_STYLES[name])
        remarks = [Text(f"  alarm, {self._alarm}", style="red")] if self._alarm else []
        if self._motions.in_words:
            remarks.append(Text(f"  {self._motions.in_words}", style="yellow"))
        return Group(self._bar, line, *remarks)

    def take(self, topic: contract.Topic, message: Any) -> None:
        """Takes a message of one of the topics that are heard."""
        if topic is contract.EPISODE:
            self._on_episode(message)
        elif topic is contract.SAFETY_SIGNALS:
            self._on_signals(message)
        elif topic is contract.FAILURE_PREDICTION:
            self._on_prediction(message)
        elif topic is contract.INTERVENTION:
            self._motions.take(ToldMotion.of(message))
        elif topic is contract.STATUS_TOPIC:
            self._on_status(message)

    def _on_episode(self, message: Episode) -> None:
        if message.kind == Episode.STARTED:
            if self._state.startswith("starting"):
                self._first = time.monotonic()
                self._done = message.episode
            self._state = f"episode {message.episode}, seed {message.seed}"
            self._in_episode = 0
            self._risk, self._alarm = None, ""
            self._motions.reset()
        elif message.kind == Episode.ENDED:
            name = Outcome(message.outcome).name
            motions = self._motions.words_of(message.decisions)
            self._outcomes[name] += 1
            self._done = message.episode + 1
            self._finished_here += 1
            if not self._console.is_terminal:
                self._console.print(
                    f"episode {message.episode}: {name} after {message.decisions} decisions, "
                    f"{self._rate():.1f} decisions/s; {self._done} of {self._episodes} done"
                    + (f"; alarm, {self._alarm}" if self._alarm else "")
                    + (f"; {motions}" if motions else ""),
                    soft_wrap=True,
                )

    def _on_status(self, message: Status) -> None:
        """Until the first episode: who is not ready yet. And once, that this machine is too slow for realtime."""
        slow = next((fact.value for fact in message.facts if fact.key == TOO_SLOW), "")
        if slow and not self._slow:
            self._slow = True
            self._console.print(slow, style="yellow", markup=False, highlight=False, soft_wrap=True)
        if self._state.startswith("starting") and message.state == Status.STARTING and message.detail:
            self._state = f"starting the graph: {message.detail}"
            refuses = any(word in message.detail for word in ("refuse", "best effort"))
            if refuses and not self._refused and not self._console.is_terminal:
                self._console.print(message.detail, markup=False, highlight=False, soft_wrap=True)
            self._refused = self._refused or refuses

    def _on_signals(self, message: SafetySignals) -> None:
        self._decisions += 1
        self._newest = time.monotonic()
        self._in_episode = message.decision

    def _on_prediction(self, message: FailurePrediction) -> None:
        self._risk = message
        if message.alarm and not self._alarm:
            self._alarm = f"decision {message.decision}: {message.detail}"

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
