"""Bends the plan of an episode once, and lets the arm follow it: what a filter between plan and limiter may do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.control.decision import Decision
from salus_vla.control.target_filter import Plan, TargetFilter
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.manifold_inputs import ROWS
from salus_vla.safety.prediction.state_basis import StateBasis


@dataclass(frozen=True, eq=False)
class Bend:
    """Away from the plan, more and more until the last row that the manifold looks at.

    Attributes:
        decision: at which it begins; the arm follows it for half a second.
        away: of the last row, (8,) [rad, m].
    """

    decision: int
    away: FloatArray

    def of(self, chunk: FloatArray) -> FloatArray:
        """The bent chunk, inside the joint limits, (H, 8) [rad, m]."""
        share = np.minimum(np.arange(1, len(chunk) + 1) / ROWS, 1.0)
        return np.clip(chunk + share[:, None] * self.away, PANDA.all_lower, PANDA.all_upper)


class BentPlan(TargetFilter):
    """Follows one bend in each episode, or none.

    Attributes:
        bend: of the next episodes.
        distance: of the bent chunk from those of successes, in levels: above 1 it is outside; NaN before it was bent.
        plain_distance: the same of the plan that was bent.
    """

    def __init__(self, manifold: ActionManifold, basis: StateBasis) -> None:
        """Takes what judges the chunk, and the basis of its hidden states.

        Raises:
            ModelError: the manifold knows states in another basis.
        """
        manifold.require_basis(basis)
        self._manifold, self._basis = manifold, basis
        self.bend: Bend | None = None
        self._bent: FloatArray | None = None
        self._state: FloatArray = np.full(ARM_DOF + 1, np.nan)
        self.distance = self.plain_distance = float("nan")

    def start_episode(self, seed: int) -> None:
        """The bend is still to come."""
        self._bent = None
        self.distance = self.plain_distance = float("nan")

    def measured(self, stamp_ns: int, joints: FloatArray) -> None:
        """Keeps where the arm is."""
        self._state = np.append(joints[0][:ARM_DOF], joints[0][ARM_DOF:].sum())

    def choose(self, decision: Decision, plan: Plan) -> Plan:
        """The bent chunk for half a second from the bend on, the plan before and behind it."""
        bend = self.bend
        if bend is None or plan.stop:
            return plan
        since = decision.number - bend.decision
        if since == 0:
            self._bent = bend.of(plan.chunk)
            self.plain_distance, self.distance = (self._distance(decision, item) for item in (plan.chunk, self._bent))
        if not 0 <= since < ROWS or self._bent is None:
            return plan
        rest = self._bent[since:]
        return replace(plan, chunk=np.concatenate((rest, np.repeat(rest[-1:], since, axis=0))))

    def _distance(self, decision: Decision, chunk: FloatArray) -> float:
        expert = self._basis.project_expert(decision.expert_state[None])[0].astype(np.float64)
        return self._manifold.distance(expert, self._state, chunk) / self._manifold.level
