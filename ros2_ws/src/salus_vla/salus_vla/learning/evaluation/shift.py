"""Do the signals rise under shift? AUROC of each against the in-distribution episodes, and how far members disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.types import FloatArray
from salus_vla.learning.evaluation.auroc import Auroc, Group, compare
from salus_vla.learning.evaluation.subjects import Condition, PolicyUnderTest
from salus_vla.learning.evaluation.windows import Window, first, means, medians, whole
from salus_vla.signals.safety_signals import NAMES

DISAGREEMENT = ("epistemic_uncertainty", "chunk_divergence", "max_joint_disagreement")
FIRST, WHOLE = "first decisions", "whole episode"


@dataclass(frozen=True)
class ShiftDetection:
    """Each signal of a shifted profile against the reference: above 0.5 it is larger under shift.

    Attributes:
        subject: whose signals.
        profile: the shifted one.
        reference: the one that it is distinguished from.
        window: `FIRST` or `WHOLE`, the decisions whose mean is an episode's value.
        reference_episodes, episodes: how many there are of each; those without a valid value are left out by signal.
        common_seeds: seeds that both have; with equal seeds scene and noise are equal but for the shift.
        signals: AUROC by name of the signal, the reference being its first group.
    """

    subject: str
    profile: str
    reference: str
    window: str
    reference_episodes: int
    episodes: int
    common_seeds: int
    signals: dict[str, Auroc]


@dataclass(frozen=True)
class Level:
    """How large a signal is in a profile.

    Attributes:
        median: over the episodes, of the median over the decisions of each; None when it is never valid.
        ratio: to that of the reference; None without one, or where that is 0.
        episodes: with a valid value.
    """

    median: float | None
    ratio: float | None
    episodes: int


@dataclass(frozen=True)
class Disagreement:
    """How far the members disagree in a profile: a `Level` by name of the signal, of `DISAGREEMENT`."""

    subject: str
    profile: str
    window: str
    signals: dict[str, Level]


def detect(subject: PolicyUnderTest, decisions: int) -> list[ShiftDetection]:
    """Compares every profile with the reference, and the shifted ones together; empty without a reference.

    Args:
        subject: with its conditions.
        decisions: the first so many decisions are one of the two windows; the other is the whole episode.
    """
    reference = subject.in_distribution
    if reference is None:
        return []
    others = [condition for condition in _conditions(subject) if condition.profile != reference.profile]
    return [
        _detected(subject, reference, condition, name, window)
        for name, window in _windows(decisions)
        for condition in others
    ]


def disagreement(subject: PolicyUnderTest, decisions: int) -> list[Disagreement]:
    """How far the members of a subject disagree in every profile; empty for one without members to disagree."""
    result = []
    for name, window in _windows(decisions):
        own = {condition.profile: _levels(condition, window) for condition in _conditions(subject)}
        if not any(np.isfinite(values).any() for values in own.values()):
            return []
        base = _middle(own[subject.reference]) if subject.in_distribution else [None] * len(DISAGREEMENT)
        for profile, values in own.items():
            known = np.isfinite(values).sum(axis=0).tolist()
            levels = {
                signal: Level(middle, middle / usual if middle is not None and usual else None, count)
                for signal, middle, usual, count in zip(DISAGREEMENT, _middle(values), base, known, strict=True)
            }
            result.append(Disagreement(subject.label, profile, name, levels))
    return result


def _windows(decisions: int) -> tuple[tuple[str, Window], ...]:
    return (FIRST, first(decisions)), (WHOLE, whole)


def _conditions(subject: PolicyUnderTest) -> list[Condition]:
    return [*subject.conditions, *([subject.pooled] if subject.pooled else [])]


def _detected(
    subject: PolicyUnderTest, reference: Condition, condition: Condition, name: str, window: Window
) -> ShiftDetection:
    usual, shifted = means(reference.episodes, window), means(condition.episodes, window)
    return ShiftDetection(
        subject=subject.label,
        profile=condition.profile,
        reference=reference.profile,
        window=name,
        reference_episodes=len(reference.episodes),
        episodes=len(condition.episodes),
        common_seeds=len(set(reference.seeds.tolist()) & set(condition.seeds.tolist())),
        signals={
            signal: compare(
                Group.of_valid(usual[:, index], reference.seeds), Group.of_valid(shifted[:, index], condition.seeds)
            )
            for index, signal in enumerate(NAMES)
        },
    )


def _levels(condition: Condition, window: Window) -> FloatArray:
    return medians(condition.episodes, window)[:, [NAMES.index(name) for name in DISAGREEMENT]]


def _middle(values: FloatArray) -> list[float | None]:
    """Median of the known values of each column, (E, C) -> C."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return [float(np.median(column)) if len(column) else None for column in columns]
