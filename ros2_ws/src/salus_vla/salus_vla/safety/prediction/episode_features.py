"""From the inputs of an episode's decisions to one vector for each: what the predictor's network reads.

The same object computes it while the robot moves and from a failure table, one decision after the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, ARM_JOINTS, JOINTS
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.decision_inputs import FRAMES, DecisionInputs
from salus_vla.safety.prediction.hand_phase import HandPhase
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE, PREFIX_SIZE
from salus_vla.signals.safety_signals import NAMES

VERSION: Final = 1  # of the vector; another one is another predictor
_WINDOW: Final = 4  # decisions, 0.4 s
_FIRST: Final = 5  # decisions whose mean vision state is kept: what the scene looked like before the arm moved
_MOVED: Final = 20  # decisions, 2 s
_FELT_BEFORE: Final = (25, 10)  # frames before a grasp that tell how the empty hand felt: 0.5 to 0.2 s
_LONGEST: Final = 2.0  # s, longer is all the same
_SMALLEST: Final = 1e-9  # of a signal: their logarithms are used


@dataclass(frozen=True)
class Block:
    """Part of the vector: names of its values, and the group of inputs that they are from."""

    group: str
    names: tuple[str, ...]


def _each(name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for part in parts)


def _numbered(name: str, size: int) -> tuple[str, ...]:
    return tuple(f"{name}.{index}" for index in range(size))


_HAND: Final = (
    "width",
    "told_width",
    "width_change_0.1s",
    "width_change_0.2s",
    "width_change_0.4s",
    "holds",
    "width_since_grasp",
    "empty_closings",
    "losses",
)
BLOCKS: Final = (
    Block("clock", ("elapsed_s", "held_s", "empty_s")),
    Block("hand", _HAND),
    Block(
        "motion", (*_numbered("tool", 3), *_numbered("tool_velocity", 3), "tool_moved_2s", *_each("position", JOINTS))
    ),
    Block("signals", (*_each("log_last", NAMES), *_each("log_mean", NAMES))),
    Block("expert", _numbered("expert_mean", EXPERT_SIZE)),
    Block(
        "prefix",
        tuple(
            name
            for part in ("prefix_mean", "prefix_first", "prefix_last", "prefix_since_grasp")
            for name in _numbered(part, PREFIX_SIZE)
        ),
    ),
    Block(
        "felt",
        tuple(
            name
            for kind in ("effort", "error")
            for part in ("mean_0.4s", "mean_0.1s", "deviation_0.4s", "since_grasp")
            for name in _each(f"{kind}_{part}", JOINTS)
        )
        + _each("velocity_mean", ARM_JOINTS),
    ),
)
FEATURES: Final = tuple(name for block in BLOCKS for name in block.names)
GROUPS: Final = tuple(block.group for block in BLOCKS)


def columns(*groups: str) -> NDArray[np.int64]:
    """Indices of the values of groups.

    Raises:
        ValueError: there is no such group.
    """
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        raise ValueError(f"no group {unknown[0]!r}, expected one of {', '.join(GROUPS)}")
    owner = [block.group for block in BLOCKS for _ in block.names]
    return np.flatnonzero(np.isin(owner, groups))


class EpisodeFeatures:
    """Features of one episode; make a new one for the next."""

    def __init__(self) -> None:
        """Begins an episode."""
        self._hand = HandPhase()
        self._decisions = 0
        self._signals: deque[FloatArray] = deque(maxlen=_WINDOW)
        self._expert: deque[FloatArray] = deque(maxlen=_WINDOW)
        self._prefix: deque[FloatArray] = deque(maxlen=_WINDOW)
        self._first: list[FloatArray] = []
        self._prefix_at_grasp: FloatArray | None = None
        self._frames: deque[FloatArray] = deque(maxlen=_FELT_BEFORE[0] + FRAMES)  # effort and error, (2, 9)
        self._before_grasp: FloatArray = np.full((2, len(JOINTS)), np.nan)
        self._widths: deque[float] = deque([float("nan")] * (_WINDOW * FRAMES + 1), maxlen=_WINDOW * FRAMES + 1)
        self._tools: deque[FloatArray] = deque(maxlen=_MOVED + 1)

    def update(self, inputs: DecisionInputs, elapsed_s: float) -> FloatArray:
        """The vector of the next decision, (F,), in the order of `FEATURES`; NaN where an input is not known.

        Args:
            inputs: of this decision.
            elapsed_s: since the episode's first observation [s].
        """
        self._decisions += 1
        self._follow_frames(inputs)
        with np.errstate(invalid="ignore", divide="ignore"):
            self._signals.append(np.log(np.maximum(np.abs(inputs.signals), _SMALLEST)))
        self._expert.append(inputs.expert)
        self._prefix.append(inputs.prefix)
        if len(self._first) < _FIRST:
            self._first.append(inputs.prefix)
        hand = self._hand
        clock = (elapsed_s, min(hand.held_s, _LONGEST), min(hand.empty_s, _LONGEST))
        return np.concatenate(
            (
                clock,
                self._hand_values(inputs),
                self._motion_values(inputs),
                self._signals[-1],
                _mean(self._signals),
                _mean(self._expert),
                _mean(self._prefix),
                _mean(self._first),
                inputs.prefix,
                self._since_grasp(inputs.prefix),
                self._felt_values(inputs),
            )
        )

    def _since_grasp(self, prefix: FloatArray) -> FloatArray:
        """How what is seen has changed since the decision at which the hand held first; 0 while it holds nothing."""
        if not self._hand.holds:
            self._prefix_at_grasp = None
            return np.where(np.isfinite(prefix), 0.0, np.nan)
        if self._prefix_at_grasp is None:
            self._prefix_at_grasp = prefix
        return prefix - self._prefix_at_grasp

    def _follow_frames(self, inputs: DecisionInputs) -> None:
        for position, error, effort in zip(inputs.position, inputs.error, inputs.effort, strict=True):
            width = float(position[ARM_DOF:].sum())
            self._widths.append(width)
            self._frames.append(np.stack((effort, error)))
            if self._hand.update(width, width + float(error[ARM_DOF:].sum())):
                # The frame in which it began to hold is the last of these.
                frames = list(self._frames)
                begin = max(0, len(frames) - _FELT_BEFORE[0])
                self._before_grasp = _mean(frames[begin : max(begin, len(frames) - _FELT_BEFORE[1])], (2, len(JOINTS)))

    def _hand_values(self, inputs: DecisionInputs) -> FloatArray:
        widths, hand = self._widths, self._hand
        width = widths[-1]
        told = width + float(inputs.error[-1, ARM_DOF:].sum())
        return np.array(
            [
                width,
                told,
                width - widths[-1 - FRAMES],
                width - widths[-1 - 2 * FRAMES],
                width - widths[-1 - 4 * FRAMES],
                float(hand.holds),
                width - hand.width_at_grasp if hand.holds else 0.0,
                min(hand.empty_closings, 3),
                min(hand.losses, 3),
            ]
        )

    def _motion_values(self, inputs: DecisionInputs) -> FloatArray:
        position = inputs.position[-1]
        tool = tool_poses(position[:ARM_DOF])[0][0]
        self._tools.append(tool)
        earlier = self._tools[-2] if len(self._tools) > 1 else np.full(3, np.nan)
        moved = float(np.linalg.norm(tool - self._tools[0])) if self._decisions > _MOVED else float("nan")
        return np.concatenate((tool, tool - earlier, (moved,), position))

    def _felt_values(self, inputs: DecisionInputs) -> FloatArray:
        recent = list(self._frames)[-_WINDOW * FRAMES :]
        long, short = _mean(recent), _mean(recent[-FRAMES:])
        spread = np.sqrt(_mean([(frame - long) ** 2 for frame in recent]))
        since = short - self._before_grasp if self._hand.holds else np.zeros_like(short)
        since = np.where(np.isfinite(short), since, np.nan)
        parts = [values[kind] for kind in range(2) for values in (long, short, spread, since)]
        return np.concatenate((*parts, _mean(list(inputs.velocity[:, :ARM_DOF]))))


def _mean(rows: deque[FloatArray] | list[FloatArray], shape: tuple[int, ...] | None = None) -> FloatArray:
    """Mean of the known values of each column; NaN where there is none."""
    if not rows:
        assert shape is not None
        return np.full(shape, np.nan)
    values = np.stack(list(rows))
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
