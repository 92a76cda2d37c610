"""Puts together what belongs to a decision from messages that come one by one, each topic in its own time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from math import nan
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import DECISION_HZ, FRAME_HZ, JOINTS
from salus_vla.contract.message_readers import policy_states, stamp_of
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.decision_inputs import FRAMES
from salus_vla.signals.safety_signals import NAMES

_FRAME_NS: Final = round(1e9 / FRAME_HZ)
_HALF_NS: Final = _FRAME_NS // 2
_DECISION_NS: Final = round(1e9 / DECISION_HZ)
_KEPT: Final = 200  # frames of each topic, 4 s


@dataclass(frozen=True, eq=False)
class HeardSignals:
    """What the policy said of a decision: stamp of its observation [ns], its number, and the arrays of its message."""

    stamp_ns: int
    decision: int
    signals: NDArray[np.float32]
    expert_state: NDArray[np.float32] | None
    prefix_parts: NDArray[np.float32] | None

    @classmethod
    def of(cls, message: Any) -> Self:
        """Reads a SafetySignals message, one of rclpy or of rosbags; what is not valid is NaN.

        Raises:
            MessageError: the arrays of the message do not agree.
        """
        expert, prefix = policy_states(message)
        valid = int(message.valid)
        values = [getattr(message, name) if valid >> index & 1 else nan for index, name in enumerate(NAMES)]
        return cls(
            stamp_ns=stamp_of(message),
            decision=int(message.decision),
            signals=np.array(values, dtype=np.float32),
            expert_state=expert if expert.size else None,
            prefix_parts=prefix if prefix.size else None,
        )


@dataclass(frozen=True, eq=False)
class AssembledDecision:
    """A decision with the frames up to its observation.

    Attributes:
        heard: what the policy said.
        elapsed_s: since the episode's first observation, rounded as the failure table rounds it [s].
        position, velocity, effort, error: as in `DecisionInputs`, (5, 9).
    """

    heard: HeardSignals
    elapsed_s: float
    position: FloatArray
    velocity: FloatArray
    effort: FloatArray
    error: FloatArray


class _Track:
    """The newest frames of a topic in the order of their stamps."""

    def __init__(self) -> None:
        self.stamps: deque[int] = deque(maxlen=_KEPT)
        self.values: deque[FloatArray] = deque(maxlen=_KEPT)

    def add(self, stamp_ns: int, values: FloatArray) -> None:
        """Appends a frame; one that is not newer than the last is left out."""
        if not self.stamps or stamp_ns > self.stamps[-1]:
            self.stamps.append(stamp_ns)
            self.values.append(values)

    def at(self, wanted_ns: int, since_ns: int) -> FloatArray | None:
        """The first frame within half a frame of a stamp, None without; frames before `since_ns` do not count."""
        place = bisect_left(self.stamps, max(wanted_ns - _HALF_NS, since_ns - _HALF_NS))
        if place < len(self.stamps) and self.stamps[place] <= wanted_ns + _HALF_NS:
            return self.values[place]
        return None

    def reaches(self, stamp_ns: int) -> bool:
        """Whether a frame at or behind a stamp was heard."""
        return bool(self.stamps) and self.stamps[-1] >= stamp_ns - _HALF_NS


class DecisionAssembly:
    """Joints, commands and signals in, decisions in their order out.

    Decision 0 begins an episode: its stamp is the episode's start, and what is older is not the episode's.
    """

    def __init__(self) -> None:
        """Has heard nothing."""
        self.forget()

    def forget(self) -> None:
        """Forgets everything, as after a clock that jumped back."""
        self._joints, self._commands = _Track(), _Track()
        self._waiting: deque[HeardSignals] = deque()
        self._start_ns: int | None = None

    def joints(self, stamp_ns: int, measured: FloatArray) -> None:
        """Takes a measured frame: position, velocity and effort, (3, 9); NaN where not measured."""
        self._joints.add(stamp_ns, measured)

    def command(self, stamp_ns: int, position: FloatArray) -> None:
        """Takes a command (9,) that answers the frame of this stamp."""
        self._commands.add(stamp_ns, position)

    def signals(self, heard: HeardSignals) -> None:
        """Takes what the policy said of a decision."""
        self._waiting.append(heard)

    def ready(self) -> list[AssembledDecision]:
        """Decisions whose frames have come; each once."""
        found = []
        while self._waiting and self._complete(self._waiting[0]):
            heard = self._waiting.popleft()
            if heard.decision == 0 or self._start_ns is None:
                # Somebody who joins late does not know the beginning; the number says how long ago it was.
                self._start_ns = heard.stamp_ns - heard.decision * _DECISION_NS
            found.append(self._assembled(heard, self._start_ns))
        return found

    def _complete(self, heard: HeardSignals) -> bool:
        if not self._joints.reaches(heard.stamp_ns):
            return False
        if heard.decision == 0 or self._commands.reaches(heard.stamp_ns - _FRAME_NS):
            return True
        # A command that did not come until the next decision does not come any more.
        return self._joints.reaches(heard.stamp_ns + _DECISION_NS) or len(self._waiting) > 1

    def _assembled(self, heard: HeardSignals, start_ns: int) -> AssembledDecision:
        measured = np.full((3, FRAMES, len(JOINTS)), np.nan)
        error = np.full((FRAMES, len(JOINTS)), np.nan)
        for frame in range(FRAMES):
            stamp_ns = heard.stamp_ns - (FRAMES - 1 - frame) * _FRAME_NS
            joints = self._joints.at(stamp_ns, start_ns)
            if joints is None:
                continue
            measured[:, frame] = joints
            command = self._commands.at(stamp_ns - _FRAME_NS, start_ns)
            if command is not None:
                error[frame] = command - joints[0]
        return AssembledDecision(
            heard=heard,
            elapsed_s=float(np.float32((heard.stamp_ns - start_ns) * 1e-9)),
            position=measured[0],
            velocity=measured[1],
            effort=measured[2],
            error=error,
        )
