"""What is played and when: the time of the recording, scaled and cut, with the QoS of the recorded publishers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes import START_NS
from salus_vla.contract import CLOCK, EPISODE, JOINT_STATES
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.replay.schedule import PlayedTopic, Schedule
from samples import FRAME_NS, clock, episode, joints, message_types

FRAMES = 51  # one second


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played") / "bag"
    writer = open_writer(folder, "mcap", custom_data={}, types=message_types())
    for topic in (CLOCK, JOINT_STATES, EPISODE):
        writer.add_topic(topic.name, topic.type, topic.qos)
    writer.write(EPISODE.name, episode(START_NS, 0), START_NS)
    for index in range(FRAMES):
        stamp = START_NS + index * FRAME_NS
        writer.write(CLOCK.name, clock(stamp), stamp)
        writer.write(JOINT_STATES.name, joints(stamp), stamp)
    writer.close()
    return folder


def test_all_messages_come_at_the_time_of_their_recording(bag: Path) -> None:
    schedule = Schedule(bag)
    messages = list(schedule.messages())
    assert len(messages) == 2 * FRAMES + 1
    clocks = [message for message in messages if message.topic == CLOCK.name]
    assert [message.raw for message in clocks] == [clock(START_NS + n * FRAME_NS) for n in range(FRAMES)]
    assert [message.due_s for message in clocks] == pytest.approx([n * 0.02 for n in range(FRAMES)])
    assert schedule.duration_s == pytest.approx(1.0)


def test_the_qos_is_that_of_the_recorded_publisher(bag: Path) -> None:
    assert Schedule(bag).topics == tuple(
        PlayedTopic(topic.name, topic.type, max(topic.qos.depth, 10), True, topic.qos.latched)
        for topic in (CLOCK, JOINT_STATES, EPISODE)
    )


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.01, 100.0), offset=st.floats(0.0, 0.9))
def test_rate_and_offset(bag: Path, rate: float, offset: float) -> None:
    schedule = Schedule(bag, rate=rate, start_offset_s=offset)
    first, *rest = schedule.messages()
    assert (first.topic, first.due_s) == (EPISODE.name, 0.0)  # latched: it was there, whenever one begins
    due = [message.due_s for message in rest]
    assert due == sorted(due)
    assert 0.0 <= due[0] <= 0.0201 / rate
    assert due[-1] == pytest.approx((1.0 - offset) / rate, abs=1e-6 / rate)
    assert schedule.duration_s == pytest.approx(due[-1], abs=1e-6 / rate)


def test_a_filter_keeps_the_clock(bag: Path) -> None:
    schedule = Schedule(bag, topics=[JOINT_STATES.name])
    assert [topic.name for topic in schedule.topics] == [CLOCK.name, JOINT_STATES.name]
    assert {message.topic for message in schedule.messages()} == {CLOCK.name, JOINT_STATES.name}


def test_topics_can_be_left_out_of_a_pass(bag: Path) -> None:
    assert {message.topic for message in Schedule(bag).messages([EPISODE.name])} == {EPISODE.name}
    assert list(Schedule(bag).messages([])) == []


def test_an_unknown_topic_is_named_with_those_there_are(bag: Path) -> None:
    with pytest.raises(RecordingError, match=r"has no topic /nope; it has /clock, /joint_states, /salus/episode"):
        Schedule(bag, topics=["/nope"])


def test_an_offset_behind_the_end_is_refused(bag: Path) -> None:
    with pytest.raises(RecordingError, match=r"is 1\.00 s long; a start offset of 1\.5 s leaves nothing"):
        Schedule(bag, start_offset_s=1.5)
