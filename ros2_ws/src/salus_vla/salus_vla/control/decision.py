"""What the policy decided on an observation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray
from salus_vla.signals.safety_signals import SignalVector


@dataclass(frozen=True)
class Decision:
    """Result of one evaluation of the policy.

    Attributes:
        number: counted from 0 in the episode.
        stamp_ns: stamp of the observation that was decided on [ns].
        chunk: mean over members and samples, shape (H, 8), or None when it is not finite.
        signals: the twelve signals and their evidence.
        inference_ms: wall time of the policy and the signals [ms].
        expert_state: see `PolicyOutput`, float32 (E,); empty for a policy without.
        prefix_parts: see `PolicyOutput`, float32 (C + 1, D); (0, 0) for a policy without.
        member_chunks: arm joints of each member's mean chunk, float32 (K, H, 7) [rad].
        chunks: of all members and noise samples, see `PolicyOutput`; None where the mean is not finite, or nobody may
            intervene.
    """

    number: int
    stamp_ns: int
    chunk: FloatArray | None
    signals: SignalVector
    inference_ms: float
    expert_state: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    prefix_parts: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    member_chunks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, ARM_DOF), dtype=np.float32))
    chunks: FloatArray | None = None
