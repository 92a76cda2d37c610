"""From the settings to the controller with its policy: the same call in the graph's node and in a rollout."""

from __future__ import annotations

from salus_vla.config.policy_settings import PolicySettings
from salus_vla.config.scene import Scene
from salus_vla.control.controller import Controller, make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.control.takeover import TakeoverPolicy, make_conditions
from salus_vla.policies.base import ReferencedPolicy
from salus_vla.policies.registry import make_policy


def build_controller(
    settings: PolicySettings, scene: Scene, *, teacher: str = "", when: tuple[str, ...] = ()
) -> tuple[Controller, ReferencedPolicy]:
    """The controller, and the policy that it drives.

    Args:
        settings: of both.
        scene: sizes, rates and home pose.
        teacher: name of the policy that takes over; nobody when empty.
        when: names of the conditions on which it does, see `takeover`.

    Raises:
        ConfigError: a takeover without a condition.
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
    disturbance = Disturbance() if settings.disturb else None
    controller = make_controller(
        policy, scene, blend_s=settings.blend_s, max_jump_s=settings.max_jump_s, disturbance=disturbance
    )
    return controller, policy
