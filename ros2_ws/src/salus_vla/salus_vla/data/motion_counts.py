"""How often each motion was in force: decisions of an episode, and of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from salus_vla.contract.outcomes import Outcome
from salus_vla.data.recording import Interventions
from salus_vla.safety.intervention.candidates import CHOICES, HAND_OVER


@dataclass(frozen=True)
class MotionCounts:
    """Of one episode in which somebody could intervene, or of several.

    Attributes:
        decisions: by the motion that was in force or advised; after the arm was handed over none is counted.
        episodes: how many.
        intervened: of them, with another motion than the plan, or handed over.
        handed_over: of them.
        advised: of them, in which the arm only ever followed the plan although something else was chosen.
    """

    decisions: Mapping[str, int]
    episodes: int = 1
    intervened: int = 0
    handed_over: int = 0
    advised: int = 0

    @property
    def by_motion(self) -> list[tuple[str, int]]:
        """Names and decisions in the order of `CHOICES`."""
        names = [name for name in CHOICES if name in self.decisions]
        names += sorted(set(self.decisions) - set(CHOICES))
        return [("hand over" if name == HAND_OVER else name, self.decisions[name]) for name in names]

    @property
    def in_words(self) -> str:
        """`plan 27, careful_0.35 18`."""
        return ", ".join(f"{name} {number}" for name, number in self.by_motion)


def motion_counts(found: Interventions, outcome: Outcome, decisions: int | None = None) -> MotionCounts:
    """Of an episode that ended like this, after so many decisions; of all that were told where that is not known."""
    # Nothing that follows from the decision on the terminal observation belongs to the episode.
    told = [item for item in found.told if decisions is None or item.decision < decisions]
    others = [item for item in told if item.intervenes]
    handed = outcome is Outcome.HANDED_OVER or any(item.hands_over for item in others)
    counts = Counter(item.chosen for item in told if not item.hands_over)
    return MotionCounts(
        decisions=dict(counts),
        intervened=int(bool(others) or handed),
        handed_over=int(handed),
        advised=int(bool(others) and not any(item.acted for item in others)),
    )


def add_up(counts: Iterable[MotionCounts]) -> MotionCounts:
    """Of several episodes."""
    items = list(counts)
    decisions: Counter[str] = Counter()
    for item in items:
        decisions.update(item.decisions)
    return MotionCounts(
        decisions=dict(decisions),
        episodes=sum(item.episodes for item in items),
        intervened=sum(item.intervened for item in items),
        handed_over=sum(item.handed_over for item in items),
        advised=sum(item.advised for item in items),
    )
