"""What somebody says of episodes whose bags do not say it."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.contract.outcomes import Outcome


@dataclass(frozen=True)
class Assumed:
    """What somebody says of episodes whose bags do not; nothing that is recorded is replaced by it.

    Attributes:
        outcome: how they ended; None for what nobody knows.
        task: the instruction that was followed; empty for what nobody knows.
    """

    outcome: Outcome | None = None
    task: str = ""

    @property
    def detail(self) -> str:
        """The outcome in words."""
        return "its end is not recorded" + (", the outcome was given" if self.outcome is not None else "")


NOTHING_ASSUMED = Assumed()
