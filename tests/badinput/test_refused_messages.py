"""Every topic that a node reads: what breaks the contract is refused by name, and what is taken can be used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from hostile import STAMP_NS, damaged, good_message, spoiled_messages
from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, Topic
from salus_vla.contract.errors import MessageError
from salus_vla.health.meters import Level
from salus_vla.health.refusals import Refusals
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_array
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.subscribe import refused_messages, subscribe
from salus_vla.ros.nodes.command_gate_node import _measured


def sane_joints(message: JointState) -> None:
    position, velocity = _measured(message)
    assert len(position) == len(velocity) == len(contract.JOINTS)
    assert np.isfinite([position, velocity]).all()


def sane_image(message: Any) -> None:
    pixels = to_array(message)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (message.height, message.width, 3)
    assert pixels.size


def sane_pose(message: Any) -> None:
    pose = messages.to_pose(message)
    assert np.isfinite(pose.position).all()
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0, abs=0.011)


def sane_contacts(message: Any) -> None:
    assert all(np.isfinite(contact.force) and contact.force >= 0.0 for contact in messages.to_contacts(message))


def sane_episode(message: Any) -> None:
    assert message.kind <= 2
    assert message.outcome <= 6
    assert message.seed >= 0


def sane_status(message: Any) -> None:
    assert message.role
    assert message.state <= 4


# Each topic that a node takes as a message, and what its reader makes of it. The recorder takes all topics as bytes;
# /salus/joint_target is the gate's to judge (tests/gate/test_gate_storm.py).
READERS: dict[Topic, Callable[[Any], None]] = {
    contract.CLOCK: lambda message: None,
    contract.JOINT_STATES: sane_joints,
    contract.JOINT_COMMAND: lambda message: None,  # the simulator's rules: tests/simulation/test_simulator.py
    contract.CONTACT: sane_contacts,
    contract.EPISODE: sane_episode,
    contract.STATUS_TOPIC: sane_status,
    **{contract.image_topic(camera): sane_image for camera in CAMERAS[:1]},
    **{contract.pose_topic(entity): sane_pose for entity in ENTITIES[:1]},
}
by_topic = pytest.mark.parametrize("topic", READERS, ids=lambda topic: topic.name)


def stamps(message: Any) -> list[Any]:
    found = [message.header.stamp] if hasattr(message, "header") else []
    return found + [getattr(message, name) for name in ("clock", "event_stamp") if hasattr(message, name)]


@by_topic
def test_a_good_message_is_taken(topic: Topic) -> None:
    message = good_message(topic)
    messages.check(topic, message)
    READERS[topic](message)


@by_topic
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_spoiled_message_is_refused_or_can_be_used(topic: Topic, data: st.DataObject) -> None:
    message = data.draw(spoiled_messages(topic))
    try:
        messages.check(topic, message)
        READERS[topic](message)
    except MessageError as error:
        words = str(error).splitlines()
    else:
        words = [""]
    assert len(words) == 1
    if words[0]:
        return
    for stamp in stamps(message):
        assert 0 <= messages.to_ns(stamp) < 2**31 * 10**9
    if topic.frame_id:
        assert message.header.frame_id == topic.frame_id


@by_topic
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_a_message_or_an_error_that_names_the_topic(topic: Topic, data: st.DataObject) -> None:
    cdr = data.draw(damaged(serialize_message(good_message(topic))))
    try:
        messages.check(topic, messages.deserialized(topic, cdr))
    except MessageError as error:
        words = str(error)
    else:
        words = topic.name
    assert topic.name in words


@pytest.mark.parametrize(
    ("topic", "changes", "words"),
    [
        (contract.CONTACT, {"header": messages.header(STAMP_NS, "hand")}, "frame_id is 'hand', expected 'world'"),
        (contract.image_topic("top"), {"header": messages.header(STAMP_NS, "side")}, "'side', expected 'camera_top_"),
        (contract.EPISODE, {"kind": 9}, "kind is 9, expected 0 to 2"),
        (contract.EPISODE, {"outcome": 8}, "outcome is 8, expected 0 to 7"),
        (contract.EPISODE, {"seed": -1}, "seed is -1, expected at least 0"),
        (contract.STATUS_TOPIC, {"state": 5}, "state is 5, expected 0 to 4"),
        (contract.STATUS_TOPIC, {"role": ""}, "role is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(topic: Topic, changes: dict[str, Any], words: str) -> None:
    message = good_message(topic)
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=words) as error:
        messages.check(topic, message)
    assert topic.name in str(error.value)


# -- a subscription ----------------------------------------------------------------------------------------------------


class Listener:
    """A node with one subscription and a publisher that sends it anything; keeps what is logged."""

    def __init__(self, topic: Topic, callback: Callable[[Any], None], **options: bool) -> None:
        self.node = Node("listener")
        self.lines: list[str] = []
        self.node.get_logger = lambda: self  # type: ignore[assignment,method-assign,return-value]
        subscribe(self.node, topic, callback, **options)
        self._publisher = self.node.create_publisher(
            type(good_message(topic)), topic.name, qos_profile(topic.qos, depth=50)
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.spin_until(lambda: self._publisher.get_subscription_count() == 1)

    def warning(self, line: str) -> None:
        self.lines.append(line)

    def send(self, message: Any) -> None:
        self._publisher.publish(message)

    def refused(self) -> float:
        part = refused_messages(self.node)
        assert part is not None
        return part.values["refused"]

    def spin_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10.0
        while not condition():
            assert time.monotonic() < deadline, self.lines
            self._executor.spin_once(timeout_sec=0.1)


@pytest.fixture
def ros(private_ros_domain: int) -> Iterator[None]:
    rclpy.init(args=["test"])
    yield
    rclpy.try_shutdown()


@pytest.mark.parametrize("keep_all", [False, True])
@pytest.mark.usefixtures("ros")
def test_bad_messages_are_counted_and_logged_once_and_the_next_good_one_is_taken(keep_all: bool) -> None:
    topic, taken = contract.JOINT_STATES, []
    listener = Listener(topic, lambda message: taken.append(messages.joint_positions(message)), keep_all=keep_all)
    good = good_message(topic)
    cut_off = serialize_message(good)[:60]
    unnamed = good_message(topic)
    unnamed.name = []
    for count, message in enumerate([cut_off, unnamed, cut_off], start=1):
        listener.send(message)
        listener.spin_until(lambda count=count: listener.refused() == count)  # type: ignore[misc]
    listener.send(good)
    listener.spin_until(lambda: len(taken) == 1)
    assert listener.lines == ["/joint_states: 60 bytes that are no sensor_msgs/msg/JointState; the message is refused"]
    listener.node.destroy_node()


@pytest.mark.usefixtures("ros")
def test_a_recorder_gets_no_latched_message_that_it_cannot_read() -> None:
    taken: list[bytes] = []
    listener = Listener(contract.STATUS_TOPIC, lambda cdr, _: taken.append(cdr), keep_all=True, raw=True)
    good = serialize_message(good_message(contract.STATUS_TOPIC))
    listener.send(good[:-3])
    listener.send(good)
    listener.spin_until(lambda: bool(taken))
    assert (taken, listener.refused()) == ([good], 1)
    assert "/salus/status" in listener.lines[0]
    listener.node.destroy_node()


def test_refusals_are_news_after_a_quiet_time_and_a_warning_until_then() -> None:
    refusals = Refusals()
    news = [
        refusals.add("/a", f"/a: wrong {number}", wall_s) for number, wall_s in enumerate((0.0, 0.1, 5.0, 10.1, 14.9))
    ]
    assert news == [True, False, False, True, False]
    assert refusals.add("/b", "/b: wrong", 15.0)
    part = refusals.part(20.0)
    assert (part.level, part.message) == (Level.WARN, "6 refused, the newest: /b: wrong")
    assert part.values == {"refused": 6, "refused /a": 5, "refused /b": 1}
    assert refusals.part(20.1).level is Level.OK
