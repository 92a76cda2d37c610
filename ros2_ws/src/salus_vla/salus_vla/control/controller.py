"""Everything between an observation and a joint command: policy, signals, plan and limiter.

The ensemble node and the in-process rollout drive the same object with the same calls, which is why a seed gives the
same trajectory in both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.config.policy_settings import DEFAULTS
from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF
from salus_vla.contract.reasons import (
    CHUNK_EXHAUSTED,
    COMMAND_REFUSED,
    HANDED_OVER,
    NO_DECISION_YET,
    NO_EPISODE,
    NON_FINITE_ACTION,
    PLANNING_ANEW,
)
from salus_vla.contract.robot_limits import PANDA, ArmLimits
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.control.chunking import ChunkManager
from salus_vla.control.decision import Decision
from salus_vla.control.hold_position import HoldPosition
from salus_vla.control.limiter import Limiter
from salus_vla.control.safety_filter import SafetyFilter
from salus_vla.control.target_filter import Plan, TargetFilter
from salus_vla.policies.base import Policy, ReferencedPolicy
from salus_vla.safety.intervention.intervener import Intervention
from salus_vla.signals.reference import NoveltyReference
from salus_vla.signals.safety_signals import SignalTracker

_NO_STOP = (NO_EPISODE, NO_DECISION_YET, PLANNING_ANEW)  # nothing went wrong: the arm is where it should be


@dataclass(frozen=True)
class Command:
    """Targets for all nine joints.

    Attributes:
        position: shape (9,), contract order [rad, m].
        limited: the plan was followed more slowly than it asked for.
        hold_reason: why the arm brakes or holds instead of following a plan; empty when it follows one.
        detail: the reason in words.
    """

    position: FloatArray
    limited: bool = False
    hold_reason: str = ""
    detail: str = ""


class Controller:
    """Decides on observations and answers each frame with a command that is inside the limits.

    Attributes:
        safety: the filter that intervenes; None where nobody may.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        frame_dt_ns: int,
        control_dt_ns: int,
        blend_ns: int = round(DEFAULTS.blend_s * 1e9),
        max_jump_s: float = DEFAULTS.max_jump_s,
        limits: ArmLimits = PANDA,
        reference: NoveltyReference | None = None,
        filters: Sequence[TargetFilter] = (),
    ) -> None:
        """Puts the parts together.

        Args:
            policy: gives chunks for observations.
            frame_dt_ns: time between two commands [ns].
            control_dt_ns: time between two rows of a chunk, also between two decisions [ns].
            blend_ns: shortest time over which a new chunk takes over [ns].
            max_jump_s: see `Limiter`.
            limits: of the arm.
            reference: for `activation_novelty`.
            filters: between the plan and the limiter, in this order.
        """
        self.policy = policy
        self._frame_dt_ns = frame_dt_ns
        self._signals = SignalTracker(limits.lower, limits.upper, control_dt_ns, reference)
        self._plan = ChunkManager(control_dt_ns, blend_ns, limits.all_acceleration)
        self._limiter = Limiter(limits, frame_dt_ns * 1e-9, max_jump_s=max_jump_s)
        self._hold_position = HoldPosition(limits.lower, limits.upper, frame_dt_ns)
        self._filters = tuple(filters)
        self.safety = next((item for item in self._filters if isinstance(item, SafetyFilter)), None)
        self._handed_over = ""
        self._decisions = 0
        self._hold_reason, self._hold_detail = NO_DECISION_YET, "the first decision is being made"

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before: policy, signals, plan, and where the arm was."""
        self.start_decisions(seed)
        self.forget_measured()
        self.start_motion(seed)

    def start_decisions(self, seed: int) -> None:
        """The part of `start_episode` that `decide` uses: to be called in the thread that decides."""
        self.policy.start_episode(seed)
        self._signals.reset()
        self._decisions = 0

    def start_motion(self, seed: int, *, moving: bool = False) -> None:
        """The part of `start_episode` that `accept` and `command` use: to be called in the thread that commands.

        Args:
            seed: of the episode.
            moving: the arm is still being braked and goes on from there; otherwise it may have been teleported.
        """
        self._handed_over = ""
        for item in self._filters:
            item.start_episode(seed)
        if not moving:
            self._limiter.stop()
            self._hold_position.release()
        self.drop_plan(NO_DECISION_YET, "the first decision is being made")

    def resume_at(self, commanded: FloatArray) -> None:
        """Goes on at rest from a pose (9,) [rad, m] that the gate commanded, once a decision gives a plan."""
        self._limiter.start(np.append(commanded[:ARM_DOF], commanded[ARM_DOF:].sum()))
        self._hold_position.release()
        self.drop_plan(PLANNING_ANEW, "the gate let go: planning anew from where the arm is")

    @property
    def command_in_force(self) -> FloatArray | None:
        """The arm command sent last, shape (7,) [rad]; None before the first of the episode."""
        return self._limiter.position[:ARM_DOF] if self._limiter.started else None

    def plan_age_ns(self, now_ns: int) -> int | None:
        """Age of the observation behind the plan in force [ns]; None without a plan."""
        return self._plan.age_ns(now_ns)

    def decide(self, observation: Observation, command_in_force: FloatArray | None) -> Decision:
        """Evaluates the policy; slow, touches neither plan nor limiter, so a worker thread may run it.

        Args:
            observation: cameras and joints.
            command_in_force: `command_in_force` at the observation's stamp.
        """
        began = time.perf_counter()
        number = self._decisions
        self._decisions += 1
        prediction = self.policy.predict(observation, number)
        signals = self._signals.update(prediction, observation.arm, command_in_force, observation.stamp_ns)
        chunk = prediction.chunks.mean(axis=(0, 1)) if prediction.finite else None
        members = prediction.chunks[..., :ARM_DOF].mean(axis=1).astype(np.float32)
        states: dict[str, NDArray[np.float32]] = {"member_chunks": members}
        if prediction.expert_state is not None:
            states["expert_state"] = prediction.expert_state.astype(np.float32)
        if prediction.prefix_parts is not None:
            states["prefix_parts"] = prediction.prefix_parts.astype(np.float32)
        took_ms = (time.perf_counter() - began) * 1e3
        chunks = prediction.chunks if chunk is not None and self.safety is not None else None
        return Decision(number, observation.stamp_ns, chunk, signals, took_ms, chunks=chunks, **states)

    def accept(self, decision: Decision, now_ns: int, measured: FloatArray) -> None:
        """Makes a decision's chunk the plan in force from `now_ns` on; a chunk that is not finite stops the arm.

        Args:
            decision: result of `decide`.
            now_ns: stamp of the frame that is answered next [ns].
            measured: joints of that frame, shape (9,).
        """
        if decision.chunk is None:
            self.drop_plan(NON_FINITE_ACTION, f"decision {decision.number} gave actions that are not finite")
            return
        self._ensure_started(measured)
        plan = Plan(decision.chunk)
        for item in self._filters:
            plan = item.choose(decision, plan)
        if plan.stop:
            self._handed_over = plan.stop
        if self._handed_over:
            self.drop_plan(HANDED_OVER, self._handed_over)
            return
        refusal, detail = self._limiter.check_positions(plan.chunk)
        if refusal is not None:
            self.drop_plan(COMMAND_REFUSED, f"decision {decision.number}, {refusal}: {detail}")
            return
        self._plan.install(plan.chunk, decision.stamp_ns, now_ns, self._limiter.position)

    @property
    def intervention(self) -> Intervention | None:
        """What was done at the newest decision that was accepted; None where nobody may intervene."""
        return None if self.safety is None else self.safety.newest

    @property
    def handed_over(self) -> str:
        """Why the arm was handed over to a person in this episode, in words; empty if it was not."""
        return self._handed_over

    def measured(self, stamp_ns: int, joints: FloatArray) -> None:
        """Tells the filters the joints of a frame, in order; see `TargetFilter.measured`."""
        for item in self._filters:
            item.measured(stamp_ns, joints)

    def forget_measured(self) -> None:
        """The clock jumped back: what was measured before cannot be compared with what comes."""
        for item in self._filters:
            item.forget()

    def drop_plan(self, reason: str, detail: str) -> None:
        """Forgets the plan; the arm brakes and holds for this reason until a decision gives a new one."""
        self._hold_reason, self._hold_detail = reason, detail
        self._plan.reset()

    @property
    def resting(self) -> bool:
        """Whether the last command was at rest: nothing more needs to be sent for the arm to hold."""
        if not self._limiter.started:
            return True
        return self._limiter.at_rest and not self._hold_position.due(self._limiter.position[:ARM_DOF])

    def settle(self) -> None:
        """The arm stands at the last command: so long came none that no speed is left to brake from."""
        if self._limiter.started:
            self._limiter.start(self._limiter.position)

    def command(self, stamp_ns: int, measured: FloatArray, measured_ns: int | None = None) -> Command:
        """The command that answers the frame at `stamp_ns`: where the arm should be one frame later.

        Args:
            stamp_ns: stamp of the frame [ns].
            measured: newest joints, shape (9,) [rad, m].
            measured_ns: their stamp [ns]; that of the frame by default.
        """
        command = self._command(stamp_ns, measured, measured_ns)
        for item in self._filters:
            item.commanded(stamp_ns, command.position)
        return command

    def _command(self, stamp_ns: int, measured: FloatArray, measured_ns: int | None) -> Command:
        self._ensure_started(measured)
        self._hold_position.observe(stamp_ns, measured[:ARM_DOF], stamp_ns if measured_ns is None else measured_ns)
        if not self._plan.has_plan:
            return self._hold(self._hold_reason, self._hold_detail)
        target = self._plan.target(stamp_ns + self._frame_dt_ns)
        if target is None:
            age = (self._plan.age_ns(stamp_ns) or 0) * 1e-9
            return self._hold(CHUNK_EXHAUSTED, f"the plan ended; its observation is {age:.2f} s old")
        self._hold_position.release()
        for item in self._filters:
            target = item.apply(target, stamp_ns)
        # What the chunk meant is checked, not the target: a filter never makes the limiter refuse.
        limited = self._limiter.step(target, self._plan.requested(stamp_ns + self._frame_dt_ns))
        if limited.refusal is not None:
            # The next chunk must start from where the arm is, not from a plan that was never followed.
            self.drop_plan(COMMAND_REFUSED, f"{limited.refusal}: {limited.detail}")
            return Command(_joints(limited.position), False, self._hold_reason, self._hold_detail)
        return Command(_joints(limited.position), limited.limited)

    def _hold(self, reason: str, detail: str) -> Command:
        """Brakes along the path, then holds the arm where it is measured. The gripper keeps its target: it may hold."""
        command = self._limiter.position
        arm = None
        if reason in _NO_STOP:
            self._hold_position.release()
        else:
            arm = self._hold_position.stop(command[:ARM_DOF], at_rest=self._limiter.at_rest)
        if arm is None:
            command = self._limiter.brake().position
        else:
            command = self._limiter.step(np.append(arm, command[ARM_DOF:])).position
        return Command(_joints(command), False, reason, detail)

    def _ensure_started(self, measured: FloatArray) -> None:
        if not self._limiter.started:
            self._limiter.start(np.append(measured[:ARM_DOF], measured[ARM_DOF:].sum()))


def make_controller(
    policy: ReferencedPolicy,
    scene: Scene,
    *,
    blend_s: float = DEFAULTS.blend_s,
    max_jump_s: float = DEFAULTS.max_jump_s,
    filters: Sequence[TargetFilter] = (),
) -> Controller:
    """A controller with the scene's rates and the policy's reference."""
    return Controller(
        policy,
        frame_dt_ns=scene.rates.frame_dt_ns,
        control_dt_ns=scene.rates.decision_dt_ns,
        blend_ns=round(blend_s * 1e9),
        max_jump_s=max_jump_s,
        reference=policy.reference,
        filters=filters,
    )


def _joints(command: FloatArray) -> FloatArray:
    """7 joints and gripper width (8,) -> nine joints, each finger half the width (9,)."""
    return np.concatenate([command[:ARM_DOF], np.repeat(command[ARM_DOF] / 2.0, 2)])
