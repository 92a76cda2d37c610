"""How episodes ended: rates with Wilson intervals, for each condition, and of members beside their ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from salus_vla.contract.outcomes import Outcome
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.subjects import Condition, PolicyUnderTest, member_of

OUTCOMES = (Outcome.SUCCESS, Outcome.COLLISION, Outcome.DROP, Outcome.MISS, Outcome.TIMEOUT)
PHYSICAL_FAILURES = (Outcome.COLLISION, Outcome.DROP, Outcome.MISS)  # TIMEOUT is censoring, not an event


@dataclass(frozen=True)
class Outcomes:
    """How the episodes of a condition ended.

    Attributes:
        subject, profile: the condition.
        episodes: complete ones; what follows is of them.
        apart: number of others, by outcome: ABORTED.
        shares: of each outcome, by its name.
        physical_failures: COLLISION, DROP and MISS together.
        first_seed, last_seed: smallest and largest; None of no episodes.
        seeds: how many different ones; in pooled profiles the same seed may be there several times.
        median_decisions: of the successes; None of no success.
        decisions_per_s: of wall time; None where the wall time is not recorded for every episode.
    """

    subject: str
    profile: str
    episodes: int
    apart: dict[str, int]
    shares: dict[str, Share]
    physical_failures: Share
    first_seed: int | None
    last_seed: int | None
    seeds: int
    median_decisions: float | None
    decisions_per_s: float | None

    @property
    def success(self) -> Share:
        """Share of SUCCESS."""
        return self.shares[Outcome.SUCCESS.name]


@dataclass(frozen=True)
class MemberRates:
    """An ensemble and those of its members that were run by themselves, in one profile.

    Attributes:
        ensemble: label of the ensemble.
        members: how many it has.
        profile: of the runs.
        whole: outcomes of the ensemble.
        single: outcomes of a member by its number in the ensemble.
        same_seeds: whether all of them ran the same seeds.
    """

    ensemble: str
    members: int
    profile: str
    whole: Outcomes
    single: dict[int, Outcomes]
    same_seeds: bool


def summarise(subject: str, condition: Condition) -> Outcomes:
    """Counts how the episodes of a condition ended; `subject` is the label of what it is of."""
    episodes = condition.episodes
    ended = [episode.outcome for episode in episodes]
    seeds = sorted({episode.seed for episode in episodes})
    successes = [episode.decisions for episode in episodes if episode.outcome is Outcome.SUCCESS]
    walls = [episode.wall_s for episode in episodes if episode.wall_s is not None]
    measured = bool(episodes) and len(walls) == len(episodes) and sum(walls) > 0.0
    return Outcomes(
        subject=subject,
        profile=condition.profile,
        episodes=len(episodes),
        apart=dict(sorted(condition.apart.items())),
        shares={outcome.name: Share(ended.count(outcome), len(ended)) for outcome in OUTCOMES},
        physical_failures=Share(sum(outcome in PHYSICAL_FAILURES for outcome in ended), len(ended)),
        first_seed=seeds[0] if seeds else None,
        last_seed=seeds[-1] if seeds else None,
        seeds=len(seeds),
        median_decisions=float(median(successes)) if successes else None,
        decisions_per_s=sum(episode.decisions for episode in episodes) / sum(walls) if measured else None,
    )


def outcomes_of(subject: PolicyUnderTest) -> list[Outcomes]:
    """Of every condition of a subject, and of the shifted profiles together."""
    conditions = [*subject.conditions, *([subject.pooled] if subject.pooled else [])]
    return [summarise(subject.label, condition) for condition in conditions]


def member_rates(subjects: Sequence[PolicyUnderTest]) -> list[MemberRates]:
    """For each ensemble and profile with runs of single members."""
    rates = []
    for ensemble in subjects:
        singles = {number: item for item in subjects if (number := member_of(item, ensemble)) is not None}
        for condition in ensemble.conditions:
            own = {
                number: found
                for number, item in sorted(singles.items())
                for found in item.conditions
                if found.profile == condition.profile
            }
            if own:
                label = ensemble.label
                rates.append(
                    MemberRates(
                        ensemble=label,
                        members=len(ensemble.members),
                        profile=condition.profile,
                        whole=summarise(label, condition),
                        single={number: summarise(singles[number].label, item) for number, item in own.items()},
                        same_seeds=all(set(item.seeds) == set(condition.seeds) for item in own.values()),
                    )
                )
    return rates
