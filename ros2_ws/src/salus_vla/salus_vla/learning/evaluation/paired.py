"""Two policies on the same seeds: what one avoids and what it causes, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.episodes import Run
from salus_vla.data.recording import Episode, Summary
from salus_vla.learning.evaluation.evaluated_episodes import has_an_end
from salus_vla.learning.evaluation.hand_overs import stuck_for_s
from salus_vla.learning.evaluation.outcome_rates import PHYSICAL_FAILURES

ALL = "all profiles"
IN_TIME_S = 5.0  # after the last progress
_STUCK = (Outcome.MISS, Outcome.TIMEOUT)
_RESAMPLES = 10_000
_LIMITS = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Pair:
    """The same seed and profile with both policies.

    Attributes:
        profile, seed: that they have in common.
        base, other: how they went.
        stuck_s: for how long the other one had made no progress when it was handed over [s]; NaN if it was not.
    """

    profile: str
    seed: int
    base: Summary
    other: Summary
    stuck_s: float = float("nan")


@dataclass(frozen=True)
class Change:
    """How often something is the case with the one and with the other policy.

    Attributes:
        base, other: number of episodes.
        only_base, only_other: pairs in which it is the case with one of them only.
        p: of the exact two-sided McNemar test that both are equally frequent.
        difference: other minus base, as a share of the pairs, and its 95 % bootstrap interval over pairs.
    """

    base: int
    other: int
    only_base: int
    only_other: int
    p: float
    difference: tuple[float, float, float]


@dataclass(frozen=True)
class HandOvers:
    """Which episodes were handed over.

    Attributes:
        stuck: pairs of which the base ended in MISS or TIMEOUT.
        stuck_handed_over: those of them that were handed over, and in time: within `IN_TIME_S` of the last progress.
        stuck_left: those of them that ended in MISS or TIMEOUT again; the others were delivered, or failed otherwise.
        successes: pairs of which the base succeeded, and those of them that were handed over.
    """

    stuck: int
    stuck_handed_over: int
    stuck_in_time: int
    stuck_left: int
    successes: int
    successes_handed_over: int


@dataclass(frozen=True)
class PairedRow:
    """The pairs of a profile, or of all.

    Attributes:
        profile: its name, or `ALL`.
        pairs: how many.
        apart: seeds of both that do not count: aborted, or taken over in one of them.
        success, timeout, physical, handed_over: how often the episode ended so. One that was handed over to a person is
            neither a success nor a failure.
        hand_overs: which of them were.
        time_ratio: mean time of the pairs that both deliver, other over base, and its 95 % bootstrap interval; None
            without such a pair.
    """

    profile: str
    pairs: int
    apart: int
    success: Change
    timeout: Change
    physical: Change
    handed_over: Change
    hand_overs: HandOvers
    time_ratio: tuple[float, float, float] | None


def paired_rows(runs: Iterable[tuple[Run, Run]]) -> list[PairedRow]:
    """Compares runs in pairs, by profile and, for several profiles, together.

    Args:
        runs: base and other, which have a profile and seeds in common.

    Raises:
        ConfigError: two runs differ in their profile, or have no seed in common; names them.
        RecordingError: an episode cannot be read.
    """
    found: dict[str, list[Pair]] = {}
    apart: dict[str, int] = {}
    for base, other in runs:
        pairs, left_out = pairs_of(base, other)
        found.setdefault(base.profile, []).extend(pairs)
        apart[base.profile] = apart.get(base.profile, 0) + left_out
    rows = [_row(profile, pairs, apart[profile]) for profile, pairs in found.items()]
    if len(found) > 1:
        rows.append(_row(ALL, [pair for pairs in found.values() for pair in pairs], sum(apart.values())))
    return rows


def pairs_of(base: Run, other: Run) -> tuple[list[Pair], int]:
    """Pairs of two runs in the order of their seeds, and how many common seeds do not count.

    Raises:
        ConfigError, RecordingError: as `paired_rows`.
    """
    if base.profile != other.profile:
        raise ConfigError(
            f"{base.path} has profile {base.profile!r}, {other.path} {other.profile!r}: "
            "a pair differs in the policy only"
        )
    first, second = ({episode.seed: episode for episode in run.counted} for run in (base, other))
    common = sorted(first.keys() & second.keys())
    if not common:
        raise ConfigError(f"{base.path} and {other.path} have no seed in common")
    pairs = [_pair(base.profile, seed, first[seed], second[seed]) for seed in common]
    complete = [pair for pair in pairs if has_an_end(pair.base) and has_an_end(pair.other)]
    return complete, len(pairs) - len(complete)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p value that both are equally frequent, from the pairs that differ (McNemar 1947, binomial)."""
    total = only_first + only_second
    tail = sum(comb(total, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2.0 * tail / 2**total)


def _pair(profile: str, seed: int, base: Episode, other: Episode) -> Pair:
    handed_over = other.summary.outcome is Outcome.HANDED_OVER
    stuck_s = stuck_for_s(other.open()) if handed_over else float("nan")
    return Pair(profile, seed, base.summary, other.summary, stuck_s)


def _row(profile: str, pairs: Sequence[Pair], apart: int) -> PairedRow:
    return PairedRow(
        profile=profile,
        pairs=len(pairs),
        apart=apart,
        success=_change(pairs, lambda outcome: outcome is Outcome.SUCCESS),
        timeout=_change(pairs, lambda outcome: outcome is Outcome.TIMEOUT),
        physical=_change(pairs, lambda outcome: outcome in PHYSICAL_FAILURES),
        handed_over=_change(pairs, lambda outcome: outcome is Outcome.HANDED_OVER),
        hand_overs=_hand_overs(pairs),
        time_ratio=_time_ratio(pairs),
    )


def _change(pairs: Sequence[Pair], is_so: Callable[[Outcome], bool]) -> Change:
    values = np.array([(is_so(pair.base.outcome), is_so(pair.other.outcome)) for pair in pairs], dtype=bool)
    values = values.reshape(-1, 2)
    base, other = values[:, 0], values[:, 1]
    only_base, only_other = int((base & ~other).sum()), int((other & ~base).sum())
    difference = other.astype(np.float64) - base
    return Change(
        int(base.sum()),
        int(other.sum()),
        only_base,
        only_other,
        mcnemar(only_base, only_other),
        _bootstrap(difference[:, None], lambda sample: sample[..., 0].mean(axis=-1)) if len(pairs) else (0.0, 0.0, 0.0),
    )


def _hand_overs(pairs: Sequence[Pair]) -> HandOvers:
    stuck = [pair for pair in pairs if pair.base.outcome in _STUCK]
    successes = [pair for pair in pairs if pair.base.outcome is Outcome.SUCCESS]
    handed = [pair for pair in stuck if pair.other.outcome is Outcome.HANDED_OVER]
    return HandOvers(
        len(stuck),
        len(handed),
        sum(pair.stuck_s <= IN_TIME_S for pair in handed),
        sum(pair.other.outcome in _STUCK for pair in stuck),
        len(successes),
        sum(pair.other.outcome is Outcome.HANDED_OVER for pair in successes),
    )


def _time_ratio(pairs: Sequence[Pair]) -> tuple[float, float, float] | None:
    both = [pair for pair in pairs if pair.base.outcome is pair.other.outcome is Outcome.SUCCESS]
    if not both:
        return None
    times = np.array([(pair.base.decisions, pair.other.decisions) for pair in both], dtype=np.float64)
    return _bootstrap(times, lambda sample: sample[..., 1].mean(axis=-1) / sample[..., 0].mean(axis=-1))


def _bootstrap(values: FloatArray, statistic: Callable[[FloatArray], FloatArray]) -> tuple[float, float, float]:
    """A statistic of rows (N, C), and its percentile interval over resampled rows; the same each time."""
    generator = np.random.default_rng(0)
    drawn = [
        statistic(values[generator.integers(len(values), size=(100, len(values)))]) for _ in range(_RESAMPLES // 100)
    ]
    low, high = np.percentile(np.concatenate(drawn), _LIMITS)
    return float(statistic(values)), float(low), float(high)
