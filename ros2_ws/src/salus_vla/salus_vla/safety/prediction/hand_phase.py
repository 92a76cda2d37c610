"""What the hand is doing, told from its width and from the width it is told to have: a real robot has nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salus_vla.contract import FRAME_HZ

EMPTY_WIDTH: Final = 0.03  # m, narrower than this it holds nothing: as the outcome rules of contract.yaml say
_OPEN: Final = 0.070  # m, wider than this it is open
_SQUEEZE: Final = 0.002  # m that it is told to be narrower while it holds
_STILL: Final = 0.0004  # m between two frames: slower, and the fingers have met something
_DT: Final = 1.0 / FRAME_HZ
_NAN: Final = float("nan")


@dataclass
class HandPhase:
    """Follows the hand of one episode, a frame of 20 ms at a time; make a new one for the next episode.

    Attributes:
        held_s: for how long it has held something [s]; 0 while it holds nothing.
        empty_s: for how long it has been closed on nothing [s].
        width_at_grasp: when it began to hold [m]; NaN while it holds nothing.
        empty_closings: closings on nothing so far.
        losses: times that something held was lost between the fingers: they met without having opened.
    """

    held_s: float = 0.0
    empty_s: float = 0.0
    width_at_grasp: float = _NAN
    empty_closings: int = 0
    losses: int = 0
    _before: float = _NAN

    @property
    def holds(self) -> bool:
        """Whether it holds something."""
        return self.held_s > 0.0

    def update(self, width: float, told: float) -> bool:
        """Takes in a frame.

        Args:
            width: measured [m]; NaN where it is not known, which changes nothing.
            told: width that the command asked for [m]; NaN where no command is known.

        Returns:
            Whether a grasp began in this frame.
        """
        if width != width:
            return False
        still, self._before = abs(width - self._before) < _STILL, width
        if width < EMPTY_WIDTH:
            if self.empty_s == 0.0:
                self.empty_closings += 1
                self.losses += int(self.holds)
            self.empty_s += _DT
            self._let_go()
            return False
        self.empty_s = 0.0
        # Without commands a hand that is neither open nor empty, and still, is taken to hold.
        squeezes = told != told or told < width - _SQUEEZE
        if width > _OPEN or (told == told and told > width + _SQUEEZE):
            self._let_go()
        elif self.holds:
            self.held_s += _DT
        elif still and squeezes:
            self.held_s, self.width_at_grasp = _DT, width
            return True
        return False

    def _let_go(self) -> None:
        self.held_s, self.width_at_grasp = 0.0, _NAN
