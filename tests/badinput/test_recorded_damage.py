"""Damaged messages and stamps that cannot be true cost the recorder nothing else; the bag reads like any other."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message

from hostile import damaged, good_message
from salus_msgs.msg import Episode
from salus_vla import contract
from salus_vla.contract import Topic
from salus_vla.contract.errors import MessageError
from salus_vla.data.bags.episode_recorder import AHEAD_NS, EpisodeRecorder
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.recorded_observations import opened_bag
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.run_info import read_bag, read_run
from salus_vla.ros.adapters.messages import to_time

START_NS, FRAME_NS, FRAMES = 5_000_000_000, 20_000_000, 20
END_NS = START_NS + FRAMES * FRAME_NS
TOPICS = tuple(topic for topic in contract.TOPICS if not topic.optional)
TYPES = MessageTypes()
WRITER = partial(open_writer, backend="mcap", types=TYPES)


def notice(kind: int, stamp_ns: int) -> bytes:
    message = good_message(contract.EPISODE, stamp_ns)
    message.kind, message.run_id, message.episode = kind, "run", 0
    message.outcome = Episode.SUCCESS if kind == Episode.ENDED else Episode.RUNNING
    return serialize_message(message)


@st.composite
def hostile_bytes(draw: st.DrawFn, topic: Topic) -> bytes:
    """A message of the topic with damage, or with any stamp."""
    intact = serialize_message(good_message(topic, START_NS + FRAME_NS))
    if draw(st.booleans()):
        return draw(damaged(intact))
    seconds = draw(st.sampled_from((-(2**31), -1, 0, 2**31 - 1)) | st.integers(-(2**31), 2**31 - 1))
    nanoseconds = draw(st.sampled_from((0, 10**9, 2**32 - 1)) | st.integers(0, 2**32 - 1))
    return intact[:4] + struct.pack("<iI", seconds, nanoseconds) + intact[12:]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[EpisodeRecorder]:
    run = RunFolder.create(tmp_path, "run", provenance={}, arguments={})
    yield EpisodeRecorder(run, TOPICS, TYPES, WRITER)
    run.close()


def record(recorder: EpisodeRecorder, hostile: list[tuple[int, Topic, bytes]]) -> int:
    """One episode with hostile messages before their frames; how many of them were refused."""
    refused = 0
    recorder.start(EpisodeMeta(0, seed=7, task="lift", policy_source="hold"), {})
    for frame in range(-1, FRAMES + 1):
        for _, topic, cdr in (item for item in hostile if item[0] == frame):
            try:
                recorder.on_message(topic.name, cdr, 0)
            except MessageError as error:
                refused += topic.name in str(error)
        stamp_ns = START_NS + frame * FRAME_NS
        if frame == 0:
            recorder.on_message(contract.EPISODE.name, notice(Episode.STARTED, stamp_ns), 0)
            recorder.begin(stamp_ns)
        for topic in (contract.CLOCK, contract.JOINT_STATES):
            recorder.on_message(topic.name, serialize_message(good_message(topic, stamp_ns)), 0)
    recorder.on_message(contract.EPISODE.name, notice(Episode.ENDED, END_NS), 0)
    recorder.stop(EpisodeEnd(END_NS, "SUCCESS", None, 4, ""))
    recorder.close()
    return refused


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_bag_holds_what_was_good(data: st.DataObject) -> None:
    topics = st.lists(st.tuples(st.integers(-1, FRAMES), st.sampled_from(TOPICS)), min_size=5, max_size=40)
    hostile = [(frame, topic, data.draw(hostile_bytes(topic))) for frame, topic in data.draw(topics)]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder), "run", provenance={}, arguments={})
        record(EpisodeRecorder(run, TOPICS, TYPES, WRITER), hostile)
        run.close()
        (entry,) = read_run(run.path).record.episodes
        bag = run.path / entry.path
        counts = {topic.name: topic.count for topic in read_bag(bag).topics}
        assert counts["/clock"] > FRAMES
        assert counts["/joint_states"] > FRAMES
        with opened_bag(bag) as reader:
            assert sum(1 for _ in reader.messages()) == entry.messages


def test_a_stamp_far_ahead_of_the_clock_is_refused(recorder: EpisodeRecorder) -> None:
    ahead = good_message(contract.JOINT_STATES)
    ahead.header.stamp = to_time(START_NS + AHEAD_NS + 3 * FRAME_NS)
    assert record(recorder, [(2, contract.JOINT_STATES, serialize_message(ahead))]) == 1
    (entry,) = recorder.run.episodes
    assert entry.messages == 2 * (FRAMES + 1) + 2  # clock and joints of each frame, STARTED and ENDED
