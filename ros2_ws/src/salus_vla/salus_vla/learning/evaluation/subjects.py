"""Puts runs together: what was evaluated (a subject), and its episodes in each profile (a condition)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.outcomes import ended_as
from salus_vla.data.episodes import Run
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode

ALL_SHIFTS = "all shifts"  # no name of a profile: those have no blank
TRAIN = "train"  # the profile of the demonstrations: no shift


@dataclass(frozen=True, eq=False)
class Condition:
    """Episodes of a subject in one profile, or in all shifted ones.

    Attributes:
        profile: its name, or `ALL_SHIFTS`.
        runs: that they are from.
        episodes: complete ones in the order of their seeds.
        apart: how many others there are, by outcome.
    """

    profile: str
    runs: tuple[Run, ...]
    episodes: tuple[EvaluatedEpisode, ...]
    apart: Counter[str]

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Of the episodes, (E,)."""
        return np.array([episode.seed for episode in self.episodes], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class PolicyUnderTest:
    """A policy as it was run.

    Attributes:
        label: unique among the subjects.
        settings: what it is distinguished from others by.
        members: hashes of the ensemble's members; empty for a policy without any.
        reference: profile that shifts are distinguished from.
        conditions: one for each profile, the reference first.
    """

    label: str
    settings: Mapping[str, str]
    members: tuple[str, ...]
    reference: str
    conditions: tuple[Condition, ...]

    @property
    def in_distribution(self) -> Condition | None:
        """The condition of the reference profile; None when there is no run of it."""
        return next((item for item in self.conditions if item.profile == self.reference), None)

    @property
    def pooled(self) -> Condition | None:
        """All shifted profiles together; None when there are fewer than two."""
        shifted = [item for item in self.conditions if item.profile not in (self.reference, TRAIN)]
        if len(shifted) < 2:
            return None
        return Condition(
            ALL_SHIFTS,
            tuple(run for item in shifted for run in item.runs),
            tuple(episode for item in shifted for episode in item.episodes),
            sum((item.apart for item in shifted), Counter()),
        )


def group(runs: Iterable[tuple[Run, Sequence[EvaluatedEpisode]]], reference: str) -> list[PolicyUnderTest]:
    """Subjects in the order in which they first appear.

    Runs are of one subject when they agree in the weights of every member (by hash; by name where the hashes are not
    recorded) and in all that changes what an episode is or what the signals mean, the profile apart.

    Args:
        runs: each with its episodes.
        reference: profile that shifts are distinguished from.

    Raises:
        ConfigError: two runs of one subject and profile have a seed in common; names them.
    """
    found: dict[tuple[str, ...], list[tuple[Run, Sequence[EvaluatedEpisode]]]] = {}
    for run, episodes in runs:
        found.setdefault(_key(run), []).append((run, episodes))
    labels = _labels([group[0][0] for group in found.values()])
    return [
        PolicyUnderTest(label, _settings(items[0][0]), items[0][0].members, reference, _conditions(items, reference))
        for label, items in zip(labels, found.values(), strict=True)
    ]


def member_of(single: PolicyUnderTest, ensemble: PolicyUnderTest) -> int | None:
    """Which member of an ensemble a subject is by itself, run in the same way; None when it is not one."""
    if len(single.members) != 1 or len(ensemble.members) < 2 or single.members[0] not in ensemble.members:
        return None
    free = ("model", "weights", "novelty reference")
    same = all(value == ensemble.settings[name] for name, value in single.settings.items() if name not in free)
    return ensemble.members.index(single.members[0]) if same else None


def _settings(run: Run) -> dict[str, str]:
    """By name in words, in the order in which they distinguish labels."""
    arguments, facts = run.arguments, run.facts
    ensemble = run.policy == "ensemble"
    weights = hashlib.sha256(" ".join(run.members).encode()).hexdigest()[:8] if run.members else ""
    limit = arguments.get("max_decisions", "0")
    return {
        "policy": run.policy,
        "model": arguments.get("model", "") if ensemble else "",
        "made by": run.made_by,
        "simulator": arguments.get("sim", "mujoco"),
        "pacing": arguments.get("pacing", "lockstep"),
        "disturbed": arguments.get("disturb", "false"),
        "taken over by": arguments.get("takeover", ""),
        "taken over when": arguments.get("when", ""),
        "at most": "all decisions" if limit == "0" else f"{limit} decisions",
        "noise samples": facts.get("policy.noise_samples", ""),
        "dtype": facts.get("policy.dtype", ""),
        "task": arguments.get("task", ""),
        "novelty reference": facts.get("policy.novelty_reference", ""),
        "weights": weights,
    }


def _key(run: Run) -> tuple[str, ...]:
    settings = _settings(run)
    if run.members:
        settings["model"] = ""
    return (*settings.values(), *run.members)


def _labels(runs: Sequence[Run]) -> list[str]:
    """The model or policy, and what tells it from the others with the same one."""
    settings = [_settings(run) for run in runs]
    bases = [item["model"] or item["policy"] for item in settings]
    labels = []
    for base, own in zip(bases, settings, strict=True):
        namesakes = [item for name, item in zip(bases, settings, strict=True) if name == base]
        parts = [
            value if name in ("made by", "pacing") else f"{name} {value or 'unknown'}"
            for name, value in own.items()
            if any(item[name] != value for item in namesakes)
        ]
        labels.append(f"{base} ({', '.join(parts)})" if parts else base)
    return labels


def _conditions(items: Sequence[tuple[Run, Sequence[EvaluatedEpisode]]], reference: str) -> tuple[Condition, ...]:
    profiles = list(dict.fromkeys(run.profile for run, _ in items))
    profiles.sort(key=lambda name: (name != reference, name != TRAIN))
    return tuple(_condition(name, [item for item in items if item[0].profile == name]) for name in profiles)


def _condition(profile: str, items: Sequence[tuple[Run, Sequence[EvaluatedEpisode]]]) -> Condition:
    owners: dict[int, Run] = {}
    everything = [(run, episode) for run, episodes in items for episode in episodes]
    complete = sorted(((run, item) for run, item in everything if item.complete), key=lambda pair: pair[1].seed)
    for run, episode in complete:
        if episode.seed in owners:
            raise ConfigError(
                f"{run.path}: has seed {episode.seed} as {owners[episode.seed].path} has, with the same policy and "
                "profile; an episode counts once: leave one of them out"
            )
        owners[episode.seed] = run
    return Condition(
        profile,
        tuple(run for run, _ in items),
        tuple(episode for _, episode in complete),
        Counter(
            ended_as(episode.outcome, taken_over=episode.taken_over)
            for _, episode in everything
            if not episode.complete
        ),
    )
