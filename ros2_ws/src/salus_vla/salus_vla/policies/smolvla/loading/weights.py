"""Safetensors files read straight into their final place, hashed and compared without a copy of the whole.

`safetensors.safe_open` maps the file, so that reading a model twice its size counts as memory of the process; and it
gives a tensor of its own, which would be copied once more into the stack of all members. Here bytes go from the file
into the final tensor, or through one buffer of `_CHUNK` bytes when that is on another device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from salus_vla.contract.errors import ModelError

_TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
_CHUNK = 1 << 23


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file.

    Attributes:
        dtype, shape: of the tensor.
        begin, end: bytes, counted from the start of the file.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class WeightFile:
    """The header of a safetensors file, and access to its bytes."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        """Reads the header.

        Args:
            path: of the file.
            prefix: put before each name of the file, where it stores a part under the part's own names.

        Raises:
            ModelError: the file is damaged, or a tensor has a type that no policy is stored in.
        """
        self.path = path
        try:
            with safe_open(path, framework="pt"):  # checks sizes and offsets of the whole header
                pass
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header: dict[str, Any] = json.loads(file.read(length))
        except Exception as error:  # safetensors has one class of its own, the system and json have theirs
            raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
        header.pop("__metadata__", None)
        self.tensors: dict[str, StoredTensor] = {}
        for key, entry in header.items():
            if entry["dtype"] not in _TYPES:
                raise ModelError(f"{path}: '{key}' has type {entry['dtype']}, expected one of {', '.join(_TYPES)}")
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            self.tensors[prefix + key] = StoredTensor(_TYPES[entry["dtype"]], tuple(entry["shape"]), begin, end)

    def read(self, targets: Mapping[str, Tensor]) -> str:
        """Reads tensors into place and hashes them on the way.

        Args:
            targets: contiguous tensors of the stored shapes, on any device and of any floating-point type.

        Returns:
            The same as `content_hash` of the stored tensors.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            for key in sorted(targets):
                target, stored = targets[key], self.tensors[key]
                digest.update(_describe(key, stored.dtype, stored.shape))
                file.seek(stored.begin)
                place = target.detach()
                if place.device.type != "cpu" or place.dtype != stored.dtype:
                    place = torch.empty(stored.shape, dtype=stored.dtype)
                view = _bytes_of(place)
                for start in range(0, len(view), _CHUNK):  # hashed while it is in the processor's cache
                    part = view[start : start + _CHUNK]
                    if file.readinto(part) != len(part):
                        raise ModelError(f"{self.path}: '{key}' is shorter than its header says")
                    digest.update(part)
                if place.data_ptr() != target.data_ptr():
                    target.detach().copy_(place)
        return digest.hexdigest()[:16]

    def same_bytes(self, other: WeightFile, keys: Iterable[str]) -> bool:
        """Whether two files have the same types, shapes and bytes for these keys."""
        ones, twos = ([file.tensors[key] for key in sorted(keys)] for file in (self, other))
        if any((one.dtype, one.shape) != (two.dtype, two.shape) for one, two in zip(ones, twos, strict=True)):
            return False
        if ones == twos and self.path.samefile(other.path):
            return True
        left, right = bytearray(_CHUNK), bytearray(_CHUNK)
        with self.path.open("rb") as first, other.path.open("rb") as second:
            for one, two in zip(ones, twos, strict=True):
                first.seek(one.begin)
                second.seek(two.begin)
                for start in range(0, one.end - one.begin, _CHUNK):
                    size = min(_CHUNK, one.end - one.begin - start)
                    if first.readinto(memoryview(left)[:size]) != second.readinto(memoryview(right)[:size]):
                        return False
                    if left != right:  # what is behind `size` is equal from the chunk before
                        return False
        return True


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, first 16 hex digits; equal weights give equal hashes anywhere."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().contiguous()
        digest.update(_describe(key, value.dtype, tuple(value.shape)))
        digest.update(_bytes_of(value))
    return digest.hexdigest()[:16]


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of a tensor with a value that is not finite, or None. One synchronisation if all is well.

    A sum is NaN or infinite if any value is; it may also overflow, so a suspect is looked at value by value. This needs
    no memory of the tensor's size.
    """
    if not tensors:
        return None
    names = list(tensors)
    sums = torch.stack([tensors[name].sum(dtype=torch.float32) for name in names])
    if bool(sums.isfinite().all()):
        return None
    return next((name for name in names if not bool(tensors[name].isfinite().all())), None)


def _describe(key: str, dtype: torch.dtype, shape: tuple[int, ...]) -> bytes:
    return f"{key}|{dtype}|{shape}|".encode()


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    flat = tensor.reshape(-1) if prod(tensor.shape) else tensor.new_zeros(0)
    return memoryview(flat.view(torch.uint8).numpy()).cast("B") if flat.numel() else memoryview(bytearray())
