"""Frames, contacts and signals to ROS messages and back: the only place that knows both sides' field names."""

from __future__ import annotations

import array
import math
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import Header

from salus_msgs.msg import SafetySignals
from salus_vla.contract import ARM_DOF, JOINTS, WORLD_FRAME
from salus_vla.control.controller import Decision
from salus_vla.errors import SalusError
from salus_vla.frames import Contact, FloatArray, Frame, Pose
from salus_vla.signals import NAMES, SCHEMA_VERSION

_NS = 1_000_000_000


def to_time(stamp_ns: int) -> Time:
    """Nanoseconds to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)


def to_ns(stamp: Time) -> int:
    """builtin_interfaces/Time to nanoseconds."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def header(stamp_ns: int, frame_id: str = "") -> Header:
    """A header with a stamp."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """A mapping as diagnostic_msgs/KeyValue."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


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
        SalusError: a joint is missing or appears twice, the lengths differ, or a value is not finite.
    """
    if len(message.name) != len(message.position):
        raise SalusError(f"/joint_states has {len(message.name)} names and {len(message.position)} positions")
    by_name = dict(zip(message.name, message.position, strict=True))
    missing = [joint for joint in JOINTS if joint not in by_name]
    if missing or len(by_name) != len(message.name):
        raise SalusError(f"/joint_states has the names {list(message.name)}, expected each of {list(JOINTS)} once")
    positions = np.array([by_name[joint] for joint in JOINTS], dtype=np.float64)
    if not np.isfinite(positions).all():
        raise SalusError(f"/joint_states has positions that are not finite: {positions}")
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


def pose_stamped(stamp_ns: int, pose: Pose) -> PoseStamped:
    """A ground-truth pose in the world frame."""
    message = PoseStamped(header=header(stamp_ns, WORLD_FRAME))
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = (float(v) for v in pose.position)
    turn.x, turn.y, turn.z, turn.w = (float(v) for v in pose.quaternion)
    return message


def to_pose(message: PoseStamped) -> Pose:
    """Back from a PoseStamped."""
    point, turn = message.pose.position, message.pose.orientation
    return Pose(np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))


def contact_array(stamp_ns: int, contacts: Sequence[Contact]) -> DiagnosticArray:
    """/ground_truth/contact: a status per pair that changed; force 0 means that the pair no longer touches."""
    statuses = [
        DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=f"{contact.body_a}::{contact.body_b}",
            message="touching" if contact.force > 0.0 else "released",
            values=key_values({"body_a": contact.body_a, "body_b": contact.body_b, "force_n": repr(contact.force)}),
        )
        for contact in contacts
    ]
    return DiagnosticArray(header=header(stamp_ns, WORLD_FRAME), status=statuses)


def to_contacts(message: DiagnosticArray) -> tuple[Contact, ...]:
    """Back from /ground_truth/contact.

    Raises:
        SalusError: a status lacks one of its three values, or the force is no number.
    """
    contacts = []
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        try:
            force = float(values["force_n"])
            if not math.isfinite(force):
                raise ValueError(force)
            contacts.append(Contact(values["body_a"], values["body_b"], force))
        except (KeyError, ValueError) as error:
            raise SalusError(
                f"/ground_truth/contact: '{status.name}' has the values {values}, expected body_a, body_b, force_n"
            ) from error
    return tuple(contacts)


# -- signals -----------------------------------------------------------------------------------------------------------


def safety_signals(decision: Decision) -> SafetySignals:
    """The message of one decision."""
    vector = decision.signals
    return SafetySignals(
        header=header(decision.stamp_ns),
        schema_version=SCHEMA_VERSION,
        members=vector.members,
        noise_samples=vector.noise_samples,
        valid=vector.valid,
        decision=decision.number,
        inference_ms=decision.inference_ms,
        member_actions=array.array("f", vector.member_actions[:, :ARM_DOF].ravel()),
        **{name: float(value) for name, value in zip(NAMES, vector.values, strict=True)},
    )
