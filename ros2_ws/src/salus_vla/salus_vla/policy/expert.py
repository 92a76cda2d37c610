"""The action experts of K members as one batched model: stacked weights, batched matrix products.

Follows `VLAFlowMatching.denoise_step` and `SmolVLMWithExpertModel` of LeRobot 0.6.1 operation by operation, including
where they change precision, so that a mixed bf16 checkpoint behaves as it does there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import create_sinusoidal_pos_embedding
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from salus_vla.errors import ModelError

_EXPERT = "model.vlm_with_expert.lm_expert."
_ROPE_WAVELENGTH = 10_000.0  # apply_rope's default in LeRobot; rope_theta of the configuration is not used there


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of the prefix as each member's expert sees them.

    Attributes:
        keys, values: shape (layers, K, kv heads, n, head dim), after RoPE.
        valid: which of the n prefix tokens count, shape (n,).
    """

    keys: Tensor
    values: Tensor
    valid: Tensor

    @staticmethod
    def merge(caches: Sequence[PrefixCache], order: Sequence[int]) -> PrefixCache:
        """Joins the caches of several VLMs; `order[i]` is the member that row i of the joined caches belongs to."""
        if len(caches) == 1:
            return caches[0]
        back = torch.tensor([list(order).index(k) for k in range(len(order))], device=caches[0].keys.device)
        keys = torch.cat([cache.keys for cache in caches], dim=1)[:, back]
        values = torch.cat([cache.values for cache in caches], dim=1)[:, back]
        return PrefixCache(keys, values, caches[0].valid)


@dataclass(frozen=True)
class _Linear:
    """K linear maps; weight is stored transposed, (K, in, out), bias (K, 1, out) or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, in) -> (K, n, out), in the precision of the weight."""
        x = x.to(self.weight.dtype)
        return torch.bmm(x, self.weight) if self.bias is None else torch.baddbmm(self.bias, x, self.weight)


@dataclass(frozen=True)
class _RmsNorm:
    """K root-mean-square norms; weight (K, 1, D). Same as transformers' LlamaRMSNorm."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, D) -> (K, n, D)."""
        full = x.float()
        full = full * torch.rsqrt(full.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * full.to(x.dtype)


@dataclass(frozen=True)
class _Layer:
    cross: bool
    norm_in: _RmsNorm
    q: _Linear
    k: _Linear
    v: _Linear
    o: _Linear
    norm_out: _RmsNorm
    gate: _Linear
    up: _Linear
    down: _Linear


class ExpertStack:
    """Action experts and projections of K members, evaluated together."""

    def __init__(self, policy: SmolVLAPolicy, members: Sequence[dict[str, Tensor]]) -> None:
        """Stacks the members' own tensors.

        Args:
            policy: any of the members' policies; gives configuration and precision of each weight.
            members: each member's own tensors by LeRobot's key.

        Raises:
            ModelError: the expert has fewer layers than the VLM (fails in LeRobot 0.6.1 as well).
        """
        vlm = policy.model.vlm_with_expert
        if vlm.num_expert_layers != vlm.num_vlm_layers:
            raise ModelError(
                f"num_expert_layers is {vlm.num_expert_layers}, the VLM has {vlm.num_vlm_layers} layers: must be equal"
            )
        self._config = policy.config
        self._members = members
        self.count = len(members)
        text = vlm.config.text_config
        self._heads, self._kv_heads, self._head_dim = text.num_attention_heads, text.num_key_value_heads, text.head_dim
        self._width = vlm.expert_hidden_size
        self._epsilon = vlm.lm_expert.config.rms_norm_eps
        self._layers = [self._layer(i) for i in range(vlm.num_expert_layers)]
        self._norm = self._rms(f"{_EXPERT}norm")
        self._state_proj = self._linear("model.state_proj")
        self._action_in = self._linear("model.action_in_proj")
        self._action_out = self._linear("model.action_out_proj")
        self._time_in = self._linear("model.action_time_mlp_in")
        self._time_out = self._linear("model.action_time_mlp_out")
        self._members = ()  # stacked now; the originals may be freed
        device = self._norm.weight.device
        steps = self._config.num_steps
        times = torch.tensor([1.0 + step * (-1.0 / steps) for step in range(steps)], dtype=torch.float32, device=device)
        self._time_embedding = create_sinusoidal_pos_embedding(
            times, self._width, self._config.min_period, self._config.max_period, device=device
        )

    def state_tokens(self, state: Tensor) -> Tensor:
        """Each member's projection of the padded state: (1, padded state dim) -> (K, D)."""
        return self._state_proj(state[None].expand(self.count, -1, -1))[:, 0]

    def denoise(self, prefix: PrefixCache, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Integrates the velocity fields from noise to actions.

        Args:
            prefix: what the experts attend to.
            noise: shape (S, H, padded action dimension), the same for all members.

        Returns:
            Actions (K, S, H, padded action dimension) and the experts' last hidden state (K, S, H, E).
        """
        samples, horizon, dimension = noise.shape
        x = noise.reshape(1, samples * horizon, dimension).expand(self.count, -1, -1)
        attention = _Attention(self, prefix, samples, horizon)
        steps = self._config.num_steps
        hidden = x
        for step in range(steps):
            hidden = self._hidden(x, self._time_embedding[step], attention)
            x = x + (-1.0 / steps) * self._action_out(hidden.float())
        shape = (self.count, samples, horizon)
        return x.reshape(*shape, dimension), hidden.reshape(*shape, -1)

    def _hidden(self, x: Tensor, time: Tensor, attention: _Attention) -> Tensor:
        embedded = self._action_in(x)
        time = time.to(embedded.dtype).expand_as(embedded)
        hidden = self._time_out(F.silu(self._time_in(torch.cat([embedded, time], dim=-1))))
        for index, layer in enumerate(self._layers):
            attended = layer.o(attention(index, layer, layer.norm_in(hidden)))
            attended += hidden
            out = layer.norm_out(attended)
            out = layer.down(F.silu(layer.gate(out)) * layer.up(out))
            out += attended
            hidden = out
        return self._norm(hidden)

    def _layer(self, index: int) -> _Layer:
        every = self._config.self_attn_every_n_layers
        cross = "cross" in self._config.attention_mode and not (every > 0 and index % every == 0)
        base = f"{_EXPERT}layers.{index}."
        return _Layer(
            cross=cross,
            norm_in=self._rms(f"{base}input_layernorm"),
            q=self._linear(f"{base}self_attn.q_proj"),
            k=self._linear(f"{base}self_attn.k_proj"),
            v=self._linear(f"{base}self_attn.v_proj"),
            o=self._linear(f"{base}self_attn.o_proj"),
            norm_out=self._rms(f"{base}post_attention_layernorm"),
            gate=self._linear(f"{base}mlp.gate_proj"),
            up=self._linear(f"{base}mlp.up_proj"),
            down=self._linear(f"{base}mlp.down_proj"),
        )

    def _linear(self, name: str) -> _Linear:
        weight = torch.stack([member[f"{name}.weight"].t() for member in self._members]).contiguous()
        bias = None
        if f"{name}.bias" in self._members[0]:
            bias = torch.stack([member[f"{name}.bias"] for member in self._members])[:, None]
        return _Linear(weight, bias)

    def _rms(self, name: str) -> _RmsNorm:
        return _RmsNorm(torch.stack([member[f"{name}.weight"] for member in self._members])[:, None], self._epsilon)

    @property
    def heads(self) -> tuple[int, int, int]:
        """Query heads, key-value heads, head dimension."""
        return self._heads, self._kv_heads, self._head_dim

    @property
    def layers(self) -> Sequence[_Layer]:
        """The stacked layers."""
        return self._layers


class _Attention:
    """Attention of the experts for one observation; what does not change over the denoising steps is made once."""

    def __init__(self, stack: ExpertStack, prefix: PrefixCache, samples: int, horizon: int) -> None:
        self._stack, self._samples, self._horizon = stack, samples, horizon
        self._heads, self._kv_heads, self._head_dim = stack.heads
        device = prefix.keys.device
        steps = torch.arange(horizon, device=device)
        self._rope_cross = _rope_factors(steps, self._head_dim)
        self._rope_self = _rope_factors(steps + prefix.valid.sum(), self._head_dim)
        # A member's cross-attention keys and values depend on the prefix only; its self-attention reads the VLM's own.
        self._prefix: list[tuple[Tensor, Tensor]] = []
        for layer, keys, values in zip(stack.layers, prefix.keys, prefix.values, strict=True):
            if layer.cross:
                self._prefix.append((self._project(layer.k, keys).float(), self._project(layer.v, values)))
            else:
                self._prefix.append((keys.float(), values))
        causal = torch.ones(horizon, horizon, dtype=torch.bool, device=device).tril()
        seen = prefix.valid.expand(horizon, -1)
        groups = self._heads // self._kv_heads
        self._mask_self = torch.cat([seen, causal], dim=1).repeat(groups, 1)
        self._mask_cross = prefix.valid[None]

    def __call__(self, index: int, layer: _Layer, x: Tensor) -> Tensor:
        """(K, S*H, E) -> (K, S*H, heads * head dim)."""
        keys, values = self._prefix[index]
        members = x.shape[0]
        rope = self._rope_cross if layer.cross else self._rope_self
        q = self._split(layer.q(x), self._heads)  # (K, S, H, heads, d)
        q = _rotate(q, rope)
        groups = self._heads // self._kv_heads
        q = q.unflatten(3, (self._kv_heads, groups)).float()
        if layer.cross:
            # All samples attend to the same keys: they join the query axis, nothing is copied.
            q = q.permute(0, 3, 4, 1, 2, 5).reshape(members, self._kv_heads, -1, self._head_dim)
            out = F.scaled_dot_product_attention(q, keys, values.float(), attn_mask=self._mask_cross)
            out = out.to(values.dtype).unflatten(2, (groups, self._samples, self._horizon))
            return out.permute(0, 3, 4, 1, 2, 5).reshape(members, self._samples * self._horizon, -1)
        k = _rotate(self._split(layer.k(x), self._kv_heads), rope)
        v = self._split(layer.v(x), self._kv_heads)
        k = self._join(keys, k.float())
        v = self._join(values, v)
        q = q.permute(0, 1, 3, 4, 2, 5).reshape(members * self._samples, self._kv_heads, -1, self._head_dim)
        out = F.scaled_dot_product_attention(q, k, v.float(), attn_mask=self._mask_self).to(v.dtype)
        out = out.unflatten(0, (members, self._samples)).unflatten(3, (groups, self._horizon))
        return out.permute(0, 1, 4, 2, 3, 5).reshape(members, self._samples * self._horizon, -1)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """(K, S*H, heads * d) -> (K, S, H, heads, d)."""
        return x.unflatten(1, (self._samples, self._horizon)).unflatten(3, (heads, self._head_dim))

    def _join(self, prefix: Tensor, suffix: Tensor) -> Tensor:
        """Prefix (K, kv, n, d) before suffix (K, S, H, kv, d) -> (K*S, kv, n + H, d)."""
        prefix = prefix[:, None].expand(-1, self._samples, -1, -1, -1)
        return torch.cat([prefix, suffix.transpose(2, 3)], dim=3).flatten(0, 1)

    def _project(self, linear: _Linear, cached: Tensor) -> Tensor:
        """The expert's own projection of the VLM's cache: (K, kv, n, d) -> (K, kv, n, d)."""
        flat = cached.transpose(1, 2).flatten(2)
        return linear(flat).unflatten(2, (self._kv_heads, self._head_dim)).transpose(1, 2)


def _rope_factors(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Sine and cosine for positions (H,), each (H, 1, head_dim / 2), as in LeRobot's `apply_rope`."""
    half = head_dim // 2
    exponents = (2.0 / head_dim) * torch.arange(half, dtype=torch.float32, device=positions.device)
    radians = positions[:, None].float() / (_ROPE_WAVELENGTH**exponents)[None]
    return radians.sin()[:, None], radians.cos()[:, None]


def _rotate(x: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """Applies rotary position embedding to (K, S, H, heads, d)."""
    sin, cos = factors
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
