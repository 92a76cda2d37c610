"""What was decided, foreseen and chosen in the episode that goes on, by sim time, however the messages arrive.

Each topic arrives in the order in which it was sent, but topics are not ordered among each other, any of them may be
missing, and time goes back where a recording loops or a graph starts again. So each topic is a series of its own that
begins anew where its stamps or decision numbers go back, and what belongs to the episode is decided by its start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.told_motion import ToldMotion

LONGEST: Final = 5000  # decisions of an episode that are kept: 8 minutes of sim time
LATE: Final = 10  # decisions that one may be overtaken by and still be put in its place
_FRAME_NS: Final = 20_000_000  # an observation's messages agree to half a frame
_AHEAD_NS: Final = 1_000_000_000  # what is further ahead of the clock is from before it went back
_QUEUED: Final = 64  # messages of a topic that may still wait when the clock goes back


@dataclass(frozen=True)
class Decided:
    """Signals of one decision: stamp of its observation [ns], its number, and the twelve values."""

    stamp_ns: int
    decision: int
    values: FloatArray


class Series[T: (Decided, ForeseenRisk, ToldMotion)]:
    """Entries of one topic, by stamp and by decision."""

    def __init__(self) -> None:
        """Empty."""
        self._entries: list[T] = []
        self._guarded = 0  # messages left that may be from before the clock went back

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        """By stamp."""
        return iter(self._entries)

    @property
    def first_ns(self) -> int | None:
        """Stamp of the first [ns]; None of an empty one."""
        return self._entries[0].stamp_ns if self._entries else None

    def add(self, entry: T, clock_ns: int | None) -> None:
        """Takes what was heard.

        What is not newer begins the series anew (another episode, a loop, a restart), except what fits between what
        is there. The same once more takes the place of the newest.
        """
        if self._guarded and clock_ns is not None:
            if entry.stamp_ns > clock_ns + _AHEAD_NS:
                self._guarded -= 1
                return
            self._guarded = 0
        entries = self._entries
        if entries:
            last = entries[-1]
            if (entry.stamp_ns, entry.decision) == (last.stamp_ns, last.decision):
                entries[-1] = entry
                return
            if entry.stamp_ns <= last.stamp_ns or entry.decision <= last.decision:
                place = self._place(entry)
                if place is not None:
                    entries.insert(place, entry)
                    return
                entries.clear()
        entries.append(entry)
        if len(entries) > LONGEST:
            del entries[: LONGEST // 10]

    def turned_back(self, now_ns: int) -> None:
        """Forgets a series that was further than the clock is now, and what still waits of it."""
        if self._entries and self._entries[-1].stamp_ns > now_ns + _AHEAD_NS:
            self._entries.clear()
            self._guarded = _QUEUED

    def begins(self, start_ns: int) -> None:
        """Forgets what was before the start of the episode."""
        keep = bisect_left(self._entries, start_ns - _FRAME_NS, key=lambda entry: entry.stamp_ns)
        del self._entries[:keep]

    def within(self, start_ns: int, end_ns: int | None) -> list[T]:
        """Those from the start of an episode to its end."""
        until = None if end_ns is None else end_ns + _FRAME_NS
        return [
            entry
            for entry in self._entries
            if entry.stamp_ns >= start_ns - _FRAME_NS and (until is None or entry.stamp_ns <= until)
        ]

    def _place(self, entry: T) -> int | None:
        """Where an overtaken entry belongs; None if it does not fit by both its stamp and its decision."""
        entries = self._entries
        place = bisect_left(entries, entry.stamp_ns, key=lambda other: other.stamp_ns)
        if place in (0, len(entries)) or entries[-1].decision - entry.decision > LATE:
            return None
        before, after = entries[place - 1], entries[place]
        fits = before.decision < entry.decision < after.decision and entry.stamp_ns < after.stamp_ns
        return place if fits else None


@dataclass(frozen=True)
class EpisodeView:
    """What belongs to the episode that goes on, or that was the last one.

    Attributes:
        origin_ns: sim time that counts as 0 [ns]; None while there is nothing.
        started: whether that is the episode's start; otherwise the first that was heard of it.
        end_ns: its end [ns]; None while it goes on.
        decided, foreseen, chosen: by stamp.
    """

    origin_ns: int | None
    started: bool
    end_ns: int | None
    decided: list[Decided]
    foreseen: list[ForeseenRisk]
    chosen: list[ToldMotion]

    def seconds(self, stamp_ns: int) -> float:
        """Sim time since the origin [s], 0 for the frame before."""
        return max(0.0, (stamp_ns - (self.origin_ns or 0)) * 1e-9)


class EpisodeCurves:
    """Collects by sim time; see the module."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self.decided: Series[Decided] = Series()
        self.foreseen: Series[ForeseenRisk] = Series()
        self.chosen: Series[ToldMotion] = Series()
        self._all = (self.decided, self.foreseen, self.chosen)
        self.clock_ns: int | None = None
        self._newest: EpisodeEvent | None = None
        self._start_ns: int | None = None
        self._end_ns: int | None = None

    def clock(self, now_ns: int) -> None:
        """Notes the time."""
        if self.clock_ns is not None and now_ns < self.clock_ns:
            self._turn_back(now_ns)
        self.clock_ns = now_ns

    def episode(self, event: EpisodeEvent) -> None:
        """Notes what happens to the episode; its start told once more (latched) changes nothing."""
        newest, self._newest = self._newest, event
        if event.kind is EventKind.STARTED:
            if newest == event:
                return
            if newest is not None and event.stamp_ns <= newest.stamp_ns:
                self._turn_back(event.stamp_ns)
            self._start_ns, self._end_ns = event.stamp_ns, None
            for series in self._all:
                series.begins(event.stamp_ns)
        elif event.kind is EventKind.ENDED:
            self._end_ns = event.stamp_ns

    def view(self) -> EpisodeView:
        """What belongs to the episode."""
        origin = self._start_ns
        if origin is None:
            origin = min((series.first_ns for series in self._all if series.first_ns is not None), default=None)
        since = 0 if origin is None else origin
        return EpisodeView(
            origin_ns=origin,
            started=self._start_ns is not None,
            end_ns=self._end_ns,
            decided=self.decided.within(since, self._end_ns),
            foreseen=self.foreseen.within(since, self._end_ns),
            chosen=self.chosen.within(since, self._end_ns),
        )

    def _turn_back(self, now_ns: int) -> None:
        for series in self._all:
            series.turned_back(now_ns)
        if self._start_ns is not None and self._start_ns > now_ns + _AHEAD_NS:
            self._start_ns = self._end_ns = None
        if self._end_ns is not None and self._end_ns > now_ns + _AHEAD_NS:
            self._end_ns = None
