"""Which rule to mend first: where nothing useful came, every rule that reads it would be broken with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salus_vla import contract
from salus_vla.contract import JOINTS, Service, Topic
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.simulation.conformance.observed import Joints, Observed

# What a servo, and what a finger, may be beyond its limits; degrees and millimetres are further.
ARM_TOLERANCE, FINGER_TOLERANCE = 0.05, 0.01  # [rad], [m]


def stand_still(stamps: Sequence[int]) -> bool:
    """Whether several messages have one and the same stamp."""
    return len(stamps) > 1 and len(set(stamps)) == 1


def silence(seen: Observed, *topics: Topic) -> str:
    """The rule that says why one of these topics cannot be judged by its stamps; empty where all can be.

    Nobody publishes it, nothing came, or its stamps stand still.
    """
    for topic in topics:
        stamps = seen.stamps.get(topic.name, ())
        if not seen.publishers.get(topic.name):
            return f"topic {topic.name}"
        if not stamps or stand_still(stamps):
            return f"rate {topic.name}"
    return ""


def unheard(seen: Observed, topic: Topic) -> str:
    """The rule that says why no message came; empty where some did, whatever their stamps."""
    return silence(seen, topic) if not seen.stamps.get(topic.name) else ""


def unserved(seen: Observed, service: Service) -> str:
    """The rule of a service that nobody offers; empty where somebody does."""
    return "" if service.type in seen.services.get(service.name, ()) else f"service {service.name}"


def range_limits() -> tuple[FloatArray, FloatArray]:
    """Lower and upper limits of the nine joints in contract order, shape (9,) each [rad, m]."""
    fingers = np.array([PANDA.gripper_max / 2] * 2)
    return np.append(PANDA.lower, 0.0 * fingers), np.append(PANDA.upper, fingers)


def beyond(state: Joints) -> list[str]:
    """Names of the joints that are where no Panda can be: not in rad and m."""
    position = state.ordered(state.position)
    if position.shape != (len(JOINTS),):
        return []
    (lower, upper), arm = range_limits(), len(PANDA.lower)
    tolerance = np.where(np.arange(len(JOINTS)) < arm, ARM_TOLERANCE, FINGER_TOLERANCE)
    outside = (position < lower - tolerance) | (position > upper + tolerance)
    return [joint for joint, out in zip(JOINTS, outside, strict=True) if out]


def unreadable_joints(seen: Observed) -> str:
    """The rule that says why positions cannot be judged; empty where each joint has one."""
    if cause := silence(seen, contract.JOINT_STATES):
        return cause
    if len(seen.publishers.get(contract.JOINT_STATES.name, ())) > 1:  # which frame is whose is not known
        return f"topic {contract.JOINT_STATES.name}"
    for state in seen.joints:
        position = state.ordered(state.position)
        if position.shape != (len(JOINTS),):
            return "joints names" if set(state.names) != set(JOINTS) else "joints lengths"
        if not np.isfinite(position).all():
            return "joints finite"
        if beyond(state):
            return "joints range"
    return ""
