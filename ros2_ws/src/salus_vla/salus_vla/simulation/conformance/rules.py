"""Every rule of the topic contract, applied to what was seen of a simulator."""

from __future__ import annotations

from salus_vla.config.scene import Scene
from salus_vla.simulation.conformance.behaviour_rules import (
    command_verdicts,
    reset_verdicts,
    truth_verdicts,
    view_verdicts,
)
from salus_vla.simulation.conformance.content_rules import camera_verdicts, joint_verdicts, pose_verdicts
from salus_vla.simulation.conformance.interface_rules import interface_verdicts, rate_verdicts, stamp_verdicts
from salus_vla.simulation.conformance.observed import Observed
from salus_vla.simulation.conformance.verdict import Verdict


def verdicts(seen: Observed, scene: Scene) -> list[Verdict]:
    """The whole table, in the order of the contract.

    Args:
        seen: of one simulator.
        scene: of contract.yaml, which that simulator shows.
    """
    return [
        *interface_verdicts(seen),
        *rate_verdicts(seen),
        *stamp_verdicts(seen),
        *joint_verdicts(seen),
        *camera_verdicts(seen, scene),
        *pose_verdicts(seen),
        *reset_verdicts(seen, scene),
        *truth_verdicts(seen, scene),
        *command_verdicts(seen, scene),
        *view_verdicts(seen, scene),
    ]
