"""Whatever the stamps: nothing waits in memory for longer than the reliability page promises, and nothing is lost."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract import CLOCK, CONTACT, JOINT_STATES, JOINT_TARGET, SAFETY_SIGNALS, Qos, Topic, image_topic
from salus_vla.contract.errors import MessageError, RecordingError
from salus_vla.data.bags.bag_writer import BagWriter
from salus_vla.data.bags.episode_recorder import HOLD_BACK_NS, EpisodeRecorder, State
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.run_folder import RunFolder
from samples import FRAME_NS, message_types

S = 1_000_000_000
START = 100 * S
TOPICS = (CLOCK, JOINT_STATES, JOINT_TARGET, SAFETY_SIGNALS, CONTACT, image_topic("front"))
WRONG = st.one_of(
    st.integers(-60 * S, 59 * S),  # anything
    st.sampled_from([0, S, -S, 59 * S, -60 * S, HOLD_BACK_NS, HOLD_BACK_NS + 1]),
)


class Kept:
    """A writer that keeps what it gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.written: list[tuple[str, bytes, int]] = []

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        pass

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        self.written.append((topic, data, log_time_ns))

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def recorder_in(folder: Path, **options: int) -> tuple[EpisodeRecorder, list[Kept], RunFolder]:
    writers: list[Kept] = []

    def opened(path: Path, *, custom_data: Mapping[str, str]) -> BagWriter:
        writers.append(Kept(path))
        return writers[-1]

    run = RunFolder.create(folder, "run1", provenance={}, arguments={})
    recorder = EpisodeRecorder(run, TOPICS, message_types(), opened, **options)
    recorder.on_message(CLOCK.name, stamped(START, 0), 0)
    recorder.start(EpisodeMeta(0, 7, "lift", "hold"), {})
    recorder.begin(START)
    return recorder, writers, run


def stamped(stamp_ns: int, number: int) -> bytes:
    return b"\x00\x01\x00\x00" + struct.pack("<iII", *divmod(stamp_ns, S), number)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[Topic, int]]:
    """A second and a half of frames; each may bring messages with wrong stamps on any topic, before or after /clock."""
    stream: list[tuple[Topic, int]] = []
    for frame in range(1, 76):
        now = START + frame * FRAME_NS
        good = [(CLOCK, now), (JOINT_STATES, now), (JOINT_TARGET, now)]
        wrong = draw(st.lists(st.tuples(st.sampled_from(TOPICS[1:]), WRONG), max_size=2)) if frame % 5 == 0 else []
        stream += draw(st.permutations(good + [(topic, now + offset) for topic, offset in wrong]))
    return stream


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(60, 75))
def test_no_message_waits_longer_than_promised_and_none_is_lost(stream: list[tuple[Topic, int]], last: int) -> None:
    with TemporaryDirectory() as folder:
        recorder, writers, run = recorder_in(Path(folder))
        until: list[int] = []  # sim time at which each message is settled at the latest
        for number, (topic, stamp) in enumerate(stream):
            came = recorder.sim_time_ns or 0
            # Two frames: /clock may come last in its own, and be the first in the next.
            until.append(came + 2 * FRAME_NS + (HOLD_BACK_NS if stamp <= came + FRAME_NS else 3 * HOLD_BACK_NS))
            recorder.on_message(topic.name, stamped(stamp, number), 0)
            now = recorder.sim_time_ns or 0
            waiting = number + 1 - len(writers[0].written) - _before(stream[: number + 1])
            allowed = sum(then > now for then in until)
            assert waiting <= allowed, f"{waiting} wait, {allowed} may"
        end = START + last * FRAME_NS
        recorder.stop(EpisodeEnd(end, "TIMEOUT", None, 10, ""))
        written = {struct.unpack_from("<I", data, 12)[0] for _, data, _ in writers[0].written}
        for number, (topic, stamp) in enumerate(stream):
            inside = START <= stamp <= end
            assert number in written or not inside, f"{topic.name} of {stamp} is missing"
        times = [time for _, _, time in writers[0].written]
        assert all(START <= time <= START + 75 * FRAME_NS for time in times)
        assert recorder.state is State.STOPPING
        run.close()


def _before(stream: list[tuple[Topic, int]]) -> int:
    """Messages of before the episode, which are left out."""
    return sum(stamp < START for _, stamp in stream)


def test_a_wrong_stamp_is_counted_and_fills_no_gap(tmp_path: Path) -> None:
    recorder, writers, run = recorder_in(tmp_path)
    for frame in range(1, 101):
        now = START + frame * FRAME_NS
        recorder.on_message(CLOCK.name, stamped(now, 0), 0)
        recorder.on_message(JOINT_STATES.name, stamped(now + 30 * S if frame == 20 else now, frame), 0)
    recorder.stop(EpisodeEnd(START + 100 * FRAME_NS, "TIMEOUT", None, 10, ""))
    audit = {topic.name: topic for topic in recorder.close().audit.topics}
    joints = audit[JOINT_STATES.name]
    assert (joints.misplaced, joints.count) == (1, 100)
    assert [gap.missing for gap in joints.gaps] == [1]
    assert [
        time for topic, data, time in writers[0].written if data == stamped(START + 20 * FRAME_NS + 30 * S, 20)
    ] == [START + 20 * FRAME_NS]
    run.close()


def test_a_clock_that_stands_still_cannot_fill_the_memory(tmp_path: Path) -> None:
    recorder, _, run = recorder_in(tmp_path, buffer_bytes=1000)
    for number in range(62):  # of 16 bytes
        recorder.on_message(JOINT_STATES.name, stamped(START + (20 + number) * FRAME_NS, number), 0)
    with pytest.raises(RecordingError, match=r"1000 bytes of messages wait for /clock, which stands still at 100\.0"):
        recorder.on_message(JOINT_STATES.name, stamped(START + 99 * FRAME_NS, 63), 0)
    assert recorder.state is State.IDLE
    run.close()


def test_a_stamp_of_more_than_a_minute_ahead_is_refused(tmp_path: Path) -> None:
    recorder, _, run = recorder_in(tmp_path)
    with pytest.raises(MessageError, match="ahead of /clock"):
        recorder.on_message(JOINT_STATES.name, stamped(START + 61 * S, 0), 0)
    run.close()


# -- an end that makes no sense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (EpisodeEnd(START + S, "RUNNING", None, 10, ""), "cannot end with the outcome RUNNING"),
        (EpisodeEnd(START - 3 * S, "TIMEOUT", None, 10, ""), r"cannot end at 97\.00 s, before its start at 100\.00 s"),
    ],
)
def test_a_stop_that_makes_no_sense_is_refused_and_the_recording_goes_on(
    tmp_path: Path, end: EpisodeEnd, words: str
) -> None:
    recorder, _, run = recorder_in(tmp_path)
    with pytest.raises(RecordingError, match=words):
        recorder.stop(end)
    assert recorder.state is State.RECORDING
    recorder.stop(EpisodeEnd(START + S, "TIMEOUT", None, 10, ""))
    run.close()


def test_what_was_spoiled_is_aborted_whatever_its_outcome_would_have_been(tmp_path: Path) -> None:
    recorder, _, run = recorder_in(tmp_path)
    recorder.spoiled = "/joint_command has a second publisher, node /x"
    recorder.stop(EpisodeEnd(START, "SUCCESS", None, 10, "cube at rest in the bin"))
    entry = recorder.close().entry
    assert entry.outcome == "ABORTED"
    assert entry.detail == "/joint_command has a second publisher, node /x; was SUCCESS: cube at rest in the bin"
    run.close()
