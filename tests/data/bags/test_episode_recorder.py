"""What belongs to an episode is decided by stamps, and every bag is complete in itself."""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from mcap.reader import make_reader

from salus_vla.contract import (
    CLOCK,
    DIAGNOSTICS,
    EPISODE,
    JOINT_COMMAND,
    JOINT_STATES,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    TF,
    Qos,
    Topic,
    image_topic,
)
from salus_vla.contract.errors import MessageError, RecordingError
from salus_vla.contract.message_readers import EventKind
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.bag_writer import BagWriter
from salus_vla.data.bags.episode_decoder import EpisodeDecoder
from salus_vla.data.bags.episode_recorder import HOLD_BACK_NS, EpisodeRecorder, FinishedEpisode, State
from salus_vla.data.bags.message_types import MessageTypes, default_folders
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.stamps import StampLayout, stamp_layout

SOURCES = Path(__file__).resolve().parents[3] / "ros2_ws" / "src"
IMAGE = image_topic("front")
TOPICS = (
    CLOCK,
    JOINT_STATES,
    IMAGE,
    TF,
    JOINT_COMMAND,
    SAFETY_SIGNALS,
    EPISODE,
    STATUS_TOPIC,
    DIAGNOSTICS,
)
MS = 1_000_000
START, END = 1000 * MS, 2000 * MS
META = EpisodeMeta(0, seed=7, task="lift", policy_source="hold")
STOP = EpisodeEnd(END, "SUCCESS", END - 100 * MS, 10, "cube at rest in the bin")


@pytest.fixture(scope="module")
def types() -> MessageTypes:
    return MessageTypes([*default_folders(), SOURCES])


@pytest.fixture
def recorder(tmp_path: Path, types: MessageTypes) -> Iterator[EpisodeRecorder]:
    run = RunFolder.create(tmp_path, "run1", provenance={}, arguments={})
    yield EpisodeRecorder(run, TOPICS, types, partial(open_writer, backend="mcap", types=types))
    run.close()


def stamped(stamp_ns: int, payload: bytes = b"", order: str = "<") -> bytes:
    """The beginning of a message whose first field is a stamp or a header; more of it is never read."""
    encapsulation = b"\x00\x01\x00\x00" if order == "<" else b"\x00\x00\x00\x00"
    return encapsulation + struct.pack(f"{order}iI", *divmod(stamp_ns, 1_000_000_000)) + payload


def notice(types: MessageTypes, kind: EventKind, stamp_ns: int, episode: int = 0, run_id: str = "run1") -> bytes:
    store = types.store
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    time = store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    header = store.types["std_msgs/msg/Header"](stamp=time, frame_id="")
    message = store.types[EPISODE.type](
        header=header, kind=kind, run_id=run_id, episode=episode, seed=7, task="lift", policy_source="hold",
        outcome=1 if kind is EventKind.ENDED else 0, event="", event_stamp=time, decisions=3, detail="",
    )  # fmt: skip
    return bytes(store.serialize_cdr(message, EPISODE.type))


class Feed:
    """Gives messages to a recorder; wall time passes with each of them."""

    def __init__(self, recorder: EpisodeRecorder, types: MessageTypes) -> None:
        self.recorder = recorder
        self.types = types
        self.wall_ns = 0

    def send(self, topic: Topic, stamp_ns: int, cdr: bytes | None = None) -> None:
        self.wall_ns += 10 * MS
        self.recorder.on_message(topic.name, cdr or stamped(stamp_ns), self.wall_ns)

    def frames(self, first_ns: int, last_ns: int, *topics: Topic) -> None:
        for stamp_ns in range(first_ns, last_ns + 1, 20 * MS):
            self.send(CLOCK, stamp_ns)
            for topic in topics:
                if topic.rate_hz != 10.0 or stamp_ns % (100 * MS) == 0:
                    self.send(topic, stamp_ns)

    def notice(self, kind: EventKind, stamp_ns: int, episode: int = 0, run_id: str = "run1") -> None:
        self.send(EPISODE, stamp_ns, notice(self.types, kind, stamp_ns, episode, run_id))


@pytest.fixture
def feed(recorder: EpisodeRecorder, types: MessageTypes) -> Feed:
    return Feed(recorder, types)


def finish(feed: Feed) -> FinishedEpisode:
    feed.notice(EventKind.ENDED, END)
    feed.recorder.stop(STOP)
    return feed.recorder.close()


def content(finished: FinishedEpisode) -> dict[str, list[int]]:
    """Log times of each topic in file order."""
    times: dict[str, list[int]] = {}
    with (finished.path / f"{finished.path.name}_0.mcap").open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages(log_time_order=False):
            times.setdefault(channel.topic, []).append(message.log_time)
    return times


def test_an_episode_holds_the_messages_from_its_first_to_its_terminal_observation(feed: Feed) -> None:
    feed.recorder.start(META, {"git": "abc"})
    feed.frames(START - 200 * MS, START + 100 * MS, JOINT_STATES, IMAGE)
    feed.recorder.begin(START)
    feed.frames(START + 120 * MS, END, JOINT_STATES, IMAGE)
    feed.notice(EventKind.ENDED, END)
    feed.frames(END + 20 * MS, END + 200 * MS, JOINT_STATES, IMAGE)
    feed.recorder.stop(STOP)
    finished = feed.recorder.close()
    times = content(finished)
    assert times[JOINT_STATES.name] == list(range(START, END + 1, 20 * MS))
    assert times[IMAGE.name] == list(range(START, END + 1, 100 * MS))
    joints = next(topic for topic in finished.audit.topics if topic.name == JOINT_STATES.name)
    assert (joints.count, joints.gaps, joints.after_end) == (51, (), 0)
    assert finished.entry.outcome == "SUCCESS"
    assert finished.entry.event_stamp_ns == END - 100 * MS
    assert (finished.entry.start_ns, finished.entry.duration_s) == (START, 1.0)
    assert (finished.entry.wall_s or 0) > 1.0
    audit = json.loads((finished.path / "audit.json").read_text())
    assert audit["provenance"]["git"] == "abc"
    assert feed.recorder.run.episodes == (finished.entry,)


def test_messages_are_found_by_their_stamp_whatever_the_order_of_topics(feed: Feed) -> None:
    feed.recorder.start(META, {})
    feed.frames(START - 100 * MS, START + 300 * MS)  # the clock is ahead of the other topics
    feed.recorder.begin(START)
    for stamp_ns in range(START - 100 * MS, END + 200 * MS, 20 * MS):
        feed.send(JOINT_STATES, stamp_ns)
        if stamp_ns == END:
            feed.notice(EventKind.ENDED, END)
    assert content(finish(feed))[JOINT_STATES.name] == list(range(START, END + 1, 20 * MS))


def test_the_bag_ends_with_the_terminal_observation_although_the_end_is_known_late(feed: Feed) -> None:
    feed.recorder.start(META, {})
    feed.recorder.begin(START)
    feed.frames(START, END + 200 * MS, JOINT_STATES)
    assert content(finish(feed))[JOINT_STATES.name][-1] == END


def test_frames_that_came_long_before_the_end_was_known_are_reported(feed: Feed) -> None:
    feed.recorder.start(META, {})
    feed.recorder.begin(START)
    feed.frames(START, END + 60 * MS + HOLD_BACK_NS // (20 * MS) * 20 * MS + 20 * MS, JOINT_STATES)
    finished = finish(feed)
    assert [topic.after_end for topic in finished.audit.topics if topic.name == JOINT_STATES.name] == [3]


def test_a_transform_message_has_the_stamp_of_its_first_transform(feed: Feed) -> None:
    feed.recorder.start(META, {})
    feed.recorder.begin(START)
    feed.send(CLOCK, START + 100 * MS)
    cdr = b"\x00\x01\x00\x00" + struct.pack("<IiI", 1, 1, 40 * MS)
    feed.send(TF, 0, cdr)
    feed.send(TF, 0, b"\x00\x01\x00\x00" + struct.pack("<I", 0))
    assert content(finish(feed))[TF.name] == [START + 40 * MS, START + 100 * MS]


def test_latched_messages_from_before_the_start_are_in_every_bag(feed: Feed, types: MessageTypes) -> None:
    for index in range(15):
        feed.send(STATUS_TOPIC, index * MS)
    for number in (0, 1):
        feed.recorder.start(EpisodeMeta(number, 7, "lift", "hold"), {})
        feed.send(CLOCK, START)
        feed.notice(EventKind.STARTED, START, number)
        feed.recorder.begin(START)
        feed.send(STATUS_TOPIC, START + 5 * MS)
        feed.notice(EventKind.ENDED, END, number)
        feed.recorder.stop(STOP)
        times = content(feed.recorder.close())
        assert times[STATUS_TOPIC.name] == [START] * 11
        assert times[EPISODE.name] == [START, END]


def test_only_notices_of_this_episode_are_recorded(feed: Feed) -> None:
    feed.notice(EventKind.ENDED, START - 300 * MS, episode=0)
    feed.recorder.start(META, {})
    feed.notice(EventKind.ENDED, START - 200 * MS, episode=5)
    feed.notice(EventKind.STARTED, START, run_id="another")
    feed.notice(EventKind.STARTED, START)
    feed.recorder.begin(START)
    feed.notice(EventKind.EVENT, START + 40 * MS)
    assert content(finish(feed))[EPISODE.name] == [START, START + 40 * MS, END]


def test_a_node_without_sim_time_does_not_stretch_the_bag(feed: Feed) -> None:
    feed.recorder.start(META, {})
    feed.recorder.begin(START)
    feed.send(CLOCK, START + 40 * MS)
    feed.send(DIAGNOSTICS, 1_800_000_000_000_000_000)
    assert content(finish(feed))[DIAGNOSTICS.name] == [START + 40 * MS]


def test_the_bag_is_ready_when_every_topic_that_was_seen_reached_the_end(feed: Feed) -> None:
    recorder = feed.recorder
    recorder.start(META, {})
    recorder.begin(START)
    feed.frames(START, END - 40 * MS, JOINT_STATES, IMAGE, JOINT_COMMAND, SAFETY_SIGNALS)
    recorder.stop(STOP)
    assert set(recorder.waiting_for()) == {
        CLOCK.name, JOINT_STATES.name, IMAGE.name, SAFETY_SIGNALS.name, EPISODE.name,
    }  # fmt: skip
    feed.frames(END - 20 * MS, END, JOINT_STATES)
    feed.send(SAFETY_SIGNALS, END)
    assert set(recorder.waiting_for()) == {IMAGE.name, EPISODE.name}
    feed.send(IMAGE, END + 100 * MS)  # the one of the end was lost: no need to wait for it
    assert not recorder.ready_to_close()
    feed.notice(EventKind.ENDED, END)
    assert recorder.ready_to_close()


def test_the_next_episode_goes_into_a_bag_of_its_own(feed: Feed) -> None:
    for number in range(3):
        assert feed.recorder.run.next_episode == number
        feed.recorder.start(EpisodeMeta(number, number, "", "hold"), {})
        feed.recorder.begin(START)
        feed.frames(START, END, JOINT_STATES)
        feed.recorder.stop(STOP)
        finished = feed.recorder.close()
        assert finished.path.name == f"episode_{number:06d}"
        assert len(content(finished)[JOINT_STATES.name]) == 51


def test_a_simulator_that_was_started_anew_sets_the_time_back(feed: Feed) -> None:
    feed.send(CLOCK, 50_000 * MS)
    feed.send(JOINT_STATES, 49_000 * MS)
    assert feed.recorder.sim_time_ns == 50_000 * MS
    feed.send(CLOCK, 20 * MS)
    assert feed.recorder.sim_time_ns == 20 * MS


def test_calls_in_the_wrong_order_are_refused(feed: Feed) -> None:
    with pytest.raises(RecordingError, match="the recorder is idle, expected buffering"):
        feed.recorder.begin(START)
    feed.recorder.start(META, {})
    with pytest.raises(RecordingError, match="episode 0 is still being recorded"):
        feed.recorder.start(META, {})
    with pytest.raises(RecordingError, match="the recorder is buffering, expected recording"):
        feed.recorder.stop(STOP)
    with pytest.raises(RecordingError, match="a message on /chatter, which is not recorded"):
        feed.send(Topic("/chatter", "std_msgs/msg/Bool", Qos(1), CLOCK.source), 0)


def test_an_episode_that_never_started_leaves_nothing_behind(feed: Feed) -> None:
    bag = feed.recorder.start(META, {})
    feed.frames(START, START + 100 * MS, JOINT_STATES)
    feed.recorder.abandon()
    assert not bag.parent.exists()
    assert feed.recorder.run.next_episode == 0


def test_memory_is_bounded_while_the_start_is_awaited(tmp_path: Path, types: MessageTypes) -> None:
    run = RunFolder.create(tmp_path, "run1", provenance={}, arguments={})
    recorder = EpisodeRecorder(run, TOPICS, types, partial(open_writer, backend="mcap", types=types), buffer_bytes=1000)
    recorder.start(META, {})
    recorder.on_message(IMAGE.name, stamped(START, bytes(900)), 0)
    with pytest.raises(RecordingError, match=r"episode 0: 1000 bytes .* no STARTED on /salus/episode"):
        recorder.on_message(IMAGE.name, stamped(START, bytes(100)), 0)
    assert recorder.state is State.IDLE


class FullDisk:
    """A writer whose disk is full after some messages."""

    def __init__(self, folder: Path, messages: int) -> None:
        self.folder = folder
        self.left = messages
        self.aborted = False
        folder.mkdir()

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        pass

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            full = OSError(errno.ENOSPC, "No space left on device")
            raise RecordingError(f"{self.folder}: cannot be written ({full.strerror})")

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def test_a_full_disk_ends_the_episode_with_the_path_and_keeps_what_was_written(
    tmp_path: Path, types: MessageTypes
) -> None:
    run = RunFolder.create(tmp_path, "run1", provenance={}, arguments={})
    writers: list[FullDisk] = []

    def open_full(folder: Path, *, custom_data: Mapping[str, str]) -> BagWriter:
        writers.append(FullDisk(folder, 3))
        return writers[-1]

    recorder = EpisodeRecorder(run, TOPICS, types, open_full)
    bag = recorder.start(META, {})
    recorder.begin(START)
    for index in range(4):
        recorder.on_message(CLOCK.name, stamped(START + index * MS), index)
    with pytest.raises(RecordingError, match=r"episode_000000: cannot be written \(No space left.*3 messages are in"):
        recorder.on_message(CLOCK.name, stamped(END), 4)
    assert writers[0].aborted
    assert run.interrupted == (bag,)
    assert recorder.state is State.IDLE
    recorder.on_message(CLOCK.name, stamped(END), 0)  # the simulator goes on
    assert recorder.start(META, {}).parent.name == ".episode_000000.recording.1"


@pytest.mark.parametrize("order", ["<", ">"])
def test_stamps_are_read_in_both_byte_orders(order: str) -> None:
    assert StampLayout(in_sequence=False).read("/x", stamped(1_234_567_890_123, order=order)) == 1_234_567_890_123


@pytest.mark.parametrize("cdr", [b"", b"\x00\x01", b"\x00\x01\x00\x00\x01\x00", b"\x12\x34" + bytes(20)])
def test_a_damaged_message_is_refused_with_its_topic(cdr: bytes) -> None:
    with pytest.raises(MessageError, match="/joint_states: a message"):
        StampLayout(in_sequence=False).read(JOINT_STATES.name, cdr)


def test_the_stamp_is_where_the_type_says(types: MessageTypes) -> None:
    layouts = {topic.name: stamp_layout(types.store.fielddefs, types.get(topic.type).name) for topic in TOPICS}
    assert layouts[TF.name] == StampLayout(in_sequence=True)
    assert {layouts[topic.name] for topic in (CLOCK, JOINT_STATES, IMAGE, SAFETY_SIGNALS, EPISODE, STATUS_TOPIC)} == {
        StampLayout(in_sequence=False)
    }


def test_kinds_and_outcomes_are_those_of_the_message(types: MessageTypes) -> None:
    types.get(EPISODE.type)
    constants = {name: value for name, _, value in types.store.fielddefs[EPISODE.type][0]}
    assert {kind.name: kind.value for kind in EventKind} == {kind.name: constants[kind.name] for kind in EventKind}
    assert {outcome.name: outcome.value for outcome in Outcome} == {
        name: value for name, value in constants.items() if name not in EventKind.__members__
    }


def test_an_episode_message_is_decoded(types: MessageTypes) -> None:
    decoded = EpisodeDecoder(types.get(EPISODE.type).definition).decode(notice(types, EventKind.ENDED, END, 4))
    assert (decoded.kind, decoded.stamp_ns, decoded.episode, decoded.outcome) == (EventKind.ENDED, END, 4, "SUCCESS")
    with pytest.raises(RecordingError, match="/salus/episode: a message cannot be decoded"):
        EpisodeDecoder(types.get(EPISODE.type).definition).decode(stamped(END))
