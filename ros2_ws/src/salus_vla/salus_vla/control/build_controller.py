"""From the settings to the controller with its policy: the same call in the graph's node and in a rollout."""

from __future__ import annotations

from salus_vla.config.policy_settings import PolicySettings
from salus_vla.config.scene import Scene
from salus_vla.control.controller import Controller, make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.policies.base import ReferencedPolicy
from salus_vla.policies.registry import make_policy


def build_controller(settings: PolicySettings, scene: Scene) -> tuple[Controller, ReferencedPolicy]:
    """The controller, and the policy that it drives.

    Raises:
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
    )
    if settings.policy == "ensemble":
        import torch  # loaded by now

        torch.set_num_threads(settings.threads)  # their number changes the last digits
    disturbance = Disturbance() if settings.disturb else None
    controller = make_controller(
        policy, scene, blend_s=settings.blend_s, max_jump_s=settings.max_jump_s, disturbance=disturbance
    )
    return controller, policy
