"""The live view of `salus rollout`: episodes, outcomes, speed, time left; plain lines without a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from salus_vla.contract.outcomes import ended_as
from salus_vla.data.rollouts.rollout_run import Event
from salus_vla.data.rollouts.rollout_store import EpisodeSummary
from salus_vla.data.rollouts.worker_results import Failed, Lost, Ready
from salus_vla.views.terminal_styles import OUTCOME_STYLES

_LINE_EVERY_S = 10.0  # without a terminal


class RolloutProgress:
    """Shows events from `with` on until its end."""

    def __init__(self, console: Console, episodes: int, kept: Sequence[EpisodeSummary]) -> None:
        """Prepares the view.

        Args:
            console: where to draw.
            episodes: of the whole run.
            kept: those of them that were finished before.
        """
        self._console = console
        self._episodes = episodes
        self._outcomes = Counter(episode.outcome.name for episode in kept)
        self._done = len(kept)
        self._made = self._decisions = 0
        self._began = time.monotonic()
        self._first: float | None = None  # when the first worker was ready
        self._next_line = 0.0
        self._bar = Progress(
            TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.description}")
        )
        self._task = self._bar.add_task("", total=episodes)
        self._live = Live(self, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Begins to draw, on a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the last image on the terminal."""
        self._live.stop()

    def show(self, event: Event) -> None:
        """Takes in what has happened."""
        now = time.monotonic()
        match event:
            case Ready():
                self._first = self._first or now
            case Lost(seed=seed, reason=reason):
                again = "" if seed is None else f"; seed {seed} is made again"
                self._print(f"[yellow]a worker has died: {reason}{again}[/yellow]")
            case Failed(seed=seed, message=message):
                self._done += 1
                self._print(f"[red]seed {seed}:[/red] {message}")
            case EpisodeSummary():
                self._done += 1
                self._made += 1
                self._decisions += event.decisions
                self._outcomes[ended_as(event.outcome, taken_over=event.taken_over_ns is not None)] += 1
        last = self._done == self._episodes and not isinstance(event, Ready)
        if not self._console.is_terminal and (last or (self._made and now >= self._next_line)):
            self._next_line = now + _LINE_EVERY_S
            counts = ", ".join(f"{name} {count}" for name, count in self._outcomes.items())
            self._print(f"{self._done} of {self._episodes} episodes, {self._speed()}: {counts}")

    def __rich__(self) -> Group:
        """Draws the bar and the line below it."""
        self._bar.update(self._task, completed=self._done, description=self._speed())
        line = Text("  starting workers" if self._first is None else "")
        for name, count in self._outcomes.items():
            line.append(f"  {name} {count}", style=OUTCOME_STYLES[name.split()[0]])
        return Group(self._bar, line)

    def _speed(self) -> str:
        elapsed = time.monotonic() - self._began
        if self._first is None or not self._made:
            return f"{elapsed:.0f} s"
        working = max(time.monotonic() - self._first, 1e-9)
        left = (self._episodes - self._done) * working / self._made
        return (
            f"{self._made / working:.2f} episodes/s, {self._decisions / working:.0f} decisions/s, "
            f"{elapsed:.0f} s, about {left:.0f} s left"
        )

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)
