"""The VLM of an ensemble as pure tensor functions: images to features, features and states to keys and values.

Follows `SmolVLMVisionTransformer` of transformers 5.5 and `SmolVLMWithExpertModel` of LeRobot 0.6.1 operation by
operation, but asks the device for no value and uploads no constant, so that the whole can be recorded in a CUDA graph.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor, nn

from salus_vla.policies.smolvla.inference.rope import rope_factors, rotate


class PrefixCache(NamedTuple):
    """Keys and values of the prefix as each member's expert sees them.

    Attributes:
        keys, values: shape (layers, K, kv heads, n, head dim), after RoPE.
        valid: which of the n prefix tokens count, shape (n,).
        pooled: mean-pooled last hidden state, sum over the members, shape (D,).
        parts: the same of each camera's tokens and of the rest, instruction and state, (C + 1, D); NaN for a camera
            that is not present.
    """

    keys: Tensor
    values: Tensor
    valid: Tensor
    pooled: Tensor
    parts: Tensor


class VlmPrefix:
    """One VLM: vision tower, connector and text layers. Holds no other part of the policy."""

    def __init__(self, policy: SmolVLAPolicy, device: torch.device) -> None:
        """Takes the modules of a policy, whose VLM is on `device`."""
        both = policy.model.vlm_with_expert
        vlm = both.get_vlm_model()
        text = both.config.text_config
        self._vision, self._connector, self._text = vlm.vision_model, vlm.connector, vlm.text_model
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        # LeRobot rounds this factor to the features' precision, and not the one of the language.
        self._scale = float(torch.tensor(text.hidden_size**0.5, dtype=self._vision.dtype))
        self._patch_ids: dict[tuple[int, int], Tensor] = {}
        self._device = device
        self._special: tuple[Tensor, Tensor] | None = None
        if policy.model.add_image_special_tokens:
            ids = policy.model.global_image_start_token, policy.model.image_end_token
            with torch.inference_mode():
                start, end = (self._text.get_input_embeddings()(token.to(device)) for token in ids)
            self._special = start, end

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Every parameter, buffer and constant, for the check of the device."""
        parts = {"vision": self._vision, "connector": self._connector, "text": self._text}
        tensors: dict[str, Tensor] = {}
        for part, module in parts.items():
            tensors |= {f"{name}.{part}.{key}": value for key, value in _state(module)}
        if self._special:
            tensors |= {f"{name}.special.{i}": value for i, value in enumerate(self._special)}
        return tensors

    def prepare(self, height: int, width: int) -> None:
        """Finds the positions of the patches of images of this size, once.

        transformers computes them at every call through a mask of valid patches, which needs a value from the device.
        All patches are valid here; so its own code runs once, and what it looks up is kept.
        """
        if (height, width) in self._patch_ids:
            return
        embeddings = self._vision.embeddings
        found: list[Tensor] = []
        hook = embeddings.position_embedding.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        patch = embeddings.patch_size
        mask = torch.ones(1, height // patch, width // patch, dtype=torch.bool, device=self._device)
        pixels = torch.zeros(1, 3, height, width, dtype=self._vision.dtype, device=self._device)
        try:
            with torch.inference_mode():
                embeddings(pixel_values=pixels, patch_attention_mask=mask)
        finally:
            hook.remove()
        self._patch_ids[height, width] = found[0].clone()

    def encode(self, images: Tensor) -> Tensor:
        """Images (C, 3, height, width) in [-1, 1] to scaled features (C, T, D). `prepare` must know the size."""
        vision = self._vision
        pixels = images.to(vision.dtype)
        patches = vision.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        hidden = patches + vision.embeddings.position_embedding(self._patch_ids[images.shape[2], images.shape[3]])
        for layer in vision.encoder.layers:
            hidden = layer(hidden, None)
        features: Tensor = self._connector(vision.post_layernorm(hidden))
        return features * self._scale

    def embed_language(self, tokens: Tensor) -> Tensor:
        """Tokens (L,) to scaled embeddings (L, D)."""
        language: Tensor = self._text.get_input_embeddings()(tokens)
        return language * math.sqrt(language.shape[-1])

    def run(
        self, features: Tensor, image_valid: Tensor, language: Tensor, token_valid: Tensor, states: Tensor
    ) -> PrefixCache:
        """Runs the text layers over images, language and the state tokens of the members.

        Args:
            features: of `encode`, (C, T, D).
            image_valid: which cameras are present, (C,).
            language: of `embed_language`, (L, D).
            token_valid: which tokens count, (L,).
            states: state tokens of the K' members that share the VLM, (K', D).
        """
        embeddings, valid = self._sequence(features, image_valid, language, token_valid)
        shared, members, device = len(embeddings), len(states), embeddings.device
        # As in LeRobot, a bf16 VLM's embeddings join the fp32 state tokens in fp32: the state is not rounded here.
        hidden = torch.cat([embeddings, states])[None]
        # Image and language tokens see each other; state token k sees them and itself, but no other member's state.
        seen = valid[:, None] & valid
        apart = torch.zeros(shared, members, dtype=torch.bool, device=device)
        own = torch.eye(members, dtype=torch.bool, device=device)
        mask = torch.cat([torch.cat([seen, apart], 1), torch.cat([valid.expand(members, -1), own], 1)])
        count = valid.sum()
        rope = rope_factors(torch.cat([valid.cumsum(0) - 1, count.expand(members)]), self._head_dim)
        keys, values = [], []
        for layer in self._text.layers:
            hidden, key, value = self._layer(layer, hidden, mask, rope)
            keys.append(_member_view(key, shared, members))
            values.append(_member_view(value, shared, members))
        last = self._text.norm(hidden)[0].float()
        common = torch.where(valid[:, None], last[:shared], 0.0).sum(0)
        pooled = (members * common + last[shared:].sum(0)) / (count + 1)
        parts = _parts(last, valid, shared - len(language), image_valid, members)
        member_valid = torch.cat([valid, torch.ones(1, dtype=torch.bool, device=device)])
        return PrefixCache(torch.stack(keys), torch.stack(values), member_valid, pooled, parts)

    def _sequence(
        self, features: Tensor, image_valid: Tensor, language: Tensor, token_valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Image and language embeddings (n, D) and their validity (n,), in the order of SmolVLA's `embed_prefix`."""
        parts: list[Tensor] = []
        valid: list[Tensor] = []
        always = torch.ones(1, dtype=torch.bool, device=features.device)
        for index in range(len(features)):
            pieces = [(features[index], image_valid[index : index + 1])]
            if self._special:
                start, end = self._special
                pieces = [(start, always), *pieces, (end, always)]
            for piece, piece_valid in pieces:
                parts.append(piece)
                valid.append(piece_valid.expand(len(piece)))
        return torch.cat([*parts, language]), torch.cat([*valid, token_valid])

    def _layer(self, layer: Any, x: Tensor, mask: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """One text layer: (1, n, D) -> (1, n, D), keys and values (n, kv heads, d)."""
        attention = layer.self_attn
        normed = layer.input_layernorm(x).to(attention.q_proj.weight.dtype)
        query = rotate(attention.q_proj(normed).unflatten(2, (self._heads, self._head_dim)), rope)
        key = rotate(attention.k_proj(normed).unflatten(2, (self._kv_heads, self._head_dim)), rope)
        value = attention.v_proj(normed).unflatten(2, (self._kv_heads, self._head_dim))
        attended = self._attend(query, key, value, mask)
        out = attention.o_proj(attended.to(attention.o_proj.weight.dtype))
        out += x
        attended = out
        out = layer.mlp(layer.post_attention_layernorm(attended))
        out += attended
        return out, key[0], value[0]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """LeRobot's attention: scores and softmax in fp32, the values in their own precision."""
        groups = self._heads // self._kv_heads
        key, value = (x.repeat_interleave(groups, dim=2).transpose(1, 2) for x in (key, value))
        scores = torch.matmul(query.float().transpose(1, 2), key.float().transpose(2, 3))
        scores = scores * self._head_dim**-0.5
        scores = torch.where(mask, scores, torch.finfo(torch.float32).min)
        weights = scores.softmax(dim=-1).to(value.dtype)
        return torch.matmul(weights, value).transpose(1, 2).flatten(2)


def _parts(last: Tensor, valid: Tensor, images: int, image_valid: Tensor, members: int) -> Tensor:
    """Means of the last hidden state over each camera's tokens and over the rest, sum over the members, (C + 1, D).

    Args:
        last: of all tokens, (n + K', D): images, language, state tokens.
        valid: which of the first n count, (n,).
        images: how many of them are the cameras', the marks around an image included.
        image_valid: which cameras are present, (C,).
        members: K'.
    """
    cameras = len(image_valid)
    seen = torch.where(valid[:images, None], last[:images], 0.0).unflatten(0, (cameras, -1)).sum(1)
    counts = valid[:images].unflatten(0, (cameras, -1)).sum(1)
    means = torch.where(image_valid[:, None], seen / counts[:, None], float("nan"))
    text_valid = valid[images:]
    text = torch.where(text_valid[:, None], last[images : len(valid)], 0.0).sum(0)
    rest = (members * text + last[len(valid) :].sum(0)) / (text_valid.sum() + 1)
    return torch.cat([members * means, rest[None]])


def _member_view(cached: Tensor, shared: int, members: int) -> Tensor:
    """(n + K, heads, d) of the joint run -> (K, heads, n + 1, d): a member sees the shared part and its own state."""
    common = cached[:shared].transpose(0, 1).expand(members, -1, -1, -1)
    own = cached[shared:][:, :, None]
    return torch.cat([common, own], dim=2)


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]
