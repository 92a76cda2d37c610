"""From the ensemble node's parameters to the controller with its policy."""

from __future__ import annotations

from salus_vla.control.controller import Controller, make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.nodes.ensemble_parameters import EnsembleParameters
from salus_vla.policy.base import ReferencedPolicy
from salus_vla.policy.registry import make_policy
from salus_vla.scene import Scene


def load_controller(p: EnsembleParameters, scene: Scene) -> tuple[Controller, ReferencedPolicy]:
    """The controller, and the policy that it drives.

    Raises:
        ModelError: the policy cannot be loaded.
        SimulatorError: the expert's model of the robot cannot be built.
    """
    policy = make_policy(
        p.policy,
        scene=scene,
        members=p.members,
        device=p.device,
        devices=p.devices,
        mode=p.mode,
        dtype=p.dtype,
        noise_samples=p.noise_samples,
        allow_identical_experts=p.allow_identical_experts,
    )
    if p.policy == "ensemble":
        import torch

        torch.set_num_threads(p.threads)
    disturbance = Disturbance() if p.disturb else None
    controller = make_controller(policy, scene, blend_s=p.blend_s, max_jump_s=p.max_jump_s, disturbance=disturbance)
    return controller, policy
