"""The episodes that were heard, with their outcomes, for a list that people read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.views.window.window_content import EpisodeRow

LONGEST: Final = 300  # episodes that are kept
RUNNING: Final = "running"
END_NOT_HEARD: Final = "end not heard"


class EpisodeList:
    """Keeps a row for each episode of each run; one that is played once more is one row."""

    def __init__(self) -> None:
        """No episode yet."""
        self._rows: dict[tuple[str, int, int], EpisodeRow] = {}
        self._current: tuple[str, int, int] | None = None

    def take(self, event: EpisodeEvent) -> None:
        """Notes what happens to an episode."""
        key = (event.run_id, event.episode, event.seed)
        before = None if self._current is None else self._rows.get(self._current)
        if self._current is not None and self._current != key and before is not None and before.outcome == RUNNING:
            self._rows[self._current] = replace(before, outcome=END_NOT_HEARD)
        row = self._rows.get(key)
        if row is None or event.kind is EventKind.STARTED:
            self._rows.pop(key, None)  # the newest is the last
            row = EpisodeRow(event.run_id, event.episode, event.seed, RUNNING)
        if event.kind is EventKind.ENDED:
            row = replace(row, outcome=event.outcome, decisions=event.decisions, detail=event.detail)
        elif event.kind is EventKind.EVENT and row.outcome == RUNNING:
            row = replace(row, detail=f"{event.event}: {event.detail}" if event.detail else event.event)
        self._rows[key] = row
        self._current = key
        while len(self._rows) > LONGEST:
            del self._rows[next(iter(self._rows))]

    def tell(self, decisions: int | None, alarm: str, motions: str) -> None:
        """What is known of the episode that goes on; nothing that is not known takes the place of what is."""
        row = None if self._current is None else self._rows.get(self._current)
        if row is None or self._current is None:
            return
        running = row.outcome == RUNNING and decisions is not None
        self._rows[self._current] = replace(
            row,
            decisions=decisions if running else row.decisions,
            alarm=alarm or row.alarm,
            motions=motions or row.motions,
        )

    @property
    def rows(self) -> tuple[EpisodeRow, ...]:
        """The newest first."""
        return tuple(reversed(self._rows.values()))

    @property
    def tally(self) -> str:
        """`3 SUCCESS, 1 DROP`, the most frequent first; empty before an episode ended."""
        counts = Counter(row.outcome for row in self._rows.values() if row.outcome not in (RUNNING, END_NOT_HEARD))
        return ", ".join(f"{count} {name}" for name, count in counts.most_common())
