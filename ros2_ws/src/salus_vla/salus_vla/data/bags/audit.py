"""Counts what reached a bag and finds what is missing or too much: loss in DDS is invisible unless a recorder looks.

A topic of the simulator, or the safety signals, is judged by the intervals of its stamps. A topic whose stamps say
nothing about its rate is judged by its count: messages without a stamp of their own, and /joint_command, where the
commands that answer one observation share its stamp. Commands begin with the first decision, which may take its time;
but what the policy wants and what reaches the arm begin together: one that begins later has lost its beginning. Topics
on event and of many publishers are only counted. Messages well above the rate of a topic that has one publisher are a
surplus: two graphs were mixed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from salus_vla.contract import JOINT_COMMAND, JOINT_TARGET, Source, Topic

GAP_FACTOR = 1.5  # an interval longer than this many periods is a gap
SURPLUS_FACTOR = 1.1  # more messages than this many times those that were due, and two, are a surplus
SECOND_NS = 1_000_000_000
_COMMANDS = frozenset({JOINT_TARGET.name, JOINT_COMMAND.name})


@dataclass(frozen=True)
class Gap:
    """A hole in a topic: nothing between two stamps, sim time [ns], where `missing` messages were due."""

    after_ns: int
    before_ns: int
    missing: int


@dataclass(frozen=True)
class TopicAudit:
    """What a bag holds of one topic.

    Attributes:
        count, size: messages and bytes in the bag.
        first_ns, last_ns: smallest and largest stamp, sim time [ns]; None without a message.
        rate_hz: measured over the stamps, None below two messages; expected_hz: of the contract, None on event.
        longest_ns: longest interval between two stamps [ns].
        gaps: where messages are missing; those with `after_ns` at the episode's start or `before_ns` at its end too.
        duplicates, backward: messages whose stamp equals, or is before, that of the one received before it.
        after_end: messages later than the end, written before the end was known; not part of the episode.
        misplaced: messages with a stamp that was not true: they are in the bag at the time at which they came, and fill
            no gap.
        surplus: messages above what was due, where they are so many that one publisher cannot have sent them.
    """

    name: str
    type: str
    count: int
    size: int
    first_ns: int | None
    last_ns: int | None
    rate_hz: float | None
    expected_hz: float | None
    longest_ns: int
    gaps: tuple[Gap, ...]
    duplicates: int
    backward: int
    after_end: int
    misplaced: int = 0
    surplus: int = 0

    @property
    def missing(self) -> int:
        """Messages missing in all gaps."""
        return sum(gap.missing for gap in self.gaps)


@dataclass(frozen=True)
class AuditReport:
    """The audit of one bag between the stamps of its first and its terminal observation, sim time [ns]."""

    start_ns: int
    end_ns: int
    topics: tuple[TopicAudit, ...]

    @property
    def gaps(self) -> int:
        """Gaps over all topics."""
        return sum(len(topic.gaps) for topic in self.topics)

    @property
    def surplus(self) -> int:
        """Messages that are too many, over all topics."""
        return sum(topic.surplus for topic in self.topics)

    @property
    def messages(self) -> int:
        """Messages over all topics."""
        return sum(topic.count for topic in self.topics)


class Audit:
    """Collects the stamps of each topic while a bag is written."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        """Expects `topics`."""
        self._topics = {topic.name: topic for topic in topics}
        self._stamps = {name: array("q") for name in self._topics}
        self._sizes = dict.fromkeys(self._topics, 0)
        self._misplaced = dict.fromkeys(self._topics, 0)

    def observe(self, topic: str, stamp_ns: int, size: int, *, misplaced: bool = False) -> None:
        """Counts a message of `size` bytes in the order of writing.

        Args:
            topic: its name.
            stamp_ns: its stamp, sim time [ns].
            size: [bytes].
            misplaced: its own stamp was not true, so that this one says nothing about the topic's rate.
        """
        if misplaced:
            self._misplaced[topic] += 1
        else:
            self._stamps[topic].append(stamp_ns)
        self._sizes[topic] += size

    def finish(self, start_ns: int, end_ns: int) -> AuditReport:
        """The audit of the window from the first to the terminal observation, both included, sim time [ns]."""
        reports = tuple(self._topic(topic, start_ns, end_ns) for topic in self._topics.values())
        return AuditReport(start_ns, end_ns, reports)

    def _topic(self, topic: Topic, start_ns: int, end_ns: int) -> TopicAudit:
        arrived = self._stamps[topic.name]
        stamps = sorted(set(arrived))
        span = stamps[-1] - stamps[0] if stamps else 0
        return TopicAudit(
            name=topic.name,
            type=topic.type,
            count=len(arrived) + self._misplaced[topic.name],
            size=self._sizes[topic.name],
            first_ns=stamps[0] if stamps else None,
            last_ns=stamps[-1] if stamps else None,
            rate_hz=round((len(arrived) - 1) * SECOND_NS / span, 3) if span else None,
            expected_hz=topic.rate_hz,
            longest_ns=max((later - earlier for earlier, later in pairwise(stamps)), default=0),
            gaps=(*self._late_beginning(topic, start_ns, end_ns), *self._gaps(topic, stamps, start_ns, end_ns)),
            duplicates=sum(later == earlier for earlier, later in pairwise(arrived)),
            backward=sum(later < earlier for earlier, later in pairwise(arrived)),
            after_end=sum(stamp > end_ns for stamp in arrived),
            misplaced=self._misplaced[topic.name],
            surplus=_surplus(topic, arrived, start_ns, end_ns),
        )

    def _gaps(self, topic: Topic, stamps: list[int], start_ns: int, end_ns: int) -> tuple[Gap, ...]:
        """Gaps of a topic with these sorted, different stamps."""
        if topic.rate_hz is None or topic.source is Source.NODES or (topic.optional and not stamps):
            return ()
        period_ns = SECOND_NS / topic.rate_hz
        # A stamp is that of a frame to half a period.
        inside = [stamp for stamp in stamps if start_ns - period_ns / 2 <= stamp <= end_ns + period_ns / 2]
        if not inside:
            if end_ns - start_ns <= GAP_FACTOR * period_ns:  # aborted as it began: nothing was due so soon
                return ()
            return (Gap(start_ns, end_ns, int((end_ns - start_ns) // period_ns) + 1),)
        # Their first one waits for the first decision: that is no loss.
        if topic.name in _COMMANDS:
            return self._by_count(topic, inside[0], inside[-1], period_ns)
        return _by_interval(inside, start_ns, end_ns, period_ns)

    def _late_beginning(self, topic: Topic, start_ns: int, end_ns: int) -> tuple[Gap, ...]:
        """Commands that are missing at the beginning of the one topic of `_COMMANDS` while the other has them."""
        if topic.name not in _COMMANDS or topic.rate_hz is None:
            return ()
        period_ns = SECOND_NS / topic.rate_hz
        begins = {
            name: min(
                (stamp for stamp in self._stamps[name] if start_ns - period_ns / 2 <= stamp <= end_ns), default=None
            )
            for name in _COMMANDS & self._stamps.keys()
        }
        own, earliest = begins[topic.name], min((begin for begin in begins.values() if begin is not None), default=None)
        # Without any there is one gap over the whole episode already.
        if own is None or earliest is None or own - earliest <= GAP_FACTOR * period_ns:
            return ()
        return (Gap(earliest, own, round((own - earliest) / period_ns)),)

    def _by_count(self, topic: Topic, first_ns: int, last_ns: int, period_ns: float) -> tuple[Gap, ...]:
        count = sum(first_ns <= stamp <= last_ns for stamp in self._stamps[topic.name])
        missing = int((last_ns - first_ns) // period_ns) + 1 - count
        # One message more or less is a matter of where in its period the window begins.
        return (Gap(first_ns, last_ns, missing),) if missing > 1 else ()


def _surplus(topic: Topic, arrived: Iterable[int], start_ns: int, end_ns: int) -> int:
    """Messages above what was due between two stamps; a few more are a matter of where a period begins."""
    if topic.rate_hz is None or topic.source is Source.NODES:
        return 0
    period_ns = SECOND_NS / topic.rate_hz
    due = int((end_ns - start_ns) // period_ns) + 1
    count = sum(start_ns - period_ns / 2 <= stamp <= end_ns + period_ns / 2 for stamp in arrived)
    return count - due if count > SURPLUS_FACTOR * due + 2 else 0


def _by_interval(stamps: list[int], start_ns: int, end_ns: int, period_ns: float) -> tuple[Gap, ...]:
    limit = GAP_FACTOR * period_ns
    gaps = []
    if stamps[0] - start_ns > limit:
        gaps.append(Gap(start_ns, stamps[0], round((stamps[0] - start_ns) / period_ns)))
    for earlier, later in pairwise(stamps):
        if later - earlier > limit:
            gaps.append(Gap(earlier, later, round((later - earlier) / period_ns) - 1))
    if end_ns - stamps[-1] > limit:
        gaps.append(Gap(stamps[-1], end_ns, round((end_ns - stamps[-1]) / period_ns)))
    return tuple(gaps)
