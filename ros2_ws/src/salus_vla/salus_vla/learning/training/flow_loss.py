"""The flow-matching loss of SmolVLA with several noise draws for each observation.

Follows `VLAFlowMatching.forward` of LeRobot 0.6.1 through LeRobot's own modules. Images and language are most of the
work of a small policy, and the noise of the loss comes mostly from the noise and the time that are drawn: R draws share
one prefix here. They stand behind each other in the suffix; the mask keeps them apart, and each has the positions that
it would have alone. With R = 1 the loss is LeRobot's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, VLAFlowMatching, make_att_2d_masks
from torch import Tensor

from salus_vla.contract.errors import ModelError


class Prefix(NamedTuple):
    """Images and language as the text layers take them.

    Attributes:
        embedded: (B, n, D), without the state token.
        valid: which tokens count, (B, n).
    """

    embedded: Tensor
    valid: Tensor


def check_trainable(policy: SmolVLAPolicy) -> None:
    """Raises ModelError, naming the key, where a policy uses a part of SmolVLA that this loss does not cover."""
    config = policy.config
    if config.add_image_special_tokens:
        raise ModelError(
            "add_image_special_tokens is true in config.json: not covered by `salus train`; set it to false"
        )
    if config.prefix_length > 0:
        raise ModelError(
            f"prefix_length is {config.prefix_length} in config.json: not covered by `salus train`; set -1"
        )


def embed_images_and_language(model: VLAFlowMatching, images: Tensor, tokens: Tensor, valid: Tensor) -> Prefix:
    """The part of the prefix that does not depend on the state: the same for all members that share a VLM.

    Args:
        model: gives the VLM.
        images: (B, C, 3, side, side) in [-1, 1], in the order of the policy's cameras, all present.
        tokens: of the instruction, (B, L).
        valid: which tokens count, (B, L).
    """
    batch, cameras = images.shape[:2]
    both = model.vlm_with_expert
    features = both.embed_image(images.flatten(0, 1))
    features = features * torch.tensor(features.shape[-1] ** 0.5, dtype=features.dtype, device=features.device)
    features = features.unflatten(0, (batch, cameras)).flatten(1, 2)
    language = both.embed_language_tokens(tokens)
    language = language * language.shape[-1] ** 0.5
    seen = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    return Prefix(torch.cat([features, language], dim=1), torch.cat([seen, valid], dim=1))


def flow_losses(
    model: VLAFlowMatching, prefix: Prefix, state: Tensor, actions: Tensor, noise: Tensor, time: Tensor
) -> Tensor:
    """Squared errors of the velocity, for each draw and entry.

    Args:
        model: gives the text layers, the expert and the projections.
        prefix: of `embed_images_and_language`.
        state: normalised and padded, (B, padded state dim).
        actions: normalised and padded, (B, H, P).
        noise: R draws, (B, R, H, P).
        time: R draws, (B, R).

    Returns:
        (B, R, H, P).
    """
    batch, draws, horizon = noise.shape[:3]
    own = model.state_proj(state)[:, None]
    embedded = torch.cat([prefix.embedded, own.to(prefix.embedded.dtype)], dim=1)
    valid = F.pad(prefix.valid, (0, 1), value=True)
    length = embedded.shape[1]

    share = time[:, :, None, None]
    noisy = share * noise + (1 - share) * actions[:, None]
    suffix, _, _ = model.embed_suffix(noisy.flatten(0, 1), time.flatten())
    suffix = suffix.unflatten(0, (batch, draws)).flatten(1, 2)

    state_last = torch.zeros(1, length, dtype=torch.bool, device=valid.device)
    state_last[:, -1] = True  # images and language do not attend to the state
    mask = _mask(make_att_2d_masks(valid, state_last.expand(batch, -1)), valid, draws, horizon)
    steps = torch.arange(horizon, device=valid.device).repeat(draws)
    positions = torch.cat([valid.cumsum(1) - 1, valid.sum(1, keepdim=True) + steps], dim=1)
    (_, out), _ = model.vlm_with_expert.forward(
        attention_mask=mask,
        position_ids=positions,
        past_key_values=None,
        inputs_embeds=[embedded, suffix],
        use_cache=False,
    )
    velocity = model.action_out_proj(out.float()).unflatten(1, (draws, horizon))
    return F.mse_loss(velocity, noise - actions[:, None], reduction="none")


def masked_mean(losses: Tensor, action_dim: int, padded: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over what belongs to the robot and to the episode, as in `SmolVLAPolicy.forward`.

    Args:
        losses: (B, R, H, P).
        action_dim: A, the first of P that are real.
        padded: rows behind the end of the episode, (B, H).
        weights: how often each observation counts, (B,).
    """
    counts = (~padded).float() if weights is None else (~padded).float() * weights[:, None]
    total = (losses[..., :action_dim] * counts[:, None, :, None]).sum()
    return total / (counts.sum() * losses.shape[1] * action_dim).clamp_min(1.0)


def sample_noise(shape: Sequence[int], draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise (B, R, H, P) and times (B, R) as SmolVLA draws them: time = 0.999 Beta(1.5, 1) + 0.001.

    Drawn on the CPU, so that the same seed gives the same on every device. Beta(1.5, 1) is U^(1 / 1.5).

    Args:
        shape: of the actions, (B, H, P).
        draws: R.
        generator: of the step.
    """
    batch, horizon, width = shape
    noise = torch.randn(batch, draws, horizon, width, generator=generator)
    # One stratum for each draw: the times of an observation cover the interval, their distribution stays the same.
    strata = torch.stack([torch.randperm(draws, generator=generator) for _ in range(batch)])
    uniform = (strata + torch.rand(batch, draws, generator=generator)) / draws
    return noise, uniform ** (1 / 1.5) * 0.999 + 0.001


def _mask(prefix: Tensor, valid: Tensor, draws: int, horizon: int) -> Tensor:
    """(B, n + R * H, n + R * H): each draw sees the prefix and, causally, itself."""
    batch, length = valid.shape
    causal = torch.ones(horizon, horizon, dtype=torch.bool, device=valid.device).tril()
    suffix = torch.block_diag(*[causal] * draws).expand(batch, -1, -1)
    above = torch.cat(
        [prefix, torch.zeros(batch, length, draws * horizon, dtype=torch.bool, device=valid.device)], dim=2
    )
    below = torch.cat([valid[:, None].expand(-1, draws * horizon, -1), suffix], dim=2)
    return torch.cat([above, below], dim=1)
