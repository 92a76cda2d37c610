"""Rotary position embedding as in LeRobot's `apply_rope`, its sines and cosines made once."""

from __future__ import annotations

import torch
from torch import Tensor

_WAVELENGTH = 10_000.0  # apply_rope's default in LeRobot; rope_theta of the configuration is not used there


def rope_factors(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Sine and cosine for positions (n,), each (n, 1, head_dim / 2)."""
    half = head_dim // 2
    exponents = (2.0 / head_dim) * torch.arange(half, dtype=torch.float32, device=positions.device)
    radians = positions[:, None].float() / (_WAVELENGTH**exponents)[None]
    return radians.sin()[:, None], radians.cos()[:, None]


def rotate(x: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """Applies rotary position embedding to (..., n, heads, d)."""
    sin, cos = factors
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
