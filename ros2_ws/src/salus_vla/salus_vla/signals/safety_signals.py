"""The twelve safety signals: how unsure the policy is, computed once per decision.

The order of `SIGNALS` is the order of the vector everywhere (message, bags, datasets, models). A signal that cannot be
computed is NaN and its bit in `valid` is 0; nothing replaces NaN by 0. Formulas: `salus_msgs/msg/SafetySignals.msg`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray, PolicyOutput
from salus_vla.signals.reference import NoveltyReference

SCHEMA_VERSION: Final = 2


@dataclass(frozen=True)
class Signal:
    """Name, unit and group of one signal."""

    name: str
    unit: str
    group: str


SIGNALS: Final = (
    Signal("epistemic_uncertainty", "rad^2", "uncertainty"),
    Signal("sampling_uncertainty", "rad^2", "uncertainty"),
    Signal("max_joint_disagreement", "rad", "uncertainty"),
    Signal("chunk_divergence", "rad", "uncertainty"),
    Signal("action_magnitude", "rad", "action"),
    Signal("action_smoothness", "rad", "action"),
    Signal("action_jerk", "rad", "action"),
    Signal("plan_inconsistency", "rad", "action"),
    Signal("execution_error", "rad", "execution"),
    Signal("joint_limit_margin", "1", "execution"),
    Signal("activation_drift", "1", "activations"),
    Signal("activation_novelty", "1", "activations"),
)
NAMES: Final = tuple(signal.name for signal in SIGNALS)


@dataclass(frozen=True)
class SignalVector:
    """Signals of one decision.

    Attributes:
        values: shape (12,), float32, NaN where not computable.
        member_actions: first row of each member's mean chunk, shape (K, 7), float32 [rad].
        members, noise_samples: K and S of the prediction.
    """

    values: NDArray[np.float32]
    member_actions: NDArray[np.float32]
    members: int
    noise_samples: int

    @property
    def valid(self) -> int:
        """Bit i is 1 when signal i could be computed."""
        return sum(1 << i for i, value in enumerate(self.values) if np.isfinite(value))


@dataclass(frozen=True)
class _Earlier:
    """What the next decision is compared with."""

    stamp_ns: int
    action: FloatArray
    plan: FloatArray
    prefix_state: FloatArray | None
    action_before: FloatArray | None


class SignalTracker:
    """Computes the signals of consecutive decisions of an episode."""

    def __init__(
        self,
        lower: FloatArray,
        upper: FloatArray,
        control_dt_ns: int,
        reference: NoveltyReference | None = None,
    ) -> None:
        """Sets the arm's limits.

        Args:
            lower: lower joint limits, shape (7,) [rad].
            upper: upper joint limits, shape (7,) [rad].
            control_dt_ns: time between two rows of a chunk [ns].
            reference: fitted on successful episodes; without it `activation_novelty` is not valid.
        """
        self._lower, self._upper = lower, upper
        self._control_dt_ns = control_dt_ns
        self._reference = reference
        self._earlier: _Earlier | None = None

    def reset(self) -> None:
        """Forgets every earlier value; called at the start of each episode."""
        self._earlier = None

    def update(
        self, prediction: PolicyOutput, arm: FloatArray, command_in_force: FloatArray | None, stamp_ns: int
    ) -> SignalVector:
        """Signals of one decision.

        Args:
            prediction: chunks and activations of all members.
            arm: measured joints, shape (7,) [rad].
            command_in_force: arm command in force at the observation's stamp, (7,) [rad]; None before the first.
            stamp_ns: stamp of the observation [ns].
        """
        chunks = prediction.chunks[..., :ARM_DOF]  # (K, S, H, 7)
        members, samples = chunks.shape[:2]
        per_member = chunks.mean(axis=1)  # (K, H, 7)
        first = per_member[:, 0]  # a[k], (K, 7)
        action = first.mean(axis=0)
        plan = per_member.mean(axis=0)
        earlier = self._earlier
        before = earlier.action if earlier else None
        two_before = earlier.action_before if earlier else None
        nan = float("nan")
        values = (
            _mean_variance(first),
            _mean_variance(chunks[:, :, 0].swapaxes(0, 1)),
            float((first - first[0]).std(axis=0, ddof=1).max()) if members > 1 else nan,
            _chunk_divergence(per_member),
            float(np.linalg.norm(action - arm)),
            nan if before is None else float(np.linalg.norm(action - before)),
            nan if before is None or two_before is None else float(np.linalg.norm(action - 2.0 * before + two_before)),
            nan if earlier is None else self._plan_inconsistency(plan, stamp_ns, earlier),
            nan if earlier is None or command_in_force is None else float(np.linalg.norm(arm - command_in_force)),
            float((np.minimum(arm - self._lower, self._upper - arm) / (self._upper - self._lower)).min()),
            _drift(prediction.prefix_state, earlier.prefix_state if earlier else None),
            nan
            if self._reference is None or prediction.expert_state is None
            else self._reference.distance(prediction.expert_state),
        )
        self._earlier = _Earlier(stamp_ns, action, plan, prediction.prefix_state, before)
        vector = np.array(values, dtype=np.float32)
        return SignalVector(
            values=np.where(np.isfinite(vector), vector, np.float32(nan)),  # infinite is not computable either
            member_actions=first.astype(np.float32),
            members=members,
            noise_samples=samples,
        )

    def _plan_inconsistency(self, plan: FloatArray, stamp_ns: int, earlier: _Earlier) -> float:
        """RMS over the overlap of this mean chunk with the previous one, shifted by the control steps that passed."""
        passed = round((stamp_ns - earlier.stamp_ns) / self._control_dt_ns)
        overlap = min(len(earlier.plan) - passed, len(plan))
        if passed < 0 or overlap < 1:
            return float("nan")
        difference = plan[:overlap] - earlier.plan[passed : passed + overlap]
        return float(np.sqrt(np.mean(difference**2)))


def _mean_variance(values: FloatArray) -> float:
    """Mean of the unbiased variance over the first axis; NaN when there is only one value."""
    if len(values) < 2:
        return float("nan")
    # Relative to the first value, so that equal values have no variance at all, not even that of rounding their mean.
    return float((values - values[0]).var(axis=0, ddof=1).mean())


def _chunk_divergence(per_member: FloatArray) -> float:
    """Mean over pairs of members of the RMS distance of their mean chunks (K, H, 7)."""
    distances = [np.sqrt(np.mean((one - two) ** 2)) for one, two in combinations(per_member, 2)]
    return float(np.mean(distances)) if distances else float("nan")


def _drift(state: FloatArray | None, before: FloatArray | None) -> float:
    """1 - cosine of two hidden states."""
    if state is None or before is None:
        return float("nan")
    scale = float(np.linalg.norm(state) * np.linalg.norm(before))
    return 1.0 - float(state @ before) / scale if scale > 0.0 else float("nan")
