"""Frames and contacts to ROS messages and back; `signal_messages` has those of the policy."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, JointState

from salus_msgs.msg import Episode, Status
from salus_vla.contract import JOINTS, Topic
from salus_vla.contract.errors import MessageError
from salus_vla.contract.types import Contact, FloatArray, Frame, Pose
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.adapters.standard_messages import NS, contact_array, header, key_values, pose_stamped, to_ns, to_time

_UNIT_TOLERANCE = 0.01  # of a quaternion's length
# What simulators send is in a module that Isaac Sim's Python can import; whoever reads messages finds all of them here.
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
        _check_number(topic, "outcome", message.outcome, Episode.ABORTED)
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


def joint_state(frame: Frame) -> JointState:
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


def joint_positions(message: JointState) -> FloatArray:
    """Positions of /joint_states in contract order, shape (9,).

    Raises:
        MessageError: a joint is missing or appears twice, the lengths differ, or a value is not finite.
    """
    if len(message.name) != len(message.position):
        raise MessageError(f"/joint_states has {len(message.name)} names and {len(message.position)} positions")
    by_name = dict(zip(message.name, message.position, strict=True))
    missing = [joint for joint in JOINTS if joint not in by_name]
    if missing or len(by_name) != len(message.name):
        raise MessageError(f"/joint_states has the names {list(message.name)}, expected each of {list(JOINTS)} once")
    positions = np.array([by_name[joint] for joint in JOINTS], dtype=np.float64)
    if not np.isfinite(positions).all():
        raise MessageError(f"/joint_states has positions that are not finite: {positions.tolist()}")
    return positions


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


def to_pose(message: PoseStamped) -> Pose:
    """Back from a PoseStamped.

    Raises:
        MessageError: a number is not finite, or the quaternion has not length 1.
    """
    point, turn = message.pose.position, message.pose.orientation
    pose = Pose(np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
    length = math.hypot(*pose.quaternion)
    if not np.isfinite(pose.position).all() or not abs(length - 1.0) <= _UNIT_TOLERANCE:
        raise MessageError(
            f"pose has position {pose.position.tolist()} and quaternion {pose.quaternion.tolist()}, expected finite "
            "numbers and length 1"
        )
    return pose


def to_contacts(message: DiagnosticArray) -> tuple[Contact, ...]:
    """Back from /ground_truth/contact.

    Raises:
        MessageError: a status lacks one of its three values, or the force is no number from 0 on.
    """
    contacts = []
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        try:
            force = float(values["force_n"])
            if not (math.isfinite(force) and force >= 0.0):
                raise ValueError(force)
            contacts.append(Contact(values["body_a"], values["body_b"], force))
        except (KeyError, ValueError) as error:
            raise MessageError(
                f"/ground_truth/contact: {status.name!r} has the values {values}, expected body_a, body_b, force_n"
            ) from error
    return tuple(contacts)
