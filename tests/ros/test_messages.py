"""Frames, contacts and signals to messages and back."""

import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import JointState

from salus_msgs.msg import Episode
from salus_vla.contract import EPISODE, JOINTS
from salus_vla.contract.errors import MessageError, SalusError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, Pose, SimStep
from salus_vla.ros.adapters import messages

STAMP = 12_340_000_056
TIME = Time(sec=12, nanosec=340_000_056)
POSITIONS = np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7, 0.01, 0.02])

# -- time --------------------------------------------------------------------------------------------------------------


@given(stamp_ns=st.integers(0, 2**31 * 10**9 - 1))
@settings(max_examples=100, deadline=None)
def test_nanoseconds_survive_the_round_trip(stamp_ns: int) -> None:
    time = messages.to_time(stamp_ns)
    assert 0 <= time.nanosec < 10**9
    assert messages.to_ns(time) == stamp_ns


def test_seconds_and_nanoseconds_are_where_they_belong() -> None:
    assert messages.to_time(STAMP) == TIME
    assert messages.header(STAMP, "world").stamp == TIME
    assert messages.header(STAMP, "world").frame_id == "world"
    assert messages.header(STAMP).frame_id == ""


# -- joints ------------------------------------------------------------------------------------------------------------


def joint_message(names: list[str], positions: list[float]) -> JointState:
    return JointState(name=names, position=array.array("d", positions))


def frame() -> SimStep:
    return SimStep(STAMP, False, POSITIONS, POSITIONS * 2.0, POSITIONS * 3.0, {}, ())


def test_joint_states_carry_all_nine_joints_in_contract_order() -> None:
    sent = messages.joint_state(frame())
    assert (sent.header.stamp, sent.header.frame_id, list(sent.name)) == (TIME, "", list(JOINTS))
    assert list(sent.position) == list(POSITIONS)
    assert list(sent.velocity) == list(POSITIONS * 2.0)
    assert list(sent.effort) == list(POSITIONS * 3.0)
    np.testing.assert_array_equal(messages.joint_positions(sent), POSITIONS)


def test_a_joint_command_is_names_and_positions_with_the_stamp_it_answers() -> None:
    sent = messages.joint_command(STAMP, POSITIONS)
    assert (sent.header.stamp, list(sent.name), list(sent.position)) == (TIME, list(JOINTS), list(POSITIONS))
    assert (len(sent.velocity), len(sent.effort)) == (0, 0)


@given(order=st.permutations(range(10)))
@settings(max_examples=30, deadline=None)
def test_joints_are_found_by_name_and_others_are_ignored(order: list[int]) -> None:
    names, values = [*JOINTS, "panda_mimic"], [*POSITIONS, 9.0]
    got = messages.joint_positions(joint_message([names[i] for i in order], [values[i] for i in order]))
    np.testing.assert_array_equal(got, POSITIONS)


@pytest.mark.parametrize(
    ("names", "positions", "words"),
    [
        pytest.param(list(JOINTS[:8]), [0.0] * 8, "expected each of", id="missing"),
        pytest.param([], [], "expected each of", id="empty"),
        pytest.param([*JOINTS, JOINTS[0]], [0.0] * 10, "expected each of", id="twice"),
        pytest.param([*JOINTS[:8], JOINTS[0]], [0.0] * 9, "expected each of", id="twice instead of another"),
        pytest.param(list(JOINTS), [0.0] * 8, "9 names and 8 positions", id="lengths differ"),
        pytest.param(list(JOINTS), [0.0] * 8 + [np.nan], "not finite", id="NaN"),
        pytest.param(list(JOINTS), [-np.inf] + [0.0] * 8, "not finite", id="infinite"),
    ],
)
def test_joint_states_that_cannot_be_read_are_errors(names: list[str], positions: list[float], words: str) -> None:
    with pytest.raises(MessageError, match=words):  # `subscribe` and the reader of bags add the topic
        messages.joint_positions(joint_message(names, positions))


# -- cameras and ground truth ------------------------------------------------------------------------------------------


def test_camera_info_is_the_pinhole_camera_of_the_contract() -> None:
    info = messages.camera_info(STAMP, "camera_top_optical_frame", 256, 256, 309.019)
    assert (info.header.stamp, info.header.frame_id) == (TIME, "camera_top_optical_frame")
    assert (info.width, info.height, info.distortion_model) == (256, 256, "plumb_bob")
    assert list(info.d) == [0.0] * 5
    assert list(info.k) == [309.019, 0.0, 128.0, 0.0, 309.019, 128.0, 0.0, 0.0, 1.0]
    assert list(info.r) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert list(info.p) == [309.019, 0.0, 128.0, 0.0, 0.0, 309.019, 128.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_poses_survive_the_round_trip() -> None:
    pose = Pose(np.array([0.5, -0.1, 0.025]), np.array([0.1, 0.3, 0.3, 0.9]))
    sent = messages.pose_stamped(STAMP, pose)
    assert (sent.header.stamp, sent.header.frame_id) == (TIME, "world")
    assert (sent.pose.position.y, sent.pose.orientation.w) == (-0.1, 0.9)
    back = messages.to_pose(sent)
    np.testing.assert_array_equal(back.position, pose.position)
    np.testing.assert_array_equal(back.quaternion, pose.quaternion)


@given(forces=st.lists(st.floats(0.0, 1e6), max_size=4))
@settings(max_examples=50, deadline=None)
def test_contacts_survive_the_round_trip(forces: list[float]) -> None:
    contacts = tuple(Contact("panda_leftfinger", f"body_{i}", force) for i, force in enumerate(forces))
    sent = messages.contact_array(STAMP, contacts)
    assert (sent.header.stamp, sent.header.frame_id) == (TIME, "world")
    assert messages.to_contacts(sent) == contacts


def test_a_contact_is_readable_for_people() -> None:
    contacts = [Contact("panda_hand", "table", 12.5), Contact("panda_link5", "table", 0.0)]
    first, second = messages.contact_array(STAMP, contacts).status
    assert (first.name, first.message, first.level) == ("panda_hand::table", "touching", DiagnosticStatus.OK)
    assert second.message == "released"
    assert {item.key: item.value for item in first.values} == {
        "body_a": "panda_hand", "body_b": "table", "force_n": "12.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"body_a": "a", "body_b": "b"}, id="no force"),
        pytest.param({"body_a": "a", "force_n": "1.0"}, id="one body"),
        pytest.param({"body_a": "a", "body_b": "b", "force_n": "hard"}, id="force is not a number"),
        pytest.param({}, id="nothing"),
    ],
)
def test_contacts_that_cannot_be_read_are_errors_that_name_the_topic(values: dict[str, str]) -> None:
    status = DiagnosticStatus(name="a::b", values=[KeyValue(key=key, value=value) for key, value in values.items()])
    with pytest.raises(SalusError, match=r"/ground_truth/contact: 'a::b' .* expected body_a, body_b, force_n"):
        messages.to_contacts(DiagnosticArray(status=[status]))


def test_key_values_are_texts() -> None:
    items = messages.key_values({"a": 1, "b": 0.5, "c": "x"})
    assert [(item.key, item.value) for item in items] == [("a", "1"), ("b", "0.5"), ("c", "x")]


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_of_the_contract_passes_and_no_other(outcome: Outcome) -> None:
    messages.check(EPISODE, Episode(kind=Episode.ENDED, outcome=int(outcome)))
    assert getattr(Episode, outcome.name) == outcome
    with pytest.raises(MessageError, match="outcome is 8, expected 0 to 7"):
        messages.check(EPISODE, Episode(kind=Episode.ENDED, outcome=len(Outcome)))
