"""K linear maps as one operation, in the form that suits the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Above this many weights a member's product is bound by how oneDNN and MKL block it, below by the calls themselves.
# Measured on AVX-512 with 32 to 50 rows: at 384 x 1040 packed weights take 0.65 of the time of a batched product,
# at 192 x 1040 the same, at 192 x 256 more than twice.
_PACK_FROM = 2**18
# Rows a multiple of 4 KiB apart fall into the same cache sets: 50 x 720 x 4096 takes 1.6 times as long as 4112 does.
_ALIASING, _PADDING = 1024, 16


class Linear(Protocol):
    """K linear maps."""

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, in) -> (K, n, out), in the precision of the weight."""
        ...


@dataclass(frozen=True)
class BatchedLinear:
    """One batched product; weight (K, out, in) as LeRobot stores it, bias (K, 1, out) or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, in) -> (K, n, out), in the precision of the weight."""
        x = x.to(self.weight.dtype)
        weight = self.weight.transpose(1, 2)
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias, x, weight)


@dataclass(frozen=True)
class PackedLinear:
    """Member by member with weights in oneDNN's own layout, fp32 on the CPU.

    Attributes:
        weights: of each member, packed, with up to `_PADDING` outputs that nobody reads.
        biases: of each member, padded likewise, or None.
        out: outputs of a member.
    """

    weights: list[Tensor]
    biases: list[Tensor] | list[None]
    out: int

    def __call__(self, x: Tensor) -> Tensor:
        """(K, n, in) -> (K, n, out), in fp32."""
        product = torch.ops.mkldnn._linear_pointwise
        rows = x.float().unbind()
        members = [
            product(row.contiguous(), weight, bias, "none", [], "")
            for row, weight, bias in zip(rows, self.weights, self.biases, strict=True)
        ]
        return torch.stack(members)[..., : self.out]


def worth_packing(weight: Tensor) -> bool:
    """Whether `pack` makes the products of these K weights (K, out, in) faster than one batched product."""
    suits = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return suits and weight[0].numel() >= _PACK_FROM


def pack(weight: Tensor, bias: Tensor | None, rows: int) -> PackedLinear:
    """Packs weights (K, out, in) and biases (K, 1, out) for inputs of about this many rows."""
    out = weight.shape[1]
    extra = _PADDING if out % _ALIASING == 0 else 0
    weights: list[Tensor] = []
    for own in weight:
        padded = torch.nn.functional.pad(own, (0, 0, 0, extra)) if extra else own.contiguous()
        weights.append(torch.ops.mkldnn._reorder_linear_weight(padded, rows))
    if bias is None:
        return PackedLinear(weights, [None] * len(weights), out)
    return PackedLinear(weights, [torch.nn.functional.pad(own[0], (0, extra)) for own in bias], out)
