"""A decision's signals and its members' chunks as messages; apart from `messages`, so that the gate loads no policy."""

from __future__ import annotations

import array

from salus_msgs.msg import MemberChunks, SafetySignals
from salus_vla.contract import ARM_DOF
from salus_vla.control.decision import Decision
from salus_vla.ros.adapters.standard_messages import header
from salus_vla.signals.safety_signals import NAMES, SCHEMA_VERSION


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
        expert_state=array.array("f", decision.expert_state),
        prefix_parts=array.array("f", decision.prefix_parts.ravel()),
        prefix_part_count=len(decision.prefix_parts),
        member_actions=array.array("f", vector.member_actions[:, :ARM_DOF].ravel()),
        **{name: float(value) for name, value in zip(NAMES, vector.values, strict=True)},
    )


def member_chunks(decision: Decision, row_s: float) -> MemberChunks:
    """What each member wants to do next.

    Args:
        decision: with its members' chunks.
        row_s: time between two rows of a chunk [s].
    """
    members, rows, _ = decision.member_chunks.shape
    return MemberChunks(
        header=header(decision.stamp_ns),
        schema_version=MemberChunks.SCHEMA_VERSION,
        decision=decision.number,
        members=members,
        rows=rows,
        row_s=row_s,
        arm=array.array("f", decision.member_chunks.tobytes()),
    )
