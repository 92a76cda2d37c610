"""How the engine's functions run: operation by operation, compiled, or recorded in a CUDA graph.

Whatever is chosen is checked on the spot: the fast way must give the numbers of the plain one, or the plain one runs
and says why. Nothing is compiled after that, because all shapes are fixed: the instruction is padded to its full
length.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from salus_vla.config.policy_options import MODES
from salus_vla.contract.errors import ModelError

COMPILED_GRAPH = "compile+cuda_graph"
_WARM_UP = 3  # runs before recording: libraries allocate their workspaces, compiled code loads
# Largest difference to the plain run, relative to its largest value. Reduced precision rounds in other places once
# compiled; the bound only tells rounding from a mistake there.
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Chosen:
    """How a function runs.

    Attributes:
        mode: `eager`, `compile`, `cuda_graph` or `compile+cuda_graph`.
        reason: why this one.
        seconds: what compiling, recording and checking took [s].
        error: largest difference to the plain run found in the check, relative to its largest value.
    """

    mode: str
    reason: str
    seconds: float = 0.0
    error: float = 0.0

    def provenance(self) -> dict[str, str]:
        """For the episode's record."""
        facts = {"mode": self.mode, "mode_reason": self.reason}
        if self.mode != "eager":
            facts |= {"mode_setup_s": f"{self.seconds:.1f}", "mode_error": f"{self.error:.1e}"}
        if "compile" in self.mode:
            facts["compile_cache"] = _compile_cache()
        return facts


def candidates(mode: str, device: torch.device) -> list[str]:
    """Modes to try in this order before `eager`.

    Raises:
        ModelError: the mode is not known, or the device cannot run it.
    """
    if mode not in MODES:
        raise ModelError(f"model.mode is '{mode}', expected one of {', '.join(MODES)}")
    if mode == "cuda_graph" and device.type != "cuda":
        raise ModelError(f"model.mode is 'cuda_graph', which {device} does not have; expected auto, eager or compile")
    if mode == "auto":
        # On the CPU compiling takes a minute and gains little.
        return [COMPILED_GRAPH, "cuda_graph"] if device.type == "cuda" else []
    return [] if mode == "eager" else [mode]


@contextlib.contextmanager
def exact_fp32() -> Iterator[None]:
    """Full precision of fp32 products and convolutions (no TF32, which cuDNN uses unless told), restored afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if not (matmul or cudnn):
        yield
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def compiled(function: Function, dtype: torch.dtype) -> Function:
    """The function through torch.compile, one graph for fixed shapes."""
    # Inductor keeps fused bf16 values in fp32 unless told to round where the plain code does.
    options: dict[str, str | int | bool | Callable[..., object]] = {"emulate_precision_casts": dtype != torch.float32}
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)


class Recorded:
    """A function as a CUDA graph: inputs are copied into fixed places, the recorded kernels run, outputs are copied."""

    def __init__(self, function: Function, example: Sequence[Tensor]) -> None:
        """Records the function; it must neither ask the device for a value nor upload one."""
        self._inputs = [tensor.clone() for tensor in example]
        device = example[0].device
        with torch.cuda.device(device):
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    function(*self._inputs)
            torch.cuda.current_stream(device).wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = function(*self._inputs)

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Same as the function, for arguments of the example's shapes and types."""
        for place, argument in zip(self._inputs, arguments, strict=True):
            place.copy_(argument, non_blocking=True)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


def accelerate(
    mode: str, device: torch.device, dtype: torch.dtype, attempt: Callable[[str], tuple[Tensor, ...]]
) -> Chosen:
    """Finds a mode that runs and gives the plain mode's numbers.

    Args:
        mode: one of `MODES`.
        device: where.
        dtype: the lowest precision of the weights.
        attempt: switches to a mode (`eager` included) and gives the outputs for an example.

    Raises:
        ModelError: see `candidates`; or memory that is short, which another mode would not change.
    """
    tried: list[str] = []
    to_try = candidates(mode, device)
    if not to_try:
        attempt("eager")
        return Chosen("eager", "asked for" if mode == "eager" else f"automatic on {device.type}")
    expected = attempt("eager")
    for name in to_try:
        began = time.perf_counter()
        try:
            error = _difference(expected, attempt(name))
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as problem:  # a compiler that is missing, a driver, an operation that cannot be recorded
            text = str(problem).strip()
            tried.append(f"{name} failed: {type(problem).__name__}: {text.splitlines()[0] if text else 'no message'}")
            continue
        if error <= _TOLERANCE[dtype]:
            why = "asked for" if mode != "auto" else f"automatic on {device.type}"
            return Chosen(name, "; ".join([why, *tried]), time.perf_counter() - began, error)
        tried.append(f"{name} differs from eager by {error:.1e}, allowed is {_TOLERANCE[dtype]:.0e}")
    attempt("eager")
    reason = "; ".join(tried)
    warnings.warn(f"model.mode '{mode}': running eager, because {reason}", RuntimeWarning, stacklevel=3)
    return Chosen("eager", reason)


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Largest difference, relative to the largest value of the same output; infinite where a value is not finite."""
    worst = 0.0
    for one, two in zip(expected, found, strict=True):
        scale = max(float(one.float().abs().max()), 1.0)
        difference = float((one.float() - two.float()).abs().max()) / scale
        worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def _compile_cache() -> str:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    try:
        return f"{cache_dir()}" + ("" if os.environ.get("TORCHINDUCTOR_FX_GRAPH_CACHE", "1") != "0" else " (off)")
    except OSError as error:
        return f"none: {error}"
