"""What was done about a foreseen failure as a ROS message."""

from __future__ import annotations

import array

from salus_msgs.msg import Intervention as InterventionMessage
from salus_vla.ros.adapters.standard_messages import header
from salus_vla.safety.intervention.intervener import Intervention


def intervention_message(done: Intervention, mode: str, model: str) -> InterventionMessage:
    """The message of one decision.

    Args:
        done: at that decision.
        mode: the parameter `intervention`.
        model: hash of what interventions are chosen with; empty without.
    """
    return InterventionMessage(
        header=header(done.stamp_ns),
        schema_version=InterventionMessage.SCHEMA_VERSION,
        decision=done.decision,
        mode=mode,
        candidates=list(done.candidates),
        failure=array.array("f", done.failure),
        chosen=done.chosen,
        reason=done.reason,
        probability=done.probability,
        acted=done.acted,
        manifold_distance=done.manifold_distance,
        model=model,
    )
