"""The frames of a bag are what the simulator sent, byte for byte, whatever order they were recorded in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes import START_NS, messages, observations, write_bag
from salus_vla.contract import CAMERAS, CLOCK, EPISODE, JOINT_STATES, SAFETY_SIGNALS, Topic, image_topic
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.stamps import stamp_layout
from salus_vla.data.replay.recorded_inputs import read_frames, read_story
from samples import FRAME_NS, clock, message_types

FRAMES = 11  # of three observations


def stamp_ns(item: tuple[Topic, bytes]) -> int:
    topic, raw = item
    layout = stamp_layout(message_types().store.fielddefs, topic.type)
    assert layout is not None
    return layout.read(topic.name, raw) or 0


def content() -> list[tuple[Topic, bytes]]:
    clocks = [(CLOCK, clock(START_NS + index * FRAME_NS)) for index in range(FRAMES)]
    return sorted(messages(observations(3)) + clocks, key=stamp_ns)


def test_frames_hold_the_recorded_bytes(tmp_path: Path) -> None:
    recorded = content()
    frames = list(read_frames(write_bag(tmp_path / "bag", recorded)))
    assert [frame.stamp_ns for frame in frames] == [START_NS + index * FRAME_NS for index in range(FRAMES)]
    assert [frame.decided for frame in frames] == [index % 5 == 0 for index in range(FRAMES)]
    inputs = {topic.name for topic in (CLOCK, JOINT_STATES, *map(image_topic, CAMERAS))}
    sent = sorted(message for frame in frames for message in frame.messages)
    assert sent == sorted((topic.name, raw) for topic, raw in recorded if topic.name in inputs)


def test_joints_come_first_and_images_last(tmp_path: Path) -> None:
    first = next(read_frames(write_bag(tmp_path / "bag", content())))
    images = [image_topic(camera).name for camera in CAMERAS]
    assert [topic for topic, _ in first.messages] == [JOINT_STATES.name, CLOCK.name, *images]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_messages_may_arrive_up_to_five_frames_late(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    recorded = content()
    expected = list(read_frames(write_bag(tmp_path_factory.mktemp("a") / "bag", recorded)))
    late = np.random.default_rng(seed).integers(0, 5 * FRAME_NS, len(recorded))
    arrival = sorted(range(len(recorded)), key=lambda index: stamp_ns(recorded[index]) + late[index])
    bag = write_bag(tmp_path_factory.mktemp("b") / "bag", [recorded[index] for index in arrival])
    assert list(read_frames(bag)) == expected


def test_an_incomplete_camera_set_is_named(tmp_path: Path) -> None:
    recorded = content()
    side = [index for index, (topic, _) in enumerate(recorded) if topic == image_topic("side")]
    del recorded[side[1]]
    with pytest.raises(RecordingError, match=r"camera set of stamp 3\.10 s lacks /camera_side/image_raw"):
        list(read_frames(write_bag(tmp_path / "bag", recorded)))


@pytest.mark.parametrize("missing", [CLOCK, JOINT_STATES, image_topic("top")], ids=lambda topic: topic.name)
def test_a_missing_input_is_named(tmp_path: Path, missing: Topic) -> None:
    bag = write_bag(tmp_path / "bag", [item for item in content() if item[0] != missing])
    with pytest.raises(RecordingError, match=f"holds no messages on {missing.name}"):
        list(read_frames(bag))


def test_the_story_has_the_start_and_the_decisions(tmp_path: Path) -> None:
    recorded = content()
    story = read_story(write_bag(tmp_path / "bag", recorded))
    assert story.start_ns == START_NS
    assert story.started == next(raw for topic, raw in recorded if topic == EPISODE)
    assert [decision.counts["decision"] for decision in story.decisions] == [0, 1, 2]
    assert [decision.stamp_ns for decision in story.decisions] == [START_NS + n * 5 * FRAME_NS for n in range(3)]


@pytest.mark.parametrize("missing", [EPISODE, SAFETY_SIGNALS], ids=lambda topic: topic.name)
def test_a_bag_without_start_or_decisions_is_refused(tmp_path: Path, missing: Topic) -> None:
    bag = write_bag(tmp_path / "bag", [item for item in content() if item[0] != missing])
    with pytest.raises(RecordingError, match=missing.name):
        read_story(bag)


def test_a_bag_without_the_start_of_its_episode_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", content()[1:])
    with pytest.raises(RecordingError, match="starts 0 episodes"):
        read_story(bag)
