"""What drawn motions and approaches did: a trial in episodes in which chance chose, not the situation.

Of each episode three draws count: the approach that it began with, the first one behind a closing on nothing, and the
motion of its first grasp. Episodes with a name are compared with those with the reference, the plan, of the same
profile; a draw owes nothing to how things stood, so that what differs is what the name did, and chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.episodes import Run
from salus_vla.data.recording import Interventions
from salus_vla.learning.evaluation.evaluated_episodes import has_an_end
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.outcome_rates import PHYSICAL_FAILURES
from salus_vla.safety.intervention.candidates import APPROACHES, CHOICES, MEAN, MOTIONS, PLAN

BEGINNING: Final = "the approach that an episode begins with"
BEHIND: Final = "the first approach behind a closing on nothing"
GRASP: Final = "the motion of the first grasp"
STAGES: Final = {BEGINNING: MEAN, BEHIND: MEAN, GRASP: PLAN}  # and what is compared with
_BEGINS = 5  # decisions of an episode; no hand has closed so early
_DRAWS = 10_000
_LIMITS = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Draw:
    """What was drawn at a stage of an episode, and how that episode ended."""

    stage: str
    name: str
    profile: str
    outcome: Outcome


@dataclass(frozen=True)
class TrialRow:
    """What a name did at a stage.

    Attributes:
        stage, name: see `STAGES`.
        success, physical: episodes that ended so.
        gain: share of successes with the name minus that with the reference, mean over the profiles that have both,
            weighted by their draws of the name; with its 95 % interval, by draws of each share from its Jeffreys
            posterior: of few episodes that all end alike a bootstrap would be certain. None for the reference, and
            where no profile has both.
    """

    stage: str
    name: str
    success: Share
    physical: Share
    gain: tuple[float, float, float] | None


def draws_of(told: Interventions, profile: str, outcome: Outcome) -> list[Draw]:
    """The draws of an episode that count."""
    found: dict[str, str] = {}
    first: tuple[str, float] | None = None
    for number, item in enumerate(told.told):
        if item.probability >= 1.0:
            continue
        if item.chosen in MOTIONS:
            found.setdefault(GRASP, item.chosen)
        elif item.chosen in APPROACHES:
            # What is drawn behind a closing has other probabilities, see `AGAIN_SHARES`.
            drawn = (item.chosen, item.probability)
            first = drawn if first is None and number < _BEGINS else first
            found.setdefault(BEGINNING if drawn == first else BEHIND, item.chosen)
    return [Draw(stage, name, profile, outcome) for stage, name in found.items()]


def trial_draws(runs: Iterable[Run]) -> list[Draw]:
    """The draws of runs; episodes that were aborted or taken over do not count.

    Raises:
        RecordingError: an episode cannot be read.
    """
    found = []
    for run in runs:
        for episode in run.counted:
            summary = episode.summary
            if not has_an_end(summary):
                continue
            told = episode.open().interventions()
            if told is not None:
                found += draws_of(told, run.profile, summary.outcome)
    return found


def trial_rows(draws: Sequence[Draw]) -> list[TrialRow]:
    """A row for each name of each stage, in the order of `CHOICES`."""
    found = []
    for stage, reference in STAGES.items():
        here = [draw for draw in draws if draw.stage == stage]
        base = [draw for draw in here if draw.name == reference]
        for name in (name for name in CHOICES if any(draw.name == name for draw in here)):
            own = [draw for draw in here if draw.name == name]
            found.append(
                TrialRow(
                    stage,
                    name,
                    Share(sum(draw.outcome is Outcome.SUCCESS for draw in own), len(own)),
                    Share(sum(draw.outcome in PHYSICAL_FAILURES for draw in own), len(own)),
                    None if name == reference else _gain(own, base),
                )
            )
    return found


def _gain(own: Sequence[Draw], base: Sequence[Draw]) -> tuple[float, float, float] | None:
    groups = [
        (_successes(own, profile), _successes(base, profile)) for profile in sorted({draw.profile for draw in own})
    ]
    groups = [(one, other) for one, other in groups if len(one) and len(other)]
    if not groups:
        return None
    whole = sum(len(one) for one, _ in groups)
    random = np.random.default_rng(0)

    def drawn(values: NDArray[np.bool_]) -> FloatArray:
        """Shares of successes that are as likely as what was seen allows, (`_DRAWS`,)."""
        return np.asarray(random.beta(values.sum() + 0.5, (~values).sum() + 0.5, _DRAWS))

    middle = float(sum(len(one) / whole * (one.mean() - other.mean()) for one, other in groups))
    gains = sum(len(one) / whole * (drawn(one) - drawn(other)) for one, other in groups)
    low, high = np.percentile(gains, _LIMITS)
    return middle, float(min(low, middle)), float(max(high, middle))


def _successes(draws: Sequence[Draw], profile: str) -> NDArray[np.bool_]:
    return np.array([draw.outcome is Outcome.SUCCESS for draw in draws if draw.profile == profile], dtype=np.bool_)
