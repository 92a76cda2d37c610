"""The observations of a bag are what was recorded: number, order, stamps, every pixel and joint."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes import (
    SEED,
    TASK,
    decision,
    image,
    joints,
    messages,
    observations,
    record,
    recording,
    write_bag,
)
from salus_vla.contract import (
    CAMERAS,
    CLOCK,
    EPISODE,
    JOINT_STATES,
    JOINTS,
    SAFETY_SIGNALS,
    Topic,
    image_topic,
)
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Observation
from salus_vla.data.bags.recorded_observations import RecordedEpisode, read_episode, read_observations
from samples import clock, episode

Content = list[tuple[Topic, bytes]]


def assert_same(found: Observation, expected: Observation) -> None:
    assert found.stamp_ns == expected.stamp_ns
    assert found.task == expected.task
    np.testing.assert_array_equal(found.joint_position, expected.joint_position)
    assert sorted(found.images) == sorted(expected.images)
    for camera, pixels in expected.images.items():
        assert found.images[camera].dtype == np.uint8
        assert found.images[camera].flags.writeable  # torch warns otherwise
        np.testing.assert_array_equal(found.images[camera], pixels)


def test_a_recorded_episode_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    seen = observations(7)
    with recording(tmp_path) as recorder:
        bag = record(recorder, 0, seen, Outcome.DROP)
    found = list(read_observations(bag))
    assert [number for number, _ in found] == list(range(7))
    for (_, one), expected in zip(found, seen, strict=True):
        assert_same(one, expected)
    assert read_episode(bag) == RecordedEpisode(SEED, TASK, Outcome.DROP)


def test_sets_without_a_decision_are_left_out_and_numbers_are_the_recorded_ones(tmp_path: Path) -> None:
    seen = observations(6)
    content = [item for item in messages(seen) if item[0] is not SAFETY_SIGNALS]
    content += [(SAFETY_SIGNALS, decision(seen[index].stamp_ns, number)) for number, index in enumerate((0, 2, 5))]
    found = list(read_observations(write_bag(tmp_path / "bag", content)))
    assert [(number, one.stamp_ns) for number, one in found] == [
        (n, seen[i].stamp_ns) for n, i in ((0, 0), (1, 2), (2, 5))
    ]


def test_without_safety_signals_all_sets_are_counted(tmp_path: Path) -> None:
    seen = observations(3)
    content = [item for item in messages(seen) if item[0] is not SAFETY_SIGNALS]
    assert [number for number, _ in read_observations(write_bag(tmp_path / "bag", content))] == [0, 1, 2]


def test_stamps_within_half_a_frame_belong_together(tmp_path: Path) -> None:
    (one,) = observations(1)
    stamp = one.stamp_ns
    content: Content = [(EPISODE, episode(stamp, 0))]
    for offset, (camera, pixels) in zip((2, 0, -3), one.images.items(), strict=True):
        content.append((image_topic(camera), image(camera, stamp + offset * 1_000_000, pixels)))
    content += [(JOINT_STATES, joints(stamp - 5_000_000, one.joint_position)), (SAFETY_SIGNALS, decision(stamp, 8))]
    ((number, found),) = read_observations(write_bag(tmp_path / "bag", content))
    assert number == 8
    np.testing.assert_array_equal(found.joint_position, one.joint_position)


def test_padded_rows_and_joints_in_another_order(tmp_path: Path) -> None:
    (one,) = observations(1)
    stamp, order = one.stamp_ns, [*range(8, -1, -1)]
    content: Content = [(EPISODE, episode(stamp, 0))]
    for camera, pixels in one.images.items():
        padded = np.pad(pixels.reshape(16, 48), ((0, 0), (0, 5)), constant_values=7)
        content.append((image_topic(camera), image(camera, stamp, pixels, step=53, data=padded.reshape(-1))))
    content.append((JOINT_STATES, joints(stamp, one.joint_position[order], [JOINTS[i] for i in order])))
    ((_, found),) = read_observations(write_bag(tmp_path / "bag", content))
    assert_same(found, one)


def test_an_episode_without_its_end_is_running(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(observations(2))[:-1])
    assert read_episode(bag).outcome is Outcome.RUNNING


def test_what_was_read_is_not_kept(tmp_path: Path) -> None:
    reader = read_observations(write_bag(tmp_path / "bag", messages(observations(4))))
    _, first = next(reader)
    image_of_first = weakref.ref(first.images["front"])
    del first
    next(reader)
    assert image_of_first() is None
    reader.close()


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [EPISODE, JOINT_STATES, image_topic("side")], ids=lambda topic: topic.name)
def test_a_missing_topic_is_named_with_the_bag(tmp_path: Path, missing: Topic) -> None:
    content = [item for item in messages(observations(2)) if item[0] != missing]
    bag = write_bag(tmp_path / "bag", content)
    with pytest.raises(RecordingError, match=f"{bag}: holds no messages on {missing.name}"):
        list(read_observations(bag))


def wrong_type(one: Observation) -> tuple[Topic, bytes]:
    topic = Topic(JOINT_STATES.name, CLOCK.type, JOINT_STATES.qos, JOINT_STATES.source)
    return topic, clock(one.stamp_ns)


WRONG: dict[str, tuple[Callable[[Observation], tuple[Topic, bytes]], str]] = {
    "encoding": (
        lambda one: (image_topic("top"), image("top", one.stamp_ns, one.images["top"], encoding="bgr8")),
        r"/camera_top/image_raw: image encoding is 'bgr8', expected 'rgb8'",
    ),
    "short": (
        lambda one: (image_topic("top"), image("top", one.stamp_ns, one.images["top"], height=17)),
        r"/camera_top/image_raw: image has 768 bytes, expected 816",
    ),
    "names": (
        lambda one: (JOINT_STATES, joints(one.stamp_ns, np.zeros(2), ("panda_joint1", "elbow"))),
        r"/joint_states: .*has the names \['panda_joint1', 'elbow'\]",
    ),
    "nan": (
        lambda one: (JOINT_STATES, joints(one.stamp_ns, np.full(9, np.nan))),
        r"/joint_states: has positions that are not finite",
    ),
    "another episode": (
        lambda one: (EPISODE, episode(one.stamp_ns, 0, 4)),
        r"holds messages of 2 episodes on /salus/episode, expected one",
    ),
    "type": (wrong_type, r"/joint_states has type rosgraph_msgs/msg/Clock, expected sensor_msgs/msg/JointState"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_message_that_is_not_of_the_contract_is_named_with_the_bag(tmp_path: Path, case: str) -> None:
    make_wrong, text = WRONG[case]
    seen = observations(2)
    wrong = make_wrong(seen[0])
    content = [item for item in messages(seen) if case != "type" or item[0] is not JOINT_STATES]
    bag = write_bag(tmp_path / "bag", [content[0], wrong, *content[1:]])
    with pytest.raises(RecordingError, match=text) as refused:
        list(read_observations(bag))
    assert str(refused.value).startswith(str(bag))


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        for read in (read_episode, lambda bag: list(read_observations(bag))):
            with pytest.raises(RecordingError, match=f"{path}: is not a finished bag"):
                read(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", messages(observations(2)))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_damaged_bag_gives_observations_or_an_error_that_names_it(good: Path, data: st.DataObject) -> None:
    file = good / "bag_0.mcap"
    intact = file.read_bytes()
    at = data.draw(st.integers(0, len(intact) - 1))
    flipped = data.draw(st.binary(min_size=1, max_size=8))
    refusal: str | None = None
    damaged = intact[:at] + flipped + intact[at + len(flipped) :]
    try:
        file.write_bytes(damaged[: data.draw(st.sampled_from((len(damaged), at)))])
        for number, one in read_observations(good):
            assert number >= 0
            assert set(one.images) == set(CAMERAS)
    except RecordingError as error:
        refusal = str(error)
    finally:
        file.write_bytes(intact)
    assert refusal is None or str(good) in refusal
