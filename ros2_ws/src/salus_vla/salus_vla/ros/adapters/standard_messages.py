"""Messages of standard types, as simulators send them: nothing here needs SALUS's own message package.

Isaac Sim's own Python imports this, and cannot import salus_msgs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Header

from salus_vla.contract import WORLD_FRAME
from salus_vla.contract.message_readers import NS
from salus_vla.contract.types import Contact, Pose


def to_time(stamp_ns: int) -> Time:
    """Nanoseconds to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // NS, nanosec=stamp_ns % NS)


def header(stamp_ns: int, frame_id: str = "") -> Header:
    """A header with a stamp."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """A mapping as diagnostic_msgs/KeyValue."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


def pose_stamped(stamp_ns: int, pose: Pose) -> PoseStamped:
    """A ground-truth pose in the world frame."""
    message = PoseStamped(header=header(stamp_ns, WORLD_FRAME))
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = (float(v) for v in pose.position)
    turn.x, turn.y, turn.z, turn.w = (float(v) for v in pose.quaternion)
    return message


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
