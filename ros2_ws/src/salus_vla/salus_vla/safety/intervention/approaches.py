"""How the arm could come near while its hand is free: whose chunk it follows, and whether it goes back first.

    name      | what it does
    ----------|-----------------------------------------------------------------------------------------------------------
    mean      | the mean of all members and noise samples, which is the plan
    member    | the chunk of one member, drawn when the approach begins
    sample    | that of one noise sample of one member, drawn likewise
    nearest   | at each decision the one of all members and samples that is nearest to chunks of successful episodes
    projected | the plan, moved into what successful episodes did, where it is outside
    retreat   | behind a closing on nothing: back along the way already travelled, with an open hand, to the last pose
              | of low risk; from there the plan. Once an episode

An approach lasts from the beginning of an episode, or from a closing on nothing, to the next one. While the hand closes
or holds something, the motions of `candidates` apply, to the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import MEMBER, NEAREST, PROJECTED, RETREAT, SAMPLE
from salus_vla.safety.intervention.ways import back

LOW_RISK: Final = 0.2  # probability of failure up to which a pose may be gone back to
RETREATS: Final = 1  # of an episode
_FROM: Final = 5  # decisions before the closing: nearer poses are no retreat
_LONGEST: Final = 30  # decisions that it takes at most

_STREAM: Final = 0xA991  # keeps the draws apart from all others of a seed


class ApproachFollower:
    """Follows one approach after the other, decision by decision; `start_episode` begins an episode."""

    def __init__(self, retreats: int = RETREATS) -> None:
        """Takes the budget of an episode, which begins with `start_episode`."""
        self._budget = retreats
        self.start_episode(0)

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before.

        Args:
            seed: of the episode: which member an approach follows is drawn with it.
        """
        self._random = np.random.default_rng([_STREAM, abs(seed), int(seed < 0)])
        self._way: list[FloatArray] = []  # commands, one for each decision
        self._risks: list[float] = []
        self._retreats = 0
        self._left = 0  # decisions of a retreat that are to come
        self._places = (0.0, 0.0)

    @property
    def may_retreat(self) -> bool:
        """Whether the budget holds a retreat."""
        return self._retreats < self._budget

    @property
    def retreating(self) -> bool:
        """Whether the arm goes back."""
        return self._left > 0

    def passed(self, told: FloatArray, risk: float) -> None:
        """Takes the command in force at a decision (8,) [rad, m], and the probability of failure there."""
        if not self.retreating:
            self._way.append(told.copy())
            self._risks.append(risk)

    def begin(self, name: str, *, follow: bool = True) -> None:
        """An approach begins; where nobody will follow it, a retreat counts only."""
        self._places = tuple(self._random.random(2).tolist())
        if name == RETREAT and self.may_retreat:
            self._retreats += 1
            self._left = len(self._way) - 1 - self._back_to() if follow else 0

    def update(self, name: str, chunk: FloatArray, chunks: FloatArray, distance: Callable[[FloatArray], float],
               project: Callable[[FloatArray], FloatArray]) -> FloatArray:  # fmt: skip
        """The chunk to follow from a decision on, (H, 8).

        Args:
            name: of the approach.
            chunk: of the plan, (H, 8) [rad, m].
            chunks: of all members and samples, (K, S, H, 8).
            distance: of a chunk from those of successes; NaN where not known.
            project: moves a chunk into what successes did.
        """
        if self.retreating:
            self._left -= 1
            found = back(np.array(self._way), len(chunk), PANDA.gripper_max)
            del self._way[-1:]
            del self._risks[-1:]
            return found
        if name == MEMBER:
            found = chunks[self._place(0, chunks)].mean(axis=0)
        elif name == SAMPLE:
            found = chunks[self._place(0, chunks), self._place(1, chunks)]
        elif name == NEAREST:
            found = _nearest(chunk, chunks.reshape(-1, *chunk.shape), distance)
        elif name == PROJECTED:
            found = project(chunk)
        else:
            found = chunk
        return found

    def words(self, name: str, chunks: FloatArray) -> str:
        """What is followed, for a person; empty where the name says all."""
        if name == MEMBER:
            return f"member {self._place(0, chunks)}"
        if name == SAMPLE:
            return f"member {self._place(0, chunks)}, sample {self._place(1, chunks)}"
        return "goes back" if self.retreating else ""

    def _place(self, axis: int, chunks: FloatArray) -> int:
        return int(self._places[axis] * chunks.shape[axis])

    def _back_to(self) -> int:
        """Place in the way of the last pose of low risk before the hand closed; of the lowest where none is low."""
        last = len(self._way) - 1
        closed = last
        while closed > 0 and self._way[closed][ARM_DOF] < PANDA.gripper_max / 2.0:
            closed -= 1
        first, end = max(0, last - _LONGEST), max(closed - _FROM, 0)
        risks = np.array(self._risks[first : end + 1])
        if not risks.size:
            return first
        low = np.flatnonzero(risks <= LOW_RISK)
        return first + int(low[-1] if low.size else np.argmin(risks))


def _nearest(chunk: FloatArray, candidates: FloatArray, distance: Callable[[FloatArray], float]) -> FloatArray:
    distances = np.array([distance(candidate) for candidate in candidates])
    if not np.isfinite(distances).all():
        return chunk
    found: FloatArray = candidates[int(np.argmin(distances))]
    return found
