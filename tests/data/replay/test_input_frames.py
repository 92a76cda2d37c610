"""The frames of a bag are what the simulator sent, byte for byte, whatever order they were recorded in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes import START_NS, decision, image, joints, messages, observations, write_bag
from salus_vla.contract import CAMERAS, CLOCK, EPISODE, JOINT_STATES, SAFETY_SIGNALS, STATUS_TOPIC, Topic, image_topic
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.foreign_bag import node_facts
from salus_vla.data.bags.stamps import stamp_layout
from salus_vla.data.replay.recorded_inputs import read_frames, read_story
from samples import FRAME_NS, cdr, clock, header, make, message_types

FRAMES = 11  # of three observations
IMAGE = image("side", START_NS - 10**9, np.zeros((4, 4, 3), dtype=np.uint8))


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


def test_the_bag_of_a_robot_has_no_clock(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [item for item in content() if item[0] != CLOCK])
    frames = list(read_frames(bag))
    assert [frame.decided for frame in frames] == [index % 5 == 0 for index in range(FRAMES)]
    assert all(topic != CLOCK.name for frame in frames for topic, _ in frame.messages)


def test_joints_and_camera_sets_that_come_more_often_are_thinned(tmp_path: Path) -> None:
    """A robot with joints at 500 Hz and cameras at 30 Hz, each camera a few milliseconds after the other."""
    step_ns, set_ns, pixels = 2_000_000, 33_333_333, np.zeros((4, 4, 3), dtype=np.uint8)
    made = [(JOINT_STATES, joints(START_NS + n * step_ns, np.full(9, n / 1000))) for n in range(250)]
    for number in range(15):
        for later, camera in enumerate(CAMERAS):
            stamp = START_NS + number * set_ns + later * 3_000_000
            made.append((image_topic(camera), image(camera, stamp, pixels)))
    frames = list(read_frames(write_bag(tmp_path / "bag", sorted(made, key=stamp_ns))))
    stamps = np.array([frame.stamp_ns for frame in frames])
    assert (np.diff(stamps) >= 15_000_000).all()
    decided = stamps[[frame.decided for frame in frames]]
    assert len(decided) == 5
    assert (np.diff(decided) >= 95_000_000).all()
    assert all(len(frame.messages) == (4 if frame.decided else 1) for frame in frames)


@pytest.mark.parametrize("missing", [JOINT_STATES, image_topic("top")], ids=lambda topic: topic.name)
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


def test_what_another_recorder_recorded_beside_the_episode_is_left_out(tmp_path: Path) -> None:
    expected = list(read_frames(write_bag(tmp_path / "alone", content())))
    late = [
        (topic, other)
        for index in range(FRAMES, FRAMES + 20)
        for topic, other in [
            (CLOCK, clock(START_NS + index * FRAME_NS)),
            (JOINT_STATES, joints(START_NS + index * FRAME_NS, np.zeros(9))),
            (SAFETY_SIGNALS, decision(START_NS + index * FRAME_NS, index)),
        ]
    ]
    # A camera set that is not complete, long before.
    first = [(JOINT_STATES, joints(START_NS - 10**9, np.zeros(9))), (image_topic("side"), IMAGE)]
    bag = write_bag(tmp_path / "bag", [*first, *content(), *late])
    story = read_story(bag)
    assert (story.start_ns, story.end_ns) == (START_NS, START_NS + (FRAMES - 1) * FRAME_NS)
    assert len(story.decisions) == 3
    assert list(read_frames(bag, story.start_ns, story.end_ns)) == expected


def test_without_custom_data_policy_and_predictor_are_those_of_the_recorded_status(tmp_path: Path) -> None:
    def status(role: str, **facts: str) -> tuple[Topic, bytes]:
        pairs = [make("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in facts.items()]
        fields = {"header": header(START_NS), "role": role, "state": 1, "reason": "", "detail": "", "facts": pairs}
        return STATUS_TOPIC, cdr(STATUS_TOPIC, make(STATUS_TOPIC.type, **fields))

    said = [status("policy", policy="hold"), status("predictor", predictor="feed"), status("policy", policy="expert")]
    found = node_facts(write_bag(tmp_path / "bag", [*content(), *said]))
    assert found == {"policy.policy": "expert", "predictor.predictor": "feed"}
    assert node_facts(write_bag(tmp_path / "silent", content())) == {}
