"""A SmolVLA policy without weights: the modules of LeRobot's constructor, parameters on the meta device.

The constructor draws 450 M random numbers only to have them overwritten, once for each member. Here it allocates
nothing. Buffers that no file stores (the frequencies of rotary embeddings) and constants (token ids) are computed as
always, because only parameters go to the meta device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor, nn

from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot


def empty_policy(config: SmolVLAConfig) -> SmolVLAPolicy:
    """The policy of a configuration, in evaluation mode, its parameters without memory.

    Raises:
        Exception: whatever LeRobot, transformers or torch raise for a setting that does not fit.
    """
    with quiet_lerobot(), _parameters_on_meta():
        policy = SmolVLAPolicy(config)
    return policy.eval()


def place_parameters(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Replaces parameters by tensors, by their name in `module`; shared parameters stay shared."""
    by_identity = {id(parameter): name for name, parameter in module.named_parameters()}
    replaced = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in tensors.items()}
    for prefix, part in module.named_modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is None:
                continue
            # A parameter that two modules share has the first one's name in `named_parameters`.
            for candidate in (f"{prefix}.{name}" if prefix else name, by_identity[id(parameter)]):
                if candidate in replaced:
                    part._parameters[name] = replaced[candidate]
                    break


def move_buffers(module: nn.Module, device: torch.device) -> None:
    """Moves what is not a parameter to a device."""
    for part in module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to(device)


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    register = nn.Module.register_parameter

    def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register
