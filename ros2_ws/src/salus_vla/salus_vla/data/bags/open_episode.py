"""The episode that is being recorded: which messages belong to it, what it still waits for, what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.contract import DECISION_HZ, EPISODE, FRAME_HZ, JOINT_COMMAND, JOINT_TARGET, Source, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import EpisodeEvent
from salus_vla.data.bags.audit import SECOND_NS, Audit
from salus_vla.data.bags.bag_writer import BagWriter
from salus_vla.data.bags.run_records import EpisodeEntry, EpisodeRecord

FRAME_NS = round(SECOND_NS / FRAME_HZ)
DECISION_NS = round(SECOND_NS / DECISION_HZ)


@dataclass(frozen=True)
class EpisodeMeta:
    """What is known of an episode before it starts, as in StartRecording.srv."""

    number: int
    seed: int
    task: str
    policy_source: str


@dataclass(frozen=True)
class EpisodeEnd:
    """How an episode ended, as in StopRecording.srv; stamps in sim time [ns], that of the event None without one."""

    end_stamp_ns: int
    outcome: str
    event_stamp_ns: int | None
    decisions: int
    detail: str


@dataclass(frozen=True)
class Message:
    """A serialized message.

    Attributes:
        topic: of the contract.
        cdr: its bytes.
        time_ns: its own stamp, or the newest sim time when it arrived [ns].
        own_stamp: whether it is the former.
        misplaced: it had a stamp, which was not true.
    """

    topic: Topic
    cdr: bytes
    time_ns: int
    own_stamp: bool
    misplaced: bool = False


class OpenEpisode:
    """State of the episode from the moment its bag is open; `start_ns` and `end_ns` are None until they are known."""

    def __init__(self, meta: EpisodeMeta, custom_data: dict[str, str], writer: BagWriter, audit: Audit) -> None:
        """Begins with an open, empty bag."""
        self.meta = meta
        self.custom_data = custom_data
        self.writer = writer
        self.audit = audit
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.end: EpisodeEnd | None = None
        self.ended: EpisodeEvent | None = None  # what /salus/episode said last of its end
        self.written = 0
        self._latest: dict[str, tuple[Topic, int]] = {}
        self._first_wall_ns: int | None = None
        self._last_wall_ns = 0

    def arrived(self, receive_time_ns: int) -> None:
        """Notes the wall time [ns] at which a message came."""
        if self._first_wall_ns is None:
            self._first_wall_ns = receive_time_ns
        self._last_wall_ns = receive_time_ns

    def place(self, message: Message) -> int | None:
        """Time of a message in the bag, sim time [ns], or None when it does not belong to the episode."""
        start_ns = self.start_ns or 0
        slack_ns = 0 if message.own_stamp else FRAME_NS  # the newest sim time may be that of the frame before or after
        if message.time_ns < start_ns - slack_ns:
            return None
        topic = message.topic
        if topic.rate_hz is not None and topic.source is not Source.NODES:
            _, latest_ns = self._latest.get(topic.name, (topic, 0))
            self._latest[topic.name] = (topic, max(latest_ns, message.time_ns))
        if self.end_ns is not None and message.time_ns > self.end_ns + slack_ns:
            return None
        return self._inside(message.time_ns)

    def place_latched(self, message: Message) -> int:
        """Time of a latched message in the bag, sim time [ns]: inside the episode, so that the bag plays back alone."""
        return self._inside(message.time_ns)

    def waiting_for(self) -> tuple[str, ...]:
        """Topics of the simulator and the policy that were seen and have not reached the end, and a missing ENDED."""
        end_ns = self.end_ns or 0
        late = [name for name, (topic, time_ns) in self._latest.items() if time_ns < _last_expected_ns(topic, end_ns)]
        return tuple(late if self.ended is not None else [*late, EPISODE.name])

    def record(self, run_id: str) -> EpisodeRecord:
        """The audit of the finished bag and what goes into run.json.

        Raises:
            RecordingError: the episode was not stopped.
        """
        if self.start_ns is None or self.end is None:
            raise RecordingError(f"episode {self.meta.number} was not stopped")
        report = self.audit.finish(self.start_ns, self.end.end_stamp_ns)
        entry = EpisodeEntry(
            number=self.meta.number,
            seed=self.meta.seed,
            task=self.meta.task,
            policy_source=self.meta.policy_source,
            outcome=self.end.outcome,
            decisions=self.end.decisions,
            start_ns=self.start_ns,
            end_ns=self.end.end_stamp_ns,
            wall_s=round((self._last_wall_ns - (self._first_wall_ns or 0)) / SECOND_NS, 3),
            event_stamp_ns=self.end.event_stamp_ns,
            detail=self.end.detail,
            path=self.writer.folder.name,
            messages=report.messages,
            gaps=report.gaps,
            surplus=report.surplus,
        )
        return EpisodeRecord(run_id, entry, self.custom_data, report)

    def _inside(self, time_ns: int) -> int:
        time_ns = max(time_ns, self.start_ns or 0)
        return time_ns if self.end_ns is None else min(time_ns, self.end_ns)


def _last_expected_ns(topic: Topic, end_ns: int) -> int:
    """A topic with a stamp from here on has nothing more to say up to the end, sim time [ns]."""
    if topic.name in (JOINT_TARGET.name, JOINT_COMMAND.name):
        return end_ns - DECISION_NS  # the command after the terminal decision may come too late
    # With less than half a period left, the next message is later than the end.
    return end_ns - round(SECOND_NS / (topic.rate_hz or FRAME_HZ) / 2)
