"""The action experts of K members as one batched model: stacked weights, batched matrix products.

Follows `VLAFlowMatching.denoise_step` and `SmolVLMWithExpertModel` of LeRobot 0.6.1 operation by operation, including
where they change precision, so that a mixed bf16 checkpoint behaves as it does there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import create_sinusoidal_pos_embedding
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.inference.linear import BatchedLinear, Linear, pack, worth_packing
from salus_vla.policies.smolvla.inference.rope import rope_factors, rotate

_EXPERT = "model.vlm_with_expert.lm_expert."


class AttentionContext(NamedTuple):
    """What the experts attend to in one decision; the same for all denoising steps.

    Attributes:
        rope_cross, rope_self: sine and cosine for the chunk's positions, each (H, 1, head dim / 2).
        mask_cross: which prefix tokens count, (1, n).
        mask_self: the same and what each row of the chunk sees of the chunk, (groups * H, n + H).
        prefix: for each layer keys and values (K, kv heads, n, head dim).
    """

    rope_cross: tuple[Tensor, Tensor]
    rope_self: tuple[Tensor, Tensor]
    mask_cross: Tensor
    mask_self: Tensor
    prefix: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _RmsNorm:
    """K root-mean-square norms; weight (K, 1, D). Same as transformers' LlamaRMSNorm."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, D) -> (K, n, D)."""
        full = x.float()
        square = torch.linalg.vector_norm(full, dim=-1, keepdim=True).square()  # a sum without a temporary
        full = full * torch.rsqrt(square / full.shape[-1] + self.epsilon)
        return self.weight * full.to(x.dtype)


@dataclass(frozen=True)
class _Layer:
    """A layer of the experts.

    Attributes:
        query: of a cross layer the query alone; of a self-attention layer query, key and value in one product.
        key, value: of a cross layer the projections of the VLM's keys and values.
        gate_up: gate and up in one product.
    """

    norm_in: _RmsNorm
    query: Linear
    key: Linear | None
    value: Linear | None
    o: Linear
    norm_out: _RmsNorm
    gate_up: Linear
    down: Linear


class ExpertStack:
    """Action experts and projections of K members, evaluated together."""

    def __init__(
        self, policy: SmolVLAPolicy, experts: dict[str, Tensor], *, packed: bool = False, samples: int = 1
    ) -> None:
        """Takes over the members' own tensors.

        Args:
            policy: any of the members' policies; gives the configuration.
            experts: LeRobot's key -> (K, ...). Emptied: what is joined here is not kept twice.
            packed: keep large fp32 weights on the CPU in oneDNN's layout; torch.compile cannot read that.
            samples: noise samples expected; packing is made for them.

        Raises:
            ModelError: the expert has fewer layers than the VLM (fails in LeRobot 0.6.1 as well).
        """
        vlm = policy.model.vlm_with_expert
        if vlm.num_expert_layers != vlm.num_vlm_layers:
            raise ModelError(
                f"num_expert_layers is {vlm.num_expert_layers}, the VLM has {vlm.num_vlm_layers} layers: must be equal"
            )
        self._config = policy.config
        self._packed, self._rows = packed, samples * policy.config.chunk_size
        self._tensors: dict[str, Tensor] = {}
        text = vlm.config.text_config
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        self.width: int = vlm.expert_hidden_size
        self._epsilon = vlm.lm_expert.config.rms_norm_eps
        self._layers = [self._layer(experts, i) for i in range(vlm.num_expert_layers)]
        self._norm = self._rms(experts, f"{_EXPERT}norm")
        self._state_proj = self._linear(experts, "model.state_proj")
        self._action_in = self._linear(experts, "model.action_in_proj")
        self._action_out = self._linear(experts, "model.action_out_proj")
        self._time_in = self._linear(experts, "model.action_time_mlp_in")
        self._time_out = self._linear(experts, "model.action_time_mlp_out")
        self.count = self._norm.weight.shape[0]
        device = self._norm.weight.device
        self.steps: int = self._config.num_steps
        times = torch.tensor([1.0 + step * (-1.0 / self.steps) for step in range(self.steps)], dtype=torch.float32)
        self._time_embedding = create_sinusoidal_pos_embedding(
            times.to(device), self.width, self._config.min_period, self._config.max_period, device=device
        )
        self._tensors["time_embedding"] = self._time_embedding

    def tensors(self) -> dict[str, Tensor]:
        """Every weight and constant, for the check of the device."""
        return dict(self._tensors)

    def state_tokens(self, state: Tensor) -> Tensor:
        """Each member's projection of the padded state: (1, padded state dim) -> (K, D)."""
        return self._state_proj(state[None].expand(self.count, -1, -1))[:, 0]

    def context(self, keys: Tensor, values: Tensor, valid: Tensor) -> AttentionContext:
        """What is the same for all steps.

        Args:
            keys: of the prefix, (layers, K, kv heads, n, head dim).
            values: the same.
            valid: which of the n prefix tokens count, (n,).
        """
        horizon = self._config.chunk_size
        steps = torch.arange(horizon, device=keys.device)
        # A member's cross-attention keys and values depend on the prefix only; its self-attention reads the VLM's own.
        prefix: list[tuple[Tensor, Tensor]] = []
        for index, layer in enumerate(self._layers):
            if layer.key is not None and layer.value is not None:
                key, value = self._project(layer.key, keys[index]), self._project(layer.value, values[index])
            else:
                key, value = keys[index], values[index]
            prefix.append((key.float(), value))
        causal = torch.ones(horizon, horizon, dtype=torch.bool, device=keys.device).tril()
        mask_self = torch.cat([valid.expand(horizon, -1), causal], dim=1).repeat(self._heads // self._kv_heads, 1)
        return AttentionContext(
            rope_cross=rope_factors(steps, self._head_dim),
            rope_self=rope_factors(steps + valid.sum(), self._head_dim),
            mask_cross=valid[None],
            mask_self=mask_self,
            prefix=prefix,
        )

    def start(self, noise: Tensor) -> Tensor:
        """Noise (S, H, P) for every member: (K, S * H, P)."""
        return noise.flatten(0, 1).expand(self.count, -1, -1).contiguous()  # as every step leaves it

    def time(self, step: int) -> Tensor:
        """Embedding of a step's time, (E,)."""
        return self._time_embedding[step]

    def step(self, x: Tensor, time: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """One Euler step of all members.

        Args:
            x: where the members are, (K, S * H, P), P the padded action dimension.
            time: of `time`.
            context: of `context`.

        Returns:
            Where they are after the step, and their last hidden state (K, S * H, E).
        """
        embedded = self._action_in(x)
        time = time.to(embedded.dtype).expand_as(embedded)
        hidden = self._time_out(F.silu(self._time_in(torch.cat([embedded, time], dim=-1))))
        for index, layer in enumerate(self._layers):
            attended = layer.o(self._attend(layer, layer.norm_in(hidden), context, index))
            attended += hidden
            gate, up = layer.gate_up(layer.norm_out(attended)).chunk(2, dim=-1)
            hidden = layer.down(F.silu(gate).mul_(up))
            hidden += attended
        hidden = self._norm(hidden)
        return x + (-1.0 / self.steps) * self._action_out(hidden.float()), hidden

    def _attend(self, layer: _Layer, x: Tensor, context: AttentionContext, index: int) -> Tensor:
        """(K, S*H, E) -> (K, S*H, heads * head dim)."""
        keys, values = context.prefix[index]
        cross = layer.key is not None
        rope = context.rope_cross if cross else context.rope_self
        members, groups, horizon = x.shape[0], self._heads // self._kv_heads, self._config.chunk_size
        samples = x.shape[1] // horizon
        projected = layer.query(x).unflatten(1, (samples, horizon)).unflatten(3, (-1, self._head_dim))
        q = rotate(projected[..., : self._heads, :], rope)  # (K, S, H, heads, d)
        q = q.unflatten(3, (self._kv_heads, groups)).float()
        if cross:
            # All samples attend to the same keys: they join the query axis, nothing is copied.
            q = q.permute(0, 3, 4, 1, 2, 5).reshape(members, self._kv_heads, -1, self._head_dim)
            out = F.scaled_dot_product_attention(q, keys, values.float(), attn_mask=context.mask_cross)
            out = out.to(values.dtype).unflatten(2, (groups, samples, horizon))
            return out.permute(0, 3, 4, 1, 2, 5).reshape(members, samples * horizon, -1)
        k = rotate(projected[..., self._heads : self._heads + self._kv_heads, :], rope)
        v = projected[..., self._heads + self._kv_heads :, :]
        k = _join(keys, k.float())
        v = _join(values, v)
        q = q.permute(0, 1, 3, 4, 2, 5).reshape(members * samples, self._kv_heads, -1, self._head_dim)
        out = F.scaled_dot_product_attention(q, k, v.float(), attn_mask=context.mask_self).to(v.dtype)
        out = out.unflatten(0, (members, samples)).unflatten(3, (groups, horizon))
        return out.permute(0, 1, 4, 2, 3, 5).reshape(members, samples * horizon, -1)

    def _project(self, linear: Linear, cached: Tensor) -> Tensor:
        """The expert's own projection of the VLM's cache: (K, kv, n, d) -> (K, kv, n, d)."""
        flat = cached.transpose(1, 2).flatten(2)
        return linear(flat).unflatten(2, (self._kv_heads, self._head_dim)).transpose(1, 2)

    def _layer(self, experts: dict[str, Tensor], index: int) -> _Layer:
        every = self._config.self_attn_every_n_layers
        cross = "cross" in self._config.attention_mode and not (every > 0 and index % every == 0)
        base = f"{_EXPERT}layers.{index}."
        q, k, v = (f"{base}self_attn.{name}_proj" for name in "qkv")
        return _Layer(
            norm_in=self._rms(experts, f"{base}input_layernorm"),
            query=self._linear(experts, q) if cross else self._linear(experts, q, k, v),
            key=self._linear(experts, k) if cross else None,
            value=self._linear(experts, v) if cross else None,
            o=self._linear(experts, f"{base}self_attn.o_proj"),
            norm_out=self._rms(experts, f"{base}post_attention_layernorm"),
            gate_up=self._linear(experts, f"{base}mlp.gate_proj", f"{base}mlp.up_proj"),
            down=self._linear(experts, f"{base}mlp.down_proj"),
        )

    def _linear(self, experts: dict[str, Tensor], *names: str) -> Linear:
        """Takes a linear map, or several of the same input as one with their outputs side by side."""
        weight_names = [f"{name}.weight" for name in names]
        weight = self._take(experts, weight_names)
        bias = None
        if f"{names[0]}.bias" in experts:
            bias = self._take(experts, [f"{name}.bias" for name in names])[:, None]
        if not (self._packed and worth_packing(weight)):
            return BatchedLinear(weight, bias)
        linear = pack(weight, bias, self._rows)
        del self._tensors[_joined(weight_names)]  # not kept twice
        self._tensors |= {f"{_joined(weight_names)}, member {k}": own for k, own in enumerate(linear.weights)}
        return linear

    def _rms(self, experts: dict[str, Tensor], name: str) -> _RmsNorm:
        return _RmsNorm(self._take(experts, [f"{name}.weight"])[:, None], self._epsilon)

    def _take(self, experts: dict[str, Tensor], keys: Sequence[str]) -> Tensor:
        parts = [experts.pop(key) for key in keys]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        self._tensors[_joined(keys)] = joined
        return joined


def _joined(keys: Sequence[str]) -> str:
    return " + ".join(keys)


def _join(prefix: Tensor, suffix: Tensor) -> Tensor:
    """Prefix (K, kv, n, d) before suffix (K, S, H, kv, d) -> (K*S, kv, n + H, d)."""
    prefix = prefix[:, None].expand(-1, suffix.shape[1], -1, -1, -1)
    return torch.cat([prefix, suffix.transpose(2, 3)], dim=3).flatten(0, 1)
