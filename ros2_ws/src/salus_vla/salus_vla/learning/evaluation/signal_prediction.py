"""Do the signals tell failures from successes before they happen? AUROC within each condition; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.outcomes import Outcome
from salus_vla.learning.evaluation.auroc import Auroc, Group, compare
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode
from salus_vla.learning.evaluation.outcome_rates import PHYSICAL_FAILURES
from salus_vla.learning.evaluation.subjects import Condition, PolicyUnderTest
from salus_vla.learning.evaluation.windows import means, until
from salus_vla.signals.safety_signals import NAMES

AHEAD_S = 1.0  # what is nearer to the event is not used


@dataclass(frozen=True)
class FailurePrediction:
    """Each signal of the failed episodes of a condition against its succeeded ones.

    Attributes:
        subject, profile: the condition.
        succeeded, failed: episodes that ended with SUCCESS, and with a physical failure.
        left_out: complete ones that did neither (TIMEOUT), or that had no decision 1 s before the event.
        signals: AUROC by name of the signal, the succeeded ones being the first group.
        time_alone: AUROC of the time until 1 s before the event, which any mean over this time may only repeat.
    """

    subject: str
    profile: str
    succeeded: int
    failed: int
    left_out: int
    signals: dict[str, Auroc]
    time_alone: Auroc


def predict(subject: PolicyUnderTest) -> list[FailurePrediction]:
    """For every condition of a subject."""
    return [_predicted(subject.label, condition) for condition in subject.conditions]


def _predicted(label: str, condition: Condition) -> FailurePrediction:
    window = until(AHEAD_S)
    usable = [episode for episode in condition.episodes if len(window(episode))]
    succeeded = [episode for episode in usable if episode.outcome is Outcome.SUCCESS]
    failed = [episode for episode in usable if episode.outcome in PHYSICAL_FAILURES]
    good, bad = means(succeeded, window), means(failed, window)
    good_seeds, bad_seeds = _seeds(succeeded), _seeds(failed)
    return FailurePrediction(
        subject=label,
        profile=condition.profile,
        succeeded=len(succeeded),
        failed=len(failed),
        left_out=len(condition.episodes) - len(succeeded) - len(failed),
        signals={
            signal: compare(Group.of_valid(good[:, index], good_seeds), Group.of_valid(bad[:, index], bad_seeds))
            for index, signal in enumerate(NAMES)
        },
        time_alone=compare(Group(_times(succeeded), good_seeds), Group(_times(failed), bad_seeds)),
    )


def _seeds(episodes: list[EvaluatedEpisode]) -> np.ndarray:
    return np.array([episode.seed for episode in episodes], dtype=np.int64)


def _times(episodes: list[EvaluatedEpisode]) -> np.ndarray:
    return np.array([episode.event_s for episode in episodes], dtype=np.float64)
