"""What a salus_msgs/Intervention says, of rclpy and of bags with the same code, and what an episode of them says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, nan
from typing import Any, Self

from salus_vla.contract.errors import MessageError
from salus_vla.contract.message_readers import stamp_of
from salus_vla.safety.intervention.candidates import HAND_OVER, MEAN, PLAN


@dataclass(frozen=True)
class ToldMotion:
    """What was chosen at a decision.

    Attributes:
        stamp_ns: of the observation that was decided on, sim time [ns].
        decision: its number.
        failure: probability of failure with each motion that was weighed, by name; empty where none was.
        chosen: a motion, the plan among them, or `HAND_OVER`.
        reason: why, in words; empty where that was not recorded.
        probability: that it was drawn with; 1 where it was not drawn.
        acted: whether the arm follows it.
        manifold_distance: of the plan from successful episodes, in levels; NaN where not known.
    """

    stamp_ns: int
    decision: int
    failure: Mapping[str, float]
    chosen: str
    reason: str = ""
    probability: float = 1.0
    acted: bool = True
    manifold_distance: float = nan

    @classmethod
    def of(cls, message: Any) -> Self:
        """Reads a message.

        Raises:
            MessageError: there is not one probability for each candidate.
        """
        names, failure = list(map(str, message.candidates)), list(map(float, message.failure))
        if len(names) != len(failure):
            raise MessageError(f"has {len(failure)} values in failure, expected {len(names)}: one for each candidate")
        return cls(
            stamp_ns=stamp_of(message),
            decision=int(message.decision),
            failure=dict(zip(names, failure, strict=True)),
            chosen=str(message.chosen),
            reason=str(message.reason),
            probability=float(message.probability),
            acted=bool(message.acted),
            manifold_distance=float(getattr(message, "manifold_distance", nan)),  # not in the first bags with it
        )

    @property
    def intervenes(self) -> bool:
        """Whether it is something else than the plan."""
        return self.chosen not in (PLAN, MEAN)

    @property
    def hands_over(self) -> bool:
        """Whether the arm is left to a person."""
        return self.acted and self.chosen == HAND_OVER

    @property
    def name(self) -> str:
        """What was chosen; `advised` before what the arm does not follow."""
        words = "hand over" if self.chosen == HAND_OVER else self.chosen
        return words if self.acted or not self.intervenes else f"advised {words}"

    @property
    def risks_in_words(self) -> str:
        """`failure 12%, with the plan 34%`; empty where nothing was weighed."""
        own, plan = (self.failure.get(name, nan) for name in (self.chosen, PLAN))
        words = [f"failure {own:.0%}"] if isfinite(own) else []
        if self.intervenes and isfinite(plan):
            words.append(f"with the plan {plan:.0%}")
        return ", ".join(words)

    @property
    def why_in_words(self) -> str:
        """Reason and risks."""
        return ", ".join(filter(None, (self.reason, self.risks_in_words)))


@dataclass(frozen=True)
class Stretch:
    """Decisions in a row with one motion: what was told at the first of them, their rows, `end` not among them."""

    first: ToldMotion
    begin: int
    end: int


def stretches(told: Sequence[ToldMotion]) -> list[Stretch]:
    """Decisions of an episode, in order, as stretches of one motion each, followed by the arm or not."""
    begins = [
        row
        for row, item in enumerate(told)
        if row == 0 or (item.chosen, item.acted) != (told[row - 1].chosen, told[row - 1].acted)
    ]
    return [Stretch(told[begin], begin, end) for begin, end in pairwise([*begins, len(told)])]


class EpisodeMotions:
    """What was told of the episode that goes on, as it comes."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.reset()

    def reset(self) -> None:
        """Begins another episode."""
        self.newest: ToldMotion | None = None
        self.handed_over: ToldMotion | None = None
        self._begun: list[ToldMotion] = []  # the first of each stretch without the plan

    def take(self, told: ToldMotion) -> None:
        """Takes what was told of the next decision."""
        before, self.newest = self.newest, told
        same = before is not None and (before.chosen, before.acted) == (told.chosen, told.acted)
        if told.intervenes and not same:
            self._begun.append(told)
            if told.hands_over and self.handed_over is None:
                self.handed_over = told

    @property
    def in_words(self) -> str:
        """`careful_0.35 from decision 24, 2 more`; empty while there was nothing but the plan."""
        return interventions_in_words(self._begun)

    def words_of(self, decisions: int) -> str:
        """The same of an episode that is over; what was chosen on its terminal observation is not of it."""
        return interventions_in_words([told for told in self._begun if told.decision < decisions])


def interventions_in_words(begun: Sequence[ToldMotion]) -> str:
    """Interventions of an episode, of each what was told where it began, in a few words; empty of none."""
    motions = [told for told in begun if not told.hands_over]
    words = [f"{motions[0].name} from decision {motions[0].decision}"] if motions else []
    if len(motions) > 1:
        words.append(f"{len(motions) - 1} more")
    words += [f"handed over at decision {told.decision}: {told.reason}" for told in begun if told.hands_over][:1]
    return ", ".join(words)
