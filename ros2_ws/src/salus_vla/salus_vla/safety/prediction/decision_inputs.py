"""What the predictor is given at a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import JOINTS
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE, PREFIX_SIZE, quantised, restored
from salus_vla.signals.safety_signals import NAMES

FRAMES: Final = 5  # of a decision: the control frames since the one before
SHAPES: Final = {
    "signals": (len(NAMES),),
    "expert": (EXPERT_SIZE,),
    "prefix": (PREFIX_SIZE,),
    "position": (FRAMES, len(JOINTS)),
    "velocity": (FRAMES, len(JOINTS)),
    "effort": (FRAMES, len(JOINTS)),
    "error": (FRAMES, len(JOINTS)),
}


def _half(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values.astype(np.float16)


def _single(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values.astype(np.float32)


def _state(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return restored(quantised(values))


_ROUNDED: Final = dict.fromkeys(SHAPES, _half) | {"signals": _single, "expert": _state, "prefix": _state}


@dataclass(frozen=True, eq=False)
class DecisionInputs:
    """Inputs of one decision, NaN where not known; frames oldest first, the last one is the observation's.

    Values are rounded as the failure table keeps them (joints to half precision, signals to single, states to bytes):
    what is computed while the robot moves is what is computed from a table.

    Attributes:
        signals: safety signals, (12,).
        expert, prefix: hidden states in the predictor's basis, (32,) and (192,).
        position, velocity, effort: measured joints, (5, 9) [rad, m; /s; N m, N].
        error: command that answered the frame before, minus position, (5, 9) [rad, m].
    """

    signals: FloatArray
    expert: FloatArray
    prefix: FloatArray
    position: FloatArray
    velocity: FloatArray
    effort: FloatArray
    error: FloatArray

    @classmethod
    def of(cls, **values: NDArray[np.floating] | None) -> DecisionInputs:
        """Rounds the values; None, or a name that is not given, is not known.

        Raises:
            ValueError: a value has another shape than its name asks for.
        """
        found: dict[str, FloatArray] = {}
        for name, shape in SHAPES.items():
            value = values.get(name)
            if value is None:
                found[name] = np.full(shape, np.nan)
                continue
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}, expected {shape}")
            with np.errstate(over="ignore"):
                rounded = _ROUNDED[name](value).astype(np.float64)
            found[name] = np.where(np.isfinite(rounded), rounded, np.nan)
        return cls(**found)
