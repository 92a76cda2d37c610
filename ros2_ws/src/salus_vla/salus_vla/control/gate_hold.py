"""Whether the command gate holds the arm, as far as its status and the commands that reach the arm tell."""

from __future__ import annotations

from collections import deque

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray
from salus_vla.control.hold_position import STILL_SPEED

_SETTLED_FRAMES = 3  # without a new command of the gate's: its stop is over
_SILENT_FRAMES = 25  # where none was heard at all: longer than any stop of the gate's
_FAR = 0.1  # rad; no arm rests that far from its command
_REPLACED_FRAMES = 3  # commands in a row that are not ours: the gate holds
_SAME = 1e-9  # rad, m: a command that passed the gate is the one that was sent


class GateHold:
    """Follows the gate, which passes our targets on or sends commands of its own."""

    def __init__(self, frame_ns: int) -> None:
        """Nothing was heard of the gate; time between two commands [ns]."""
        self._frame_ns = frame_ns
        self.forget()

    holds: bool
    """Whether the gate holds the arm."""

    def forget(self) -> None:
        """Nothing of before can be compared with what comes."""
        self.holds = False
        self._since_ns = 0
        self._replaced = 0
        self._sent: deque[tuple[int, FloatArray]] = deque(maxlen=2 * _REPLACED_FRAMES)
        self._commanded: tuple[int, FloatArray] | None = None

    def said(self, holds: bool, stamp_ns: int) -> bool:
        """The gate said whether it holds the arm, from this stamp on [ns]; whether that is news."""
        news = holds != self.holds
        if news:
            self.holds, self._since_ns, self._replaced = holds, stamp_ns, 0
        return news

    def sent(self, stamp_ns: int, target: FloatArray) -> None:
        """A target of ours left, shape (9,) [rad, m]."""
        self._sent.append((stamp_ns, target))

    def commanded(self, stamp_ns: int, position: FloatArray) -> bool:
        """A command reached the arm, shape (9,) [rad, m]; whether it shows that the gate holds.

        A gate that goes on holding says so once only; what it sends in place of our targets tells.
        """
        self._commanded = (stamp_ns, position)
        ours = next((target for sent_ns, target in self._sent if abs(sent_ns - stamp_ns) <= self._frame_ns // 2), None)
        same = ours is None or bool((np.abs(ours - position) <= _SAME).all())
        self._replaced = 0 if same else self._replaced + 1
        return self._replaced >= _REPLACED_FRAMES and self.said(True, stamp_ns)

    def let_go(self, now_ns: int, measured: FloatArray, speed: float | None) -> FloatArray | None:
        """The pose (9,) to go on from once the gate's stop is over and the arm rests; from then on the arm is ours.

        That is the pose that the gate commanded last. Where none was heard since it holds, or a reset put the arm
        elsewhere, it is the measured one: a gate that is silent takes a new stream from there.

        Args:
            now_ns: stamp of the newest joint state [ns].
            measured: its positions, (9,) [rad, m].
            speed: of the fastest joint [rad/s]; None while that is not known.
        """
        if not self.holds or speed is None or speed > STILL_SPEED:
            return None
        commanded_ns, position = self._commanded or (-1, measured)
        heard = commanded_ns >= self._since_ns
        frames = _SETTLED_FRAMES if heard else _SILENT_FRAMES
        if now_ns - max(commanded_ns, self._since_ns) < frames * self._frame_ns:
            return None
        self.holds = False
        far = np.abs(position - measured)[:ARM_DOF].max() > _FAR
        return measured if far or not heard else position
