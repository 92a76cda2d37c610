"""Records one episode after another: the part of the recorder node that does not know rclpy.

    start    the bag is opened; messages are kept in memory
    begin    the stamp of the first observation is known: what is older is dropped, the rest is written at once
    stop     the stamp of the terminal observation is known: later messages are dropped
    close    everything up to the end has arrived, or was waited for long enough: the bag gets its audit and its name

Stamps decide what belongs to an episode, never the order of arrival, which differs between topics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from salus_vla.contract import CLOCK, EPISODE, Source, Topic
from salus_vla.contract.errors import MessageError, RecordingError, SalusError
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.audit import SECOND_NS, Audit, AuditReport
from salus_vla.data.bags.bag_writer import BagWriter
from salus_vla.data.bags.episode_decoder import EpisodeDecoder
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_episode import DECISION_NS, EpisodeEnd, EpisodeMeta, Message, OpenEpisode
from salus_vla.data.bags.run_folder import RunFolder, discard_bag
from salus_vla.data.bags.run_records import EpisodeEntry
from salus_vla.data.bags.settling import SettlingBuffer
from salus_vla.data.bags.stamps import stamp_layout

LATCHED_KEPT = 10  # messages per latched topic from before an episode: /salus/status has several publishers
HOLD_BACK_NS = 250_000_000  # sim time for which a message waits for the episode's end; also lost at kill -9
# A stamp this far ahead of the clock is not true. More than what a reader's queue holds: the clock may be taken last.
AHEAD_NS = 60 * SECOND_NS
BUFFER_BYTES = 256 * 1024 * 1024  # about 14 s of three cameras at 30 Hz, 40 s at 10 Hz


class WriterFactory(Protocol):
    """Opens a bag: `functools.partial(open_writer, types=types)` is one."""

    def __call__(self, folder: Path, *, custom_data: Mapping[str, str]) -> BagWriter:
        """Creates `folder` and writes `custom_data` into the bag."""


class State(Enum):
    """What the recorder does."""

    IDLE = "idle"
    BUFFERING = "buffering"
    RECORDING = "recording"
    STOPPING = "stopping"


@dataclass(frozen=True)
class FinishedEpisode:
    """A bag with its final name."""

    path: Path
    entry: EpisodeEntry
    audit: AuditReport


class EpisodeRecorder:
    """Writes the messages of each episode into a bag of its own.

    Attributes:
        run: the run folder.
        state: what the recorder does.
        sim_time_ns: newest /clock [ns], before that the newest stamp of the simulator; None before the first one.
        spoiled: why the running episode cannot be a good one, whatever its outcome; empty where nothing is wrong.
    """

    def __init__(
        self,
        run: RunFolder,
        topics: Iterable[Topic],
        types: MessageTypes,
        open_writer: WriterFactory,
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        """Records `topics` into `run`.

        Args:
            run: open run folder.
            topics: topics of the contract whose types are installed.
            types: their definitions.
            open_writer: opens the bag of an episode.
            buffer_bytes: largest memory for messages that wait for the start of an episode [bytes].

        Raises:
            RecordingError: the type of a topic is not installed.
        """
        self.run = run
        self.state = State.IDLE
        self.sim_time_ns: int | None = None
        self.spoiled = ""
        self._clock_ns: int | None = None
        self._topics = {topic.name: topic for topic in topics}
        self._layouts = {
            topic.name: stamp_layout(types.store.fielddefs, types.get(topic.type).name)
            for topic in self._topics.values()
        }
        self._decoder = EpisodeDecoder(types.get(EPISODE.type).definition)
        self._open_writer = open_writer
        self._buffer_limit = buffer_bytes
        self._latched: dict[str, deque[Message]] = {
            topic.name: deque(maxlen=LATCHED_KEPT) for topic in self._topics.values() if topic.qos.latched
        }
        self._episode: OpenEpisode | None = None
        self._buffer = SettlingBuffer(HOLD_BACK_NS)

    # -- the episode's life ----------------------------------------------------------------------------------------

    def start(self, meta: EpisodeMeta, provenance: Mapping[str, str]) -> Path:
        """Opens the bag of an episode and buffers from now on; returns the folder it is written in.

        Raises:
            RecordingError: another episode is being recorded, or the bag cannot be written.
        """
        if self._episode is not None:
            raise RecordingError(f"episode {self._episode.meta.number} is still being recorded")
        custom_data = {
            **provenance,
            "run_id": self.run.run_id,
            "episode": str(meta.number),
            "seed": str(meta.seed),
            "task": meta.task,
            "policy_source": meta.policy_source,
        }
        bag = self.run.new_bag(meta.number)
        try:
            writer = self._open_writer(bag, custom_data=custom_data)
        except RecordingError:
            discard_bag(bag)
            raise
        self._episode = OpenEpisode(meta, custom_data, writer, Audit(self._topics.values()))
        self._buffer = SettlingBuffer(HOLD_BACK_NS)
        self._latched[EPISODE.name] = deque()  # the whole story of this episode, nothing of the one before
        self.state = State.BUFFERING
        self.spoiled = ""
        with self._giving_up_on_error(self._episode):
            for topic in self._topics.values():
                writer.add_topic(topic.name, topic.type, topic.qos)
        return bag

    def begin(self, start_stamp_ns: int) -> None:
        """The episode starts at this stamp, sim time [ns]: write what was buffered since then.

        Raises:
            RecordingError: no episode waits for its start, or the bag cannot be written.
        """
        episode = self._running(State.BUFFERING)
        episode.start_ns = start_stamp_ns
        self.state = State.RECORDING
        with self._giving_up_on_error(episode):
            for latched in self._latched.values():
                for message in latched:
                    self._write(episode, message, episode.place_latched(message))
        self._settle(episode)

    def on_message(self, topic: str, cdr: bytes, receive_time_ns: int, event: EpisodeEvent | None = None) -> None:
        """Takes a serialized message.

        Args:
            topic: its name.
            cdr: its bytes.
            receive_time_ns: wall time at which it came [ns].
            event: what the message says, for /salus/episode; None to read it here.

        Raises:
            MessageError: the message is damaged or its stamp cannot be true; it is left out, the recorder goes on.
            RecordingError: the topic is unknown, too much was buffered, or the bag cannot be written; in the last two
                cases the episode is left as an interrupted bag.
        """
        if topic not in self._topics:
            raise RecordingError(f"a message on {topic}, which is not recorded")
        if self._episode is not None:
            self._episode.arrived(receive_time_ns)
        message, episode = self._stamped(self._topics[topic], cdr), self._episode
        if message.topic.qos.latched:
            self._on_latched(episode, message, event)
        elif episode is not None:
            self._buffer.add(message, self.sim_time_ns or 0)
            if self.state is not State.BUFFERING:
                self._settle(episode)
            self._check_buffer(episode)

    def stop(self, end: EpisodeEnd) -> None:
        """The episode ends at `end.end_stamp_ns`: messages after that are dropped.

        Raises:
            RecordingError: no episode is being recorded, it never started, or this can be no end of it: the recording
                goes on then.
        """
        episode = self._running(State.RECORDING)
        _check_end(episode, end.end_stamp_ns, end.outcome, RecordingError)
        if self.spoiled and end.outcome != Outcome.ABORTED.name:
            end = replace(end, outcome=Outcome.ABORTED.name, detail=f"{self.spoiled}; was {end.outcome}: {end.detail}")
        episode.end = end
        episode.end_ns = end.end_stamp_ns
        self.state = State.STOPPING
        self._settle(episode)

    def stop_now(self, detail: str) -> None:
        """The episode ends here: as /salus/episode said, or as ABORTED with `detail` while nothing was said.

        Raises:
            RecordingError: no episode is being recorded, or it never started.
        """
        episode = self._running(State.RECORDING)
        said, now_ns = episode.ended, self.sim_time_ns or 0
        if said is not None:
            end = EpisodeEnd(said.stamp_ns, said.outcome, said.event_stamp_ns, said.decisions, said.detail)
        else:
            passed = max(0, -(-(now_ns - (episode.start_ns or 0)) // DECISION_NS))  # begun ones included
            end_ns = max(now_ns, episode.start_ns or 0)  # a clock that jumped back ends nothing before its beginning
            end = EpisodeEnd(end_ns, Outcome.ABORTED.name, None, passed, detail)
        self.stop(end)

    def waiting_for(self) -> tuple[str, ...]:
        """Topics that have not reached the end stamp, and /salus/episode while its ENDED is missing.

        Raises:
            RecordingError: no episode was stopped.
        """
        return self._running(State.STOPPING).waiting_for()

    def ready_to_close(self) -> bool:
        """Nothing is waited for any more.

        Raises:
            RecordingError: no episode was stopped.
        """
        return not self.waiting_for()

    def close(self) -> FinishedEpisode:
        """Finishes the bag: audit, final name, entry in run.json.

        Raises:
            RecordingError: no episode was stopped, or the disk refuses; the bag is then left as an interrupted one.
        """
        episode = self._running(State.STOPPING)
        with self._giving_up_on_error(episode):
            episode.writer.close()
        self._episode, self.state = None, State.IDLE
        record = episode.record(self.run.run_id)
        entry = self.run.finish_bag(episode.writer.folder, record)
        return FinishedEpisode(self.run.path / entry.path, entry, record.audit)

    def abandon(self) -> None:
        """Gives the running episode up: its bag stays as an interrupted one, or is removed when nothing was written."""
        episode, state = self._episode, self.state
        self._episode, self.state = None, State.IDLE
        if episode is not None:
            if state is not State.BUFFERING:
                with suppress(RecordingError):  # a disk that refuses is often why the episode is given up
                    self._write_all(episode)
            episode.writer.abort()
            if not episode.written:
                discard_bag(episode.writer.folder)

    # -- messages --------------------------------------------------------------------------------------------------

    def _stamped(self, topic: Topic, cdr: bytes) -> Message:
        layout = self._layouts[topic.name]
        stamp_ns = layout.read(topic.name, cdr) if layout else None
        # Any node may be on /diagnostics and /salus/status, one without sim time or before its first /clock too.
        if not stamp_ns or topic.source is Source.NODES:
            return Message(topic, cdr, self.sim_time_ns or 0, own_stamp=False)
        if topic.name == CLOCK.name:
            self._clock_ns = stamp_ns
        elif self._clock_ns is not None and stamp_ns > self._clock_ns + AHEAD_NS:
            ahead_s = (stamp_ns - self._clock_ns) / SECOND_NS
            raise MessageError(f"{topic.name}: a message with a stamp {ahead_s:.0f} s ahead of {CLOCK.name}")
        if topic.name == CLOCK.name:
            newest_ns = self.sim_time_ns or 0
            self.sim_time_ns = stamp_ns if stamp_ns < newest_ns - SECOND_NS else max(newest_ns, stamp_ns)
        elif self._clock_ns is None and topic.source is Source.SIMULATOR and not topic.qos.latched:
            self.sim_time_ns = max(self.sim_time_ns or 0, stamp_ns)  # until /clock says what time it is
        return Message(topic, cdr, stamp_ns, own_stamp=True)

    def _on_latched(self, episode: OpenEpisode | None, message: Message, event: EpisodeEvent | None) -> None:
        if message.topic.name == EPISODE.name:
            event = event or self._read(message)
            if episode is None or (event.run_id, event.episode) != (self.run.run_id, episode.meta.number):
                return
            if event.kind is EventKind.ENDED:
                _check_end(episode, event.stamp_ns, event.outcome, MessageError)
                episode.ended = event
                episode.end_ns = event.stamp_ns  # known before stop() says it: fewer messages after the end get in
        self._latched[message.topic.name].append(message)
        if episode is not None and self.state is not State.BUFFERING:
            with self._giving_up_on_error(episode):
                self._write(episode, message, episode.place_latched(message))
            self._settle(episode)

    def _read(self, message: Message) -> EpisodeEvent:
        try:
            return self._decoder.decode(message.cdr)
        except RecordingError as error:  # anybody may publish: it is left out, and nothing else is lost
            raise MessageError(str(error)) from error

    def _settle(self, episode: OpenEpisode) -> None:
        """Writes what is known to belong to the episode.

        The end is known a few frames late (somebody has to see the event and say so). Until then the newest messages
        wait, so that the bag ends exactly with the terminal observation.
        """
        now_ns, end_ns = self.sim_time_ns or 0, episode.end_ns
        with self._giving_up_on_error(episode):
            # Whoever says that the episode ended has seen that much sim time.
            for message in (
                self._buffer.settled(now_ns) if end_ns is None else self._buffer.everything(max(now_ns, end_ns))
            ):
                self._write(episode, message, episode.place(message))

    def _write_all(self, episode: OpenEpisode) -> None:
        for message in self._buffer.everything(self.sim_time_ns or 0):
            self._write(episode, message, episode.place(message))

    def _check_buffer(self, episode: OpenEpisode) -> None:
        if self._buffer.size_bytes <= self._buffer_limit:
            return
        buffering = self.state is State.BUFFERING
        self.abandon()
        if buffering:
            raise RecordingError(
                f"episode {episode.meta.number}: {self._buffer_limit} bytes of messages came and no STARTED on "
                f"{EPISODE.name}; is the episode node alive?"
            )
        raise RecordingError(
            f"episode {episode.meta.number}: {self._buffer_limit} bytes of messages wait for {CLOCK.name}, which "
            f"stands still at {(self.sim_time_ns or 0) / SECOND_NS:.2f} s; {episode.written} messages are in "
            f"{episode.writer.folder}, see `salus bag recover`"
        )

    def _write(self, episode: OpenEpisode, message: Message, time_ns: int | None) -> None:
        if time_ns is None:
            return
        name = message.topic.name
        episode.writer.write(name, message.cdr, time_ns)
        episode.audit.observe(name, time_ns, len(message.cdr), misplaced=message.misplaced)
        episode.written += 1

    @contextmanager
    def _giving_up_on_error(self, episode: OpenEpisode) -> Iterator[None]:
        """When the disk refuses, close what was written before and give the episode up."""
        try:
            yield
        except RecordingError as error:
            self.abandon()
            kept = f"; {episode.written} messages are in {episode.writer.folder}, see `salus bag recover`"
            raise RecordingError(f"episode {episode.meta.number}: {error}{kept if episode.written else ''}") from error

    @property
    def number(self) -> int | None:
        """Number of the episode that is being recorded; None without one."""
        return self._episode.meta.number if self._episode is not None else None

    def _running(self, state: State) -> OpenEpisode:
        if self._episode is None or self.state is not state:
            raise RecordingError(f"the recorder is {self.state.value}, expected {state.value}")
        return self._episode


def _check_end(episode: OpenEpisode, end_ns: int, outcome: str, error: type[SalusError]) -> None:
    """Refuses what can be no end of an episode, with the error that its origin asks for."""
    what = f"episode {episode.meta.number}"
    if outcome == Outcome.RUNNING.name:
        raise error(f"{EPISODE.name}: {what} cannot end with the outcome {outcome}")
    if episode.start_ns is not None and end_ns < episode.start_ns:
        raise error(
            f"{EPISODE.name}: {what} cannot end at {end_ns / SECOND_NS:.2f} s, before its start at "
            f"{episode.start_ns / SECOND_NS:.2f} s"
        )
