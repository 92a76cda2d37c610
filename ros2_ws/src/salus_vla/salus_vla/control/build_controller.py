"""From the settings to the controller with its policy: the same call in the graph's node and in a rollout."""

from __future__ import annotations

from collections.abc import Sequence

from salus_vla.config.policy_settings import PolicySettings
from salus_vla.config.scene import Scene
from salus_vla.control.controller import Controller, make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.control.safety_filter import build_safety_filter
from salus_vla.control.takeover import TakeoverPolicy, make_conditions
from salus_vla.control.target_filter import TargetFilter
from salus_vla.policies.base import ReferencedPolicy
from salus_vla.policies.registry import make_policy
from salus_vla.safety.intervention.modes import OFF


def build_controller(
    settings: PolicySettings,
    scene: Scene,
    *,
    teacher: str = "",
    when: tuple[str, ...] = (),
    faults: list[str] | None = None,
    realtime: bool = False,
    filters: Sequence[TargetFilter] = (),
) -> tuple[Controller, ReferencedPolicy]:
    """The controller, and the policy that it drives.

    Args:
        settings: of both.
        scene: sizes, rates and home pose.
        teacher: name of the policy that takes over; nobody when empty.
        when: names of the conditions on which it does, see `takeover`.
        realtime: whether the arm goes on while it is thought; then thinking has a budget.
        filters: more of them, behind those that the settings ask for.
        faults: takes why nobody can intervene, in words; without it that is an error.

    Raises:
        ConfigError: a takeover without a condition, or no such intervention.
        ModelError: the policy cannot be loaded.
        SimulatorError: the expert's model of the robot cannot be built.
    """
    policy = make_policy(
        settings.policy,
        scene=scene,
        members=settings.members,
        device=settings.device,
        devices=settings.devices,
        mode=settings.mode,
        dtype=settings.dtype,
        noise_samples=settings.noise_samples,
        allow_identical_experts=settings.allow_identical_experts,
        cut_task=settings.cut_task,
        cameras=settings.cameras,
    )
    if teacher:
        policy = TakeoverPolicy(policy, make_policy(teacher, scene=scene), make_conditions(when))
    if settings.policy == "ensemble":
        import torch  # loaded by now

        torch.set_num_threads(settings.threads)  # their number changes the last digits
    made: list[TargetFilter] = [Disturbance()] if settings.disturb else []
    if settings.intervention != OFF:
        made.append(build_safety_filter(settings, policy.provenance(), faults, realtime=realtime))
    controller = make_controller(
        policy, scene, blend_s=settings.blend_s, max_jump_s=settings.max_jump_s, filters=[*made, *filters]
    )
    return controller, policy
