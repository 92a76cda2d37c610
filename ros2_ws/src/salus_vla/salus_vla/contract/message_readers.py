"""Reads messages of the contract: the same code for rclpy's messages and for those that rosbags makes of a bag.

Both have the same attributes, so a bag and a running graph agree by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import MessageError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.robot import ARM_DOF, JOINTS
from salus_vla.contract.types import Contact, FloatArray, ImageArray, Pose

NS: Final = 1_000_000_000
ENCODING: Final = "rgb8"
_UNIT_TOLERANCE = 0.01  # of a quaternion's length


def to_ns(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def stamp_of(message: Any) -> int:
    """Stamp of a message's header [ns]."""
    return to_ns(message.header.stamp)


def joint_positions(message: Any) -> FloatArray:
    """Positions of a sensor_msgs/JointState in contract order, shape (9,) [rad, m].

    Raises:
        MessageError: a joint is missing or appears twice, the lengths differ, or a value is not finite.
    """
    names = list(message.name)
    if len(names) != len(message.position):
        raise MessageError(f"has {len(names)} names and {len(message.position)} positions")
    by_name = dict(zip(names, message.position, strict=True))
    if len(by_name) != len(names) or any(joint not in by_name for joint in JOINTS):
        lacks = [joint for joint in JOINTS if joint not in by_name]
        wrong = f"lacks {', '.join(lacks)}" if lacks else "has a joint twice"
        raise MessageError(f"{wrong}: has the names {names}, expected each of {', '.join(JOINTS)} once")
    positions = np.array([by_name[joint] for joint in JOINTS], dtype=np.float64)
    if not np.isfinite(positions).all():
        raise MessageError(f"has positions that are not finite: {positions.tolist()}")
    return positions


def measured_joints(message: Any) -> FloatArray:
    """Positions, velocities and efforts of a sensor_msgs/JointState in contract order, (3, 9).

    Velocities and efforts are optional there: NaN where they are missing, never 0.

    Raises:
        MessageError: as `joint_positions`, or there are some velocities or efforts but not one for each name.
    """
    rows = [joint_positions(message)]
    for name in ("velocity", "effort"):
        values = list(getattr(message, name))
        if values and len(values) != len(message.name):
            raise MessageError(f"has {len(message.name)} names and {len(values)} of {name}, expected as many or none")
        by_name = dict(zip(message.name, values, strict=True)) if values else {}
        rows.append(np.array([by_name.get(joint, math.nan) for joint in JOINTS], dtype=np.float64))
    return np.stack(rows)


def policy_states(message: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`expert_state` (E,) and `prefix_parts` (C + 1, D) of a SafetySignals; empty where it has none, as in version 1.

    Raises:
        MessageError: prefix_parts has not as many values for each of its rows.
    """
    expert = np.asarray(getattr(message, "expert_state", ()), dtype=np.float32)
    parts = np.asarray(getattr(message, "prefix_parts", ()), dtype=np.float32)
    count = int(getattr(message, "prefix_part_count", 0))
    if not parts.size and not count:
        return expert, np.zeros((0, 0), dtype=np.float32)
    if count < 1 or parts.size % count or not parts.size:
        raise MessageError(f"has {parts.size} values of prefix_parts in {count} parts, expected as many in each")
    return expert, parts.reshape(count, -1)


def member_chunks(message: Any) -> FloatArray:
    """Targets of a salus_msgs/MemberChunks, shape (K, H, 7) [rad].

    Raises:
        MessageError: it has not 7 values for each row of each member, or the time between two rows is not positive.
    """
    arm = np.asarray(message.arm, dtype=np.float64)
    shape = int(message.members), int(message.rows), ARM_DOF
    if arm.size != math.prod(shape):
        raise MessageError(f"has {arm.size} values of arm, expected {shape[0]} members x {shape[1]} rows x {ARM_DOF}")
    if not (math.isfinite(message.row_s) and message.row_s > 0.0):
        raise MessageError(f"has row_s {message.row_s}, expected a time above 0 s between two rows")
    return arm.reshape(shape)


def check_image(message: Any) -> None:
    """Checks a sensor_msgs/Image.

    Raises:
        MessageError: another encoding than rgb8, no pixels, or fewer bytes than height x step.
    """
    if message.encoding != ENCODING:
        raise MessageError(f"image encoding is {message.encoding!r}, expected '{ENCODING}'")
    if not (message.width and message.height):
        raise MessageError(f"image is {message.width} x {message.height}, expected at least one pixel")
    if message.step < 3 * message.width:
        raise MessageError(f"image step is {message.step}, expected at least {3 * message.width} for {ENCODING}")
    if len(message.data) < message.height * message.step:
        raise MessageError(f"image has {len(message.data)} bytes, expected {message.height * message.step}")


def image_view(message: Any) -> ImageArray:
    """Pixels of an image that was checked, shape (height, width, 3): a view, without the padding of its rows."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    return rows[:, : 3 * width].reshape(height, width, 3)


def to_pose(message: Any) -> Pose:
    """Pose of a geometry_msgs/PoseStamped.

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


def to_contacts(message: Any) -> tuple[Contact, ...]:
    """Contacts of /ground_truth/contact.

    Raises:
        MessageError: a status lacks one of its three values, or the force is not a number from 0 on.
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


class EventKind(IntEnum):
    """`kind` in salus_msgs/Episode."""

    STARTED = 0
    EVENT = 1
    ENDED = 2


@dataclass(frozen=True)
class EpisodeEvent:
    """What a salus_msgs/Episode says: stamps in sim time [ns], names of kind and outcome, None for no event's stamp."""

    kind: EventKind
    stamp_ns: int
    run_id: str
    episode: int
    seed: int
    task: str
    policy_source: str
    outcome: str
    event: str
    event_stamp_ns: int | None
    decisions: int
    detail: str

    @classmethod
    def of(cls, message: Any) -> Self:
        """Reads a message.

        Raises:
            MessageError: it has a kind or an outcome that there is not.
        """
        try:
            kind, outcome = EventKind(message.kind), Outcome(message.outcome).name
        except ValueError as error:
            raise MessageError(f"Episode: {error}") from error
        return cls(
            kind=kind,
            stamp_ns=stamp_of(message),
            run_id=message.run_id,
            episode=int(message.episode),
            seed=int(message.seed),
            task=message.task,
            policy_source=message.policy_source,
            outcome=outcome,
            event=message.event,
            event_stamp_ns=to_ns(message.event_stamp) or None,
            decisions=int(message.decisions),
            detail=message.detail,
        )
