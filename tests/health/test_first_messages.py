"""Topics of a simulator that have not been heard, and which of them are still expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla import contract
from salus_vla.health.first_messages import SILENT_S, FirstMessages

TOPICS = sorted(topic.name for topic in contract.SIMULATOR_TOPICS if topic.rate_hz is not None and not topic.optional)
FRONT, INFO = contract.image_topic("front").name, contract.camera_info_topic("front").name
JOINTS, POSE = contract.JOINT_STATES.name, contract.pose_topic("red_cube").name


def heard(*topics: str) -> FirstMessages:
    first = FirstMessages(TOPICS)
    assert [first.heard(topic, 10.0) for topic in topics] == [True] * len(topics)
    return first


def all_but(*topics: str) -> list[str]:
    return [topic for topic in TOPICS if topic not in topics]


def test_a_simulator_that_has_not_begun_may_take_its_time() -> None:
    assert FirstMessages(TOPICS).hopeless(1e6) == ""
    assert FirstMessages(TOPICS).missing == TOPICS


def test_a_renderer_that_compiles_may_take_its_time() -> None:
    cameras = [t(c).name for c in contract.CAMERAS for t in (contract.image_topic, contract.camera_info_topic)]
    assert heard(*all_but(*cameras)).hopeless(1e6) == ""


@pytest.mark.parametrize(("silent", "beside"), [(POSE, JOINTS), (INFO, "images of a camera")])
def test_what_does_not_come_with_the_rest_is_named(silent: str, beside: str) -> None:
    first = heard(*all_but(silent))
    assert first.hopeless(10.0 + SILENT_S) == ""
    assert first.hopeless(10.1 + SILENT_S) == f"nothing on {silent} within 30 s of {beside}"
    assert first.heard(silent, 50.0)
    assert first.hopeless(1e6) == ""
    assert not first.heard(silent, 51.0)


@given(st.lists(st.tuples(st.sampled_from([*TOPICS, "/other"]), st.floats(0.0, 100.0)), max_size=40))
def test_what_is_missing_is_what_was_not_heard_and_only_that_is_hopeless(events: list[tuple[str, float]]) -> None:
    first, seen = FirstMessages(TOPICS), set[str]()
    for topic, wall_s in events:
        assert first.heard(topic, wall_s) == (topic in TOPICS and topic not in seen)
        seen.add(topic)
    assert first.missing == [topic for topic in TOPICS if topic not in seen]
    said = first.hopeless(1e6)
    assert not any(topic in said for topic in seen - {JOINTS})
    assert bool(said) <= bool(first.missing)
