"""Whatever cut a recording off, what reached the disk becomes a normal bag."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.records import Message
from rosbags.rosbag2 import Reader

from salus_vla.contract import CLOCK, EPISODE, JOINT_STATES
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_writer import Compression, WriterOptions
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.partial_mcap import read_records
from salus_vla.data.bags.recover_bag import recover
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.run_records import AUDIT_FILE, EpisodeRecord, read_record
from samples import FRAME_NS, IMAGE, clock, episode, image, joints, message_types

HERE = Path(__file__).resolve().parent
START = 1_000_000_000
FRAMES = 50
TOPICS = (CLOCK, JOINT_STATES, IMAGE, EPISODE)
# Of the child's load: a chunk of 40 ms and the 250 ms held back, rounded up to four decisions of 100 ms, each with
# 5 x (clock, joints) and 3 of the camera frame.
LOST_AT_MOST = 4 * 13


def interrupted(
    folder: Path, number: int = 42, *, end: bool = True, frames: int = FRAMES, compression: Compression = "none"
) -> Path:
    """A run whose recorder died before it could close the bag; returns the bag."""
    run_path = folder / "run1"
    if run_path.exists():
        run = RunFolder.open_existing(run_path)
    else:
        run = RunFolder.create(folder, "run1", provenance={}, arguments={})
    types = message_types()
    options = WriterOptions(chunk_bytes=16 * 1024, compression=compression)
    writer = partial(open_writer, backend="mcap", types=types, options=options)
    recorder = EpisodeRecorder(run, TOPICS, types, writer)
    bag = recorder.start(EpisodeMeta(number, 7, "lift", "hold"), {"git": "abc"})
    recorder.on_message(EPISODE.name, episode(START, 0, number), 0)
    recorder.begin(START)
    for index in range(frames):
        now = START + index * FRAME_NS
        recorder.on_message(CLOCK.name, clock(now), index)
        recorder.on_message(JOINT_STATES.name, joints(now), index)
        if index % 5 == 0:
            recorder.on_message(IMAGE.name, image(now, 32), index)
    if end:
        recorder.on_message(EPISODE.name, episode(START + (frames - 1) * FRAME_NS, 2, number, outcome=3), frames)
    recorder.abandon()
    run.close()
    return bag


def messages(bag: Path) -> list[tuple[str, int, bytes]]:
    with Reader(bag) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


def test_a_recorder_that_was_killed_loses_no_more_than_documented(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "endless_recorder.py"), str(tmp_path / "run1")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 500:
                os.kill(child.pid, signal.SIGKILL)
                break
        written = max([500, *map(int, child.stdout.read().split())])  # what it wrote until the signal arrived
    assert child.returncode == -signal.SIGKILL
    (recovered,) = recover(tmp_path / "run1")
    assert written - LOST_AT_MOST <= recovered.messages <= written + 1  # +1: written, not yet said
    assert len(messages(recovered.path)) == recovered.messages
    assert recovered.entry is not None
    assert (recovered.entry.outcome, recovered.entry.number, recovered.entry.seed) == ("ABORTED", 42, 7)
    assert recovered.entry.gaps == 0
    assert recovered.entry.decisions == math.ceil(round(recovered.entry.duration_s / 0.1, 6))  # as one that is aborted


def test_a_recovered_bag_is_a_normal_bag_of_the_run(tmp_path: Path) -> None:
    bag = interrupted(tmp_path)
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    (recovered,) = recover(tmp_path / "run1")
    assert recovered.path == tmp_path / "run1" / "episode_000042"
    assert {file.name for file in recovered.path.iterdir()} == {"episode_000042_0.mcap", "metadata.yaml", "audit.json"}
    information = yaml.safe_load((recovered.path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["custom_data"]["recovered"] == "true"
    assert information["custom_data"]["git"] == "abc"
    assert information["message_count"] == recovered.messages
    record = read_record(recovered.path / AUDIT_FILE, EpisodeRecord)
    assert (record.recovered_from, record.episode) == (".episode_000042.recording", recovered.entry)
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before
    run = RunFolder.open_existing(tmp_path / "run1")
    assert run.episodes == (recovered.entry,)
    assert run.next_episode == 43
    run.close()


def test_the_outcome_is_that_of_ended_if_it_reached_the_disk(tmp_path: Path) -> None:
    # One more chunk, so that the ENDED of the first part is on the disk.
    bag = interrupted(tmp_path)
    types, run = message_types(), RunFolder.create(tmp_path, "run2", provenance={}, arguments={})
    target = run.new_bag(42)
    provenance = {"episode": "42", "seed": "7"}
    writer = open_writer(target, "mcap", custom_data=provenance, types=types, options=WriterOptions(chunk_span_ns=0))
    for topic in TOPICS:
        writer.add_topic(topic.name, topic.type, topic.qos)
    for record in read_records(bag / "episode_000042_0.mcap"):
        if isinstance(record, Message):
            writer.write(TOPICS[record.channel_id - 1].name, record.data, record.log_time)
    end = START + (FRAMES - 1) * FRAME_NS
    writer.write(EPISODE.name, episode(end, 2, 42, outcome=3), end)
    writer.abort()
    run.close()
    (recovered,) = recover(run.path)
    assert recovered.entry is not None
    assert (recovered.entry.outcome, recovered.entry.decisions) == ("DROP", 12)
    assert (recovered.entry.start_ns, recovered.entry.end_ns, recovered.entry.event_stamp_ns) == (START, end, end)


def test_a_second_recovery_finds_nothing_to_do(tmp_path: Path) -> None:
    bag = interrupted(tmp_path)
    assert len(recover(tmp_path / "run1")) == 1
    assert recover(tmp_path / "run1") == []
    with pytest.raises(RecordingError, match="was recovered before"):
        recover(bag)


def test_a_bag_whose_episode_was_repeated_keeps_both(tmp_path: Path) -> None:
    interrupted(tmp_path)
    interrupted(tmp_path)
    first, second = recover(tmp_path / "run1")
    assert (first.path.name, second.path.name) == ("episode_000042", "episode_000042_recovered")
    assert (second.path / "episode_000042_recovered_0.mcap").is_file()
    assert messages(first.path) == messages(second.path)


def test_one_bag_of_a_run_can_be_recovered_alone(tmp_path: Path) -> None:
    bags = [interrupted(tmp_path, number) for number in (3, 4)]
    (recovered,) = recover(bags[1].parent)
    assert recovered.path.name == "episode_000004"
    assert [item.path.name for item in recover(tmp_path / "run1")] == ["episode_000003"]


def test_a_bag_outside_of_a_run_is_recovered_beside_itself(tmp_path: Path) -> None:
    bag = interrupted(tmp_path).rename(tmp_path / "somewhere")
    (recovered,) = recover(bag)
    assert recovered.path == tmp_path / "somewhere_recovered"
    assert len(messages(recovered.path)) == recovered.messages
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_wherever_the_file_is_cut_off_the_whole_messages_before_are_kept(
    tmp_path_factory: pytest.TempPathFactory, compression: Compression
) -> None:
    original = interrupted(tmp_path_factory.mktemp("original"), compression=compression)
    (file,) = original.glob("*.mcap")
    data = file.read_bytes()
    complete = [record.data for record in read_records(file) if isinstance(record, Message)]
    assert len(complete) > 100
    ends = []
    if compression == "none":
        position = 0
        for message in complete:
            position = data.index(message, position) + len(message)
            ends.append(position)
    cut_off = tmp_path_factory.mktemp("cut") / file.name

    @settings(max_examples=150, deadline=None)
    @given(st.integers(8, len(data)))
    def check(length: int) -> None:
        cut_off.write_bytes(data[:length])
        found = [record.data for record in read_records(cut_off) if isinstance(record, Message)]
        assert found == complete[: len(found)]
        if compression == "none":
            assert len(found) == sum(end <= length for end in ends)
        cut_off.write_bytes(data[:length] + bytes(5000))  # blocks that a power cut left unwritten
        with_zeros = [record.data for record in read_records(cut_off) if isinstance(record, Message)]
        assert set(with_zeros) <= set(complete)

    check()


def test_a_cut_in_each_record_still_gives_a_bag(tmp_path: Path) -> None:
    bag = interrupted(tmp_path)
    (file,) = bag.glob("*.mcap")
    data = file.read_bytes()
    for index, length in enumerate(range(len(data) // 2, len(data), len(data) // 12)):
        folder = tmp_path / f"cut{index}"
        folder.mkdir()
        (folder / file.name).write_bytes(data[:length])
        (recovered,) = recover(folder)
        assert len(messages(recovered.path)) == recovered.messages > 0


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_damage_anywhere_costs_no_more_than_messages(
    tmp_path_factory: pytest.TempPathFactory, compression: Compression
) -> None:
    (file,) = interrupted(tmp_path_factory.mktemp("original"), compression=compression).glob("*.mcap")
    data = file.read_bytes()
    complete = {record.data for record in read_records(file) if isinstance(record, Message)}
    damaged = tmp_path_factory.mktemp("damaged") / file.name

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.integers(8, len(data) - 1), st.integers(1, 255)), min_size=1, max_size=3))
    def check(flips: list[tuple[int, int]]) -> None:
        changed = bytearray(data)
        for position, bits in flips:
            changed[position] ^= bits
        damaged.write_bytes(changed)
        found = {record.data for record in read_records(damaged) if isinstance(record, Message)}
        # A damaged length makes a chunk look cut off, so that its checksum cannot refuse it.
        assert len(found - complete) <= len(flips)

    check()


def test_a_damaged_chunk_is_left_out(tmp_path: Path) -> None:
    (file,) = interrupted(tmp_path).glob("*.mcap")
    complete = sum(isinstance(record, Message) for record in read_records(file))
    intact = file.read_bytes()
    left = []
    start = len(intact) * 3 // 5  # a damaged length loses everything behind it
    for offset in range(start, start + 20 * 997, 997):  # some fall between the chunks
        data = bytearray(intact)
        data[offset] ^= 0xFF
        file.write_bytes(data)
        left.append(sum(isinstance(record, Message) for record in read_records(file)))
    assert complete * 0.5 < min(left) < complete


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=200))
def test_garbage_never_raises_anything_but_a_recording_error(tmp_path: Path, garbage: bytes) -> None:
    file = tmp_path / "garbage.mcap"
    file.write_bytes(b"\x89MCAP0\r\n" + garbage)
    list(read_records(file))
    file.write_bytes(b"#" + garbage)
    with pytest.raises(RecordingError, match="is not an mcap file"):
        list(read_records(file))


def test_a_bag_that_was_never_begun_does_not_stop_the_recovery_of_the_others(tmp_path: Path) -> None:
    interrupted(tmp_path, 3)
    empty, no_file = (tmp_path / "run1" / f".episode_{n:06d}.recording" / f"episode_{n:06d}" for n in (1, 2))
    for bag in (empty, no_file):
        bag.mkdir(parents=True)
    (empty / "episode_000001_0.mcap").touch()
    (recovered,) = recover(tmp_path / "run1")
    assert recovered.path.name == "episode_000003"
    with pytest.raises(RecordingError, match="is not an mcap file"):
        recover(empty)


def test_a_bag_that_cannot_be_read_is_named_after_the_others_were_recovered(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        bag = interrupted(tmp_path, number)
        if number == 2:
            (bag / "episode_000002_0.mcap").write_bytes(b"nothing of mcap")
    with pytest.raises(RecordingError, match=r"episode_000002_0\.mcap: is not an mcap file") as raised:
        recover(tmp_path / "run1")
    assert "recovered: episode_000001, episode_000003" in str(raised.value)
    assert [entry.number for entry in RunFolder.open_existing(tmp_path / "run1").episodes] == [1, 3]


def test_what_cannot_be_recovered_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="missing: is not a folder"):
        recover(tmp_path / "missing")
    with pytest.raises(RecordingError, match=r"expected one \.mcap file, found 0"):
        recover(tmp_path)
    bag = interrupted(tmp_path)
    (recovered,) = recover(bag)
    with pytest.raises(RecordingError, match="is a complete bag"):
        recover(recovered.path)


def test_a_bag_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    bag = interrupted(tmp_path)
    run = RunFolder.open_existing(tmp_path / "run1")
    with pytest.raises(RecordingError, match="in use by another process"):
        recover(bag)
    run.close()
