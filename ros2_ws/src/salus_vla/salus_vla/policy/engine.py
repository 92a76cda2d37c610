"""Evaluates all members of a SmolVLA ensemble in one batch: one prefix per VLM, the action experts side by side.

In SmolVLA's prefix, image and language tokens do not attend to the state token, which comes last. So their keys and
values are equal for all members that share a VLM, and only the state position is a member's own. The prefix therefore
runs once with K state tokens, each of which sees the images, the language and itself; the K x S action experts then run
as batched matrix products over stacked weights. The result equals LeRobot's `predict_action_chunk` of each member at
equal noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from salus_vla.errors import ModelError
from salus_vla.policy.checkpoint import LoadedEnsemble
from salus_vla.policy.expert import ExpertStack, PrefixCache


@dataclass(frozen=True)
class EngineOutput:
    """What one forward pass gives, still normalised and on the device.

    Attributes:
        actions: shape (K, S, H, A), A the policy's action dimension.
        prefix_state: mean-pooled last hidden state of the prefix, mean over members, shape (D,).
        expert_state: mean-pooled hidden state of the experts at the last denoising step, shape (E,).
    """

    actions: Tensor
    prefix_state: Tensor
    expert_state: Tensor


class EnsembleEngine:
    """K SmolVLA members on one device as one batched model."""

    def __init__(self, ensemble: LoadedEnsemble) -> None:
        """Stacks the members' own weights.

        Raises:
            ModelError: the checkpoint uses a part of SmolVLA that the batch does not cover.
        """
        config = ensemble.config
        if not config.use_cache:
            raise ModelError("use_cache=false fails in LeRobot 0.6.1; set it to true in config.json")
        if config.rtc_config is not None and config.rtc_config.enabled:
            raise ModelError("real-time chunking (rtc_config) is done by the chunk manager; disable it in config.json")
        if config.adapt_to_pi_aloha:
            raise ModelError("adapt_to_pi_aloha is for Aloha arms; this robot is a Panda")
        self.config = config
        self.device = ensemble.device
        self._vlms = ensemble.vlms
        self._members_of_vlm = [
            [k for k, used in enumerate(ensemble.vlm_of_member) if used == index] for index in range(len(self._vlms))
        ]
        self.experts = ExpertStack(ensemble.vlms[0], ensemble.experts)
        self.members = len(ensemble.experts)
        self.action_dim = config.action_feature.shape[0]

    def noise_shape(self, samples: int) -> tuple[int, int, int]:
        """Shape of the noise for S samples: (S, H, padded action dimension)."""
        return samples, self.config.chunk_size, self.config.max_action_dim

    @torch.inference_mode()
    def forward(self, batch: dict[str, Tensor], noise: Tensor) -> EngineOutput:
        """Chunks of all members.

        Args:
            batch: output of LeRobot's pre-processor for one observation (batch size 1).
            noise: standard normal, shape (S, H, padded action dimension); the same for every member.
        """
        policy = self._vlms[0]
        images, masks = policy.prepare_images(batch)
        state = policy.prepare_state(batch)
        tokens = batch["observation.language.tokens"]
        token_mask = batch["observation.language.attention_mask"]
        state_tokens = self.experts.state_tokens(state)
        caches: list[PrefixCache] = []
        pooled = []
        for vlm, members in zip(self._vlms, self._members_of_vlm, strict=True):
            cache, hidden = _run_prefix(vlm, images, masks, tokens, token_mask, state_tokens[members])
            caches.append(cache)
            pooled.append(hidden * len(members))
        order = [k for members in self._members_of_vlm for k in members]
        cache = PrefixCache.merge(caches, order)
        actions, expert_hidden = self.experts.denoise(cache, noise.to(self.device))
        return EngineOutput(
            actions=actions[..., : self.action_dim],
            prefix_state=torch.stack(pooled).sum(0) / self.members,
            expert_state=expert_hidden.float().mean(dim=(0, 1, 2)),
        )


def _run_prefix(
    policy: SmolVLAPolicy,
    images: list[Tensor],
    image_masks: list[Tensor],
    tokens: Tensor,
    token_mask: Tensor,
    state_tokens: Tensor,
) -> tuple[PrefixCache, Tensor]:
    """Runs one VLM over images, language and the state tokens of its members.

    Args:
        policy: gives the VLM.
        images: one (1, 3, H, W) for each camera, from LeRobot's `prepare_images`.
        image_masks: one (1,) for each camera, False for a camera that is absent.
        tokens: the instruction, shape (1, L).
        token_mask: which tokens count, shape (1, L).
        state_tokens: shape (K', D), K' the members that share the VLM.

    Returns:
        The keys and values that each member's expert attends to, and the mean-pooled last hidden state (D,).
    """
    model = policy.model
    embeddings, valid = _embed_observation(policy, images, image_masks, tokens, token_mask)
    shared, members = embeddings.shape[1], state_tokens.shape[0]
    device = embeddings.device
    # As in LeRobot, a bf16 VLM's embeddings join the fp32 state tokens in fp32: the state is not rounded here.
    sequence = torch.cat([embeddings, state_tokens[None]], dim=1)
    # Image and language tokens see each other; state token k sees them and itself, but no other member's state.
    mask = torch.zeros(shared + members, shared + members, dtype=torch.bool, device=device)
    mask[:, :shared] = valid
    mask[:shared] &= valid[:, None]
    mask[shared:, shared:] = torch.eye(members, dtype=torch.bool, device=device)
    count = valid.sum()
    positions = torch.cat([valid.cumsum(0) - 1, count.expand(members)])
    (hidden, _), cache = model.vlm_with_expert.forward(
        attention_mask=mask[None],
        position_ids=positions[None],
        past_key_values=None,
        inputs_embeds=[sequence, None],
        use_cache=True,
    )
    keys = torch.stack([_member_view(layer.keys[0], shared, members) for layer in cache.layers])
    values = torch.stack([_member_view(layer.values[0], shared, members) for layer in cache.layers])
    member_valid = torch.cat([valid, torch.ones(1, dtype=torch.bool, device=device)])
    hidden = hidden[0].float()
    pooled = (hidden[:shared][valid].sum(0) + hidden[shared:].mean(0)) / (count + 1)
    return PrefixCache(keys, values, member_valid), pooled


def _member_view(cached: Tensor, shared: int, members: int) -> Tensor:
    """(heads, n + K, d) of the joint run -> (K, heads, n + 1, d): a member sees the shared part and its own state."""
    common = cached[:, :shared].expand(members, -1, -1, -1)
    own = cached[:, shared:].transpose(0, 1)[:, :, None]
    return torch.cat([common, own], dim=2)


def _embed_observation(
    policy: SmolVLAPolicy, images: list[Tensor], image_masks: list[Tensor], tokens: Tensor, token_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Image and language embeddings (1, n, D) and their validity (n,), in the order of SmolVLA's `embed_prefix`."""
    model = policy.model
    vlm = model.vlm_with_expert
    encoded = vlm.embed_image(torch.cat(images))  # all cameras in one call
    encoded = encoded * torch.tensor(encoded.shape[-1] ** 0.5, dtype=encoded.dtype, device=encoded.device)
    parts: list[Tensor] = []
    valid: list[Tensor] = []
    always = torch.ones(1, dtype=torch.bool, device=encoded.device)

    def add_special(ids: Tensor) -> None:
        special = vlm.embed_language_tokens(ids.to(encoded.device))
        parts.append(special)
        valid.append(always.expand(len(ids)))

    for camera, mask in zip(encoded, image_masks, strict=True):
        if model.add_image_special_tokens:
            add_special(model.global_image_start_token)
        parts.append(camera)
        valid.append(mask.expand(len(camera)))
        if model.add_image_special_tokens:
            add_special(model.image_end_token)
    language = vlm.embed_language_tokens(tokens[0])
    parts.append(language * math.sqrt(language.shape[-1]))
    valid.append(token_mask[0].bool())
    return torch.cat(parts)[None], torch.cat(valid)
