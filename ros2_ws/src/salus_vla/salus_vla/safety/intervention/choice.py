"""Which candidate is followed: expected failure against task time, with inertia, and a person when nothing helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import MOTIONS, PLAN

CARRY_S: Final = 2.6  # from the closing of the hand to the release, median of successes without intervention
_LEAST_S: Final = 0.3


@dataclass(frozen=True)
class ChoiceSettings:
    """How failure and time are weighed.

    Attributes:
        failure_cost_s: task time that one failure is worth [s].
        inertia: how much better another candidate must be than the one in force, as a probability of failure.
        shortest: decisions for which a candidate is kept at least.
        retreats: of an episode, behind closings on nothing, before it is handed over.
    """

    failure_cost_s: float = 30.0
    inertia: float = 0.02
    shortest: int = 3
    retreats: int = 0

    def __post_init__(self) -> None:
        weighs = 0.0 < self.failure_cost_s < np.inf and 0.0 <= self.inertia < 1.0
        if not (weighs and self.shortest >= 1 and self.retreats >= 0):
            raise ConfigError(
                f"intervention: failure_cost_s {self.failure_cost_s}, inertia {self.inertia}, shortest "
                f"{self.shortest}, retreats {self.retreats}: expected more than 0, 0 to 1, 1 or more, and 0 or more"
            )


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why in a word: `best`, `kept` (too soon, or not enough better), `nothing held`."""

    candidate: str
    reason: str


class Chooser:
    """Chooses among motions, decision by decision; `reset` begins an episode."""

    def __init__(self, settings: ChoiceSettings | None = None) -> None:
        """Takes the settings."""
        self.settings = settings or ChoiceSettings()
        self.reset()

    def reset(self) -> None:
        """Follows the plan."""
        self._current, self._since = PLAN, 0

    def update(self, candidates: tuple[str, ...], failure: FloatArray, held_s: float, *, grasps: bool) -> Choice:
        """Chooses for a decision.

        Args:
            candidates: names, of which the plan is one.
            failure: probability of failure with each, (C,).
            held_s: for how long something is held [s].
            grasps: whether the hand holds something or closes; otherwise all motions are the same.
        """
        if not grasps:
            self.reset()
            return Choice(PLAN, "nothing held")
        cost = failure + self._time_cost(candidates, held_s)
        best = candidates[int(np.argmin(cost))]
        self._since += 1
        if self._current not in candidates:
            self._current = PLAN
        current = float(cost[candidates.index(self._current)])
        # The plan is left at once, because what slips is lost soon; it is gone back to after a while.
        settled = self._current == PLAN or self._since >= self.settings.shortest
        if best != self._current and settled and current - float(cost.min()) > self.settings.inertia:
            self._current, self._since = best, 0
            return Choice(best, "best")
        return Choice(self._current, "best" if best == self._current else "kept")

    def _time_cost(self, candidates: tuple[str, ...], held_s: float) -> FloatArray:
        """Time that each candidate takes longer until the release, as a probability of failure, (C,)."""
        left = max(CARRY_S - held_s, _LEAST_S)
        longer = np.array([left * (1.0 / MOTIONS[name].pace - 1.0) for name in candidates])
        found: FloatArray = longer / self.settings.failure_cost_s
        return found
