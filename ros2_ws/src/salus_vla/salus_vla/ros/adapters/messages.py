"""Frames and contacts to ROS messages and back; `signal_messages` has those of the policy."""

from __future__ import annotations

import array
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, JointState

from salus_msgs.msg import Episode, Status
from salus_vla.contract import JOINTS, Topic
from salus_vla.contract.errors import MessageError
from salus_vla.contract.message_readers import NS, joint_positions, to_contacts, to_ns, to_pose
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray, SimStep
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.adapters.standard_messages import contact_array, header, key_values, pose_stamped, to_time

# What simulators send is in a module that Isaac Sim's Python can import, what bags have too in the contract; whoever
# handles messages in the graph finds all of it here.
__all__ = [
    "camera_info",
    "check",
    "contact_array",
    "deserialized",
    "header",
    "joint_command",
    "joint_positions",
    "joint_state",
    "key_values",
    "pose_stamped",
    "to_contacts",
    "to_ns",
    "to_pose",
    "to_time",
]


# -- any message -------------------------------------------------------------------------------------------------------


def deserialized(topic: Topic, cdr: bytes) -> Any:
    """The message in some bytes.

    Raises:
        MessageError: they are no message of the topic's type.
    """
    try:
        return deserialize_message(cdr, interface_class(topic))
    except Exception as error:  # the middleware's own error has no public name
        raise MessageError(f"{topic.name}: {len(cdr)} bytes that are no {topic.type}") from error


def check(topic: Topic, message: Any) -> None:
    """Refuses what no reader of the topic can use: stamps that are no time, another frame, numbers without a meaning.

    Raises:
        MessageError: names the topic and the field.
    """
    stamps = {name: getattr(message, name) for name in ("clock", "event_stamp") if hasattr(message, name)}
    head = getattr(message, "header", None)
    if head is not None:
        stamps["header.stamp"] = head.stamp
        if topic.frame_id and head.frame_id != topic.frame_id:
            raise MessageError(f"{topic.name}: header.frame_id is {head.frame_id!r}, expected {topic.frame_id!r}")
    for name, stamp in stamps.items():
        if stamp.sec < 0 or stamp.nanosec >= NS:
            raise MessageError(
                f"{topic.name}: {name} is {stamp.sec} s and {stamp.nanosec} ns, expected at least 0 s and below {NS} ns"
            )
    if isinstance(message, Episode):
        _check_number(topic, "kind", message.kind, Episode.ENDED)
        _check_number(topic, "outcome", message.outcome, max(Outcome))
        if message.seed < 0:
            raise MessageError(f"{topic.name}: seed is {message.seed}, expected at least 0")
    elif isinstance(message, Status):
        _check_number(topic, "state", message.state, Status.FAILED)
        if not message.role:
            raise MessageError(f"{topic.name}: role is empty, expected the role of a node")


def _check_number(topic: Topic, name: str, value: int, largest: int) -> None:
    if value > largest:
        raise MessageError(f"{topic.name}: {name} is {value}, expected 0 to {largest}")


# -- joints ------------------------------------------------------------------------------------------------------------


def joint_state(frame: SimStep) -> JointState:
    """/joint_states of a frame."""
    return JointState(
        header=header(frame.stamp_ns),
        name=list(JOINTS),
        position=array.array("d", frame.joint_position),
        velocity=array.array("d", frame.joint_velocity),
        effort=array.array("d", frame.joint_effort),
    )


def joint_command(stamp_ns: int, position: FloatArray) -> JointState:
    """/joint_command: names and positions, stamped with the observation it answers."""
    return JointState(header=header(stamp_ns), name=list(JOINTS), position=array.array("d", position))


# -- cameras and ground truth ------------------------------------------------------------------------------------------


def camera_info(stamp_ns: int, frame_id: str, width: int, height: int, focal: float) -> CameraInfo:
    """A pinhole camera without distortion; `focal` in pixels."""
    cx, cy = width / 2.0, height / 2.0
    return CameraInfo(
        header=header(stamp_ns, frame_id),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
