"""Which device has which members, and the check that everything of a member is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from salus_vla.config.policy_options import DTYPES
from salus_vla.contract.errors import ModelError


def place_members(members: int, devices: int) -> list[int]:
    """Index of the device for each member: contiguous, as even as possible, earlier devices take the rest.

    Args:
        members: number of members, at least 1.
        devices: number of devices, at least 1.

    Raises:
        ModelError: more devices than members: one would hold nothing.
    """
    if devices > members:
        raise ModelError(f"model.devices has {devices} devices for {members} members; give at most one for each member")
    base, rest = divmod(members, devices)
    return [device for device in range(devices) for _ in range(base + (device < rest))]


def parse_device(name: str, parameter: str = "model.device") -> torch.device:
    """A device that exists.

    Raises:
        ModelError: it does not, or torch cannot use it.
    """
    try:
        parsed = torch.device(name)
        if parsed.type == "cuda" and parsed.index is None:  # `cuda` is whichever is current; name one
            parsed = torch.device("cuda", torch.cuda.current_device())
        torch.empty(1, device=parsed)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{parameter} '{name}' cannot be used: {str(error).splitlines()[0]}") from error
    return parsed


def choose_dtype(dtype: str, device: torch.device) -> str:
    """What the weights are computed in on a device: `stored`, as LeRobot builds the policy, or `fp32`.

    Args:
        dtype: one of `DTYPES`. `auto` is fp32 on a CPU without instructions for bf16, else `stored`.
        device: where.

    Raises:
        ModelError: the dtype is not known.
    """
    if dtype not in DTYPES:
        raise ModelError(f"model.dtype is '{dtype}', expected one of {', '.join(DTYPES)}")
    if dtype != "auto":
        return dtype
    # A decision of five compact members in bf16 takes 0.7 of the time of fp32 with these instructions, 1.5 without
    # (3 on AVX2).
    return "fp32" if device.type == "cpu" and not _computes_bf16() else "stored"


def _computes_bf16() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def check_placed(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Raises ModelError, with the tensor's name, unless all are on the device."""
    for name, tensor in tensors.items():
        if tensor.device != device:
            raise ModelError(f"'{name}' is on {tensor.device}, everything of this ensemble belongs on {device}")


@contextlib.contextmanager
def explain_out_of_memory(what: str, device: torch.device, *, needed: int | None = None) -> Iterator[None]:
    """Turns a GPU's lack of memory into a ModelError that says what helps.

    Args:
        what: what was being done.
        device: where.
        needed: what it needs in total [bytes], if known; otherwise the driver's message tells about the last request.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        size = f"needs {_mib(needed)}" if needed is not None else "needs more than there is"
        raise ModelError(
            f"out of memory on {device}: {what} {size}, {_free_memory(device)}. What helps: fewer noise samples "
            "(model.noise_samples), checkpoints in bf16, several GPUs (model.devices), fewer members (model.members). "
            f"CUDA says: {str(error).splitlines()[0] if str(error) else 'nothing'}"
        ) from error


def _free_memory(device: torch.device) -> str:
    try:
        free, total = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError, ValueError):
        return "free memory unknown"
    return f"free {_mib(free)} of {_mib(total)}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
