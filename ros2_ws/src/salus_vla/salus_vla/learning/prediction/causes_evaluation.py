"""Why episodes fail, how often, and what was to be seen before: from a failure table with ground truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from salus_vla.config.scene import Scene
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import FailureTable
from salus_vla.learning.evaluation.auroc import Auroc
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.prediction.baselines.distances import DISTANCES
from salus_vla.learning.prediction.baselines.one_line_rules import RULES, SIGNALS
from salus_vla.learning.prediction.episode_endings import endings
from salus_vla.learning.prediction.failure_causes import CROOKED, Cause, Ending, cause_of
from salus_vla.learning.prediction.hand_attempts import Grasp
from salus_vla.learning.prediction.questions import Chosen, before_closing, matched_phase
from salus_vla.learning.prediction.samples import Samples

BEFORE_S = 1.0  # before the hand first closes
AFTER_S = 0.4  # after the last grasp began
FEWEST = 10  # failures of a cause, and successes, that a profile must have for a comparison
_IN_HAND = (Cause.CROOKED_GRASP, Cause.SLIPPED, Cause.SAGGED_INTO_BIN, Cause.SHOVED_IN_HAND, Cause.LET_GO)
_STATES = {"cosine k-NN, vision state": "vision state, k-NN", "cosine k-NN, expert state": "expert state, k-NN"}
_FELT = ("mean effort", "tracking error")
TIME = "time alone"
SIGNAL_NAMES = tuple(method.name for method in SIGNALS)
SHOWN = (TIME, *SIGNAL_NAMES, *_STATES.values(), *_FELT)


@dataclass(frozen=True)
class Shown:
    """What was to be seen at one moment in failures of one cause, beside successes of the same profile.

    Attributes:
        cause, profile: of the failures.
        successes, failures: how many.
        areas: AUROC by name of what was looked at; above .5 where it is larger in failures.
    """

    cause: Cause
    profile: str
    successes: int
    failures: int
    areas: Mapping[str, Auroc]

    @property
    def apart(self) -> int:
        """Of the twelve signals those whose interval leaves out .5."""
        known = [self.areas[name] for name in SIGNAL_NAMES]
        return sum(
            area.low is not None and area.high is not None and not area.low <= 0.5 <= area.high for area in known
        )

    @property
    def strongest(self) -> str:
        """The signal that is farthest from .5, chosen after the fact."""
        return max(SIGNAL_NAMES, key=lambda name: abs((self.areas[name].value or 0.5) - 0.5))


@dataclass(frozen=True)
class Crookedness:
    """Failures among episodes whose last grasp was crooked or straight, without those that somebody shoved.

    Attributes:
        profile: of the episodes.
        crooked, straight: those that fail.
        told_to_open: of the crooked failures those whose hand was told to open around the loss.
        told_at_loss: width that it was told at most around the loss, of the crooked failures: median, largest [m].
        told_at_release: likewise of all successes: median, smallest [m].
    """

    profile: str
    crooked: Share
    straight: Share
    told_to_open: Share
    told_at_loss: tuple[float, float]
    told_at_release: tuple[float, float]


@dataclass(frozen=True)
class Load:
    """What a load did to hand and arm until the last grasp ended: medians.

    Attributes:
        cause: of failures; None of successes.
        profile: of the episodes.
        episodes: how many.
        slid: of the cube along the finger pads [m].
        sag: of the tool below its command [m].
    """

    cause: Cause | None
    profile: str
    episodes: int
    slid: float
    sag: float


@dataclass(frozen=True)
class CausesEvaluation:
    """Everything.

    Attributes:
        profiles: in the order of the table, with their number of episodes.
        causes: share of a profile's episodes, by cause and profile.
        grasps: by profile.
        loads: of failures in the hand, by cause and profile, and of successes.
        before: at `BEFORE_S` before the hand first closes.
        held: at `AFTER_S` after the last grasp began, for what is lost from the hand.
    """

    profiles: Mapping[str, int]
    causes: Mapping[Cause, Mapping[str, Share]]
    grasps: Sequence[Crookedness]
    loads: Sequence[Load]
    before: Sequence[Shown]
    held: Sequence[Shown]


def evaluate_causes(
    table: FailureTable, samples: Samples, scene: Scene, say: Callable[[str], None]
) -> CausesEvaluation:
    """Counts causes and looks at what was shown before them.

    Args:
        table: of the episodes.
        samples: made from it.
        scene: that the episodes were made in.
        say: told how far it is.

    Raises:
        DatasetError: no failure with ground truth.
    """
    found = endings(table, scene)
    causes = np.array(
        [
            "" if ending is None or good else cause_of(ending).value
            for ending, good in zip(found, samples.success, strict=True)
        ]
    )
    if not (causes != "").any():
        raise DatasetError(
            f"{', '.join(map(str, table.files))}: no failed episode with ground truth, so no cause can be told; the "
            "simulator's runs have it"
        )
    profiles = {str(name): int((samples.profile == name).sum()) for name in dict.fromkeys(samples.profile.tolist())}
    say("compare what was shown before")
    scores = _scores(samples)
    moments: tuple[tuple[list[Shown], Callable[[NDArray[np.bool_]], Chosen]], ...] = (
        ([], lambda episodes: _before(samples, episodes)),
        ([], lambda episodes: matched_phase(samples, episodes, AFTER_S)),
    )
    for cause in Cause:
        for profile in profiles:
            failures = (causes == cause.value) & (samples.profile == profile)
            good = samples.success & (samples.profile == profile)
            if min(failures.sum(), good.sum()) < FEWEST:
                continue
            for shown, choose in moments if cause in _IN_HAND else moments[:1]:
                shown.append(_shown(cause, profile, choose(failures | good), scores))
    return CausesEvaluation(
        profiles=profiles,
        causes={
            cause: {
                profile: Share(int(((causes == cause.value) & (samples.profile == profile)).sum()), total)
                for profile, total in profiles.items()
            }
            for cause in Cause
            if (causes == cause.value).any()
        },
        grasps=[_crookedness(profile, found, samples) for profile in profiles],
        loads=[
            load
            for cause in (None, *_IN_HAND)
            for profile in profiles
            if (load := _load(cause, profile, found, causes, samples)) is not None
        ],
        before=moments[0][0],
        held=moments[1][0],
    )


def _scores(samples: Samples) -> dict[str, FloatArray]:
    """Scores of all decisions by name, in the order of `SHOWN`. The states of successes are those of other seeds."""
    everyone = np.ones(len(samples.seed), dtype=np.bool_)
    named = {method.name: method for method in (*RULES, *SIGNALS, *DISTANCES)}
    found: dict[str, FloatArray] = {}
    for name in (TIME, *SIGNAL_NAMES, *_STATES, *_FELT):
        method = named[name]
        if not method.learns:
            found[name] = method.score(samples, everyone, 0)
            continue
        odd = samples.seed % 2 == 1
        halves = [method.score(samples, half, 0) for half in (odd, ~odd)]
        found[_STATES[name]] = np.where(samples.rows(odd), halves[1], halves[0])
    return found


def _before(samples: Samples, episodes: NDArray[np.bool_]) -> Chosen:
    """The decision `BEFORE_S` before the hand first closes, by whether the episode fails."""
    chosen = before_closing(samples, episodes, BEFORE_S)
    return replace(chosen, positive=np.array([samples.fails[rows[0]] for rows in chosen.rows], dtype=np.bool_))


def _shown(cause: Cause, profile: str, chosen: Chosen, scores: Mapping[str, FloatArray]) -> Shown:
    return Shown(
        cause=cause,
        profile=profile,
        successes=int((~chosen.positive).sum()),
        failures=int(chosen.positive.sum()),
        areas={name: chosen.auroc(values) for name, values in scores.items()},
    )


def _crookedness(profile: str, found: Sequence[Ending | None], samples: Samples) -> Crookedness:
    """Of episodes whose last closing gripped the cube."""
    counts = {True: [0, 0], False: [0, 0]}  # crooked -> failures, all
    opened = 0
    at_loss: list[float] = []
    at_release: list[float] = []
    for index, ending in enumerate(found):
        grasp = _last_grasp(ending)
        if ending is None or grasp is None or samples.profile[index] != profile or np.isfinite(ending.shove_s):
            continue
        crooked, fails = grasp.width > CROOKED, not samples.success[index]
        counts[crooked][0] += int(fails)
        counts[crooked][1] += 1
        if crooked and fails:
            opened += int(grasp.told_to_open)
            at_loss.append(grasp.widest_told)
        elif not fails:
            at_release.append(grasp.widest_told)
    return Crookedness(
        profile,
        Share(*counts[True]),
        Share(*counts[False]),
        Share(opened, counts[True][0]),
        (_median(at_loss), max(at_loss, default=float("nan"))),
        (_median(at_release), min(at_release, default=float("nan"))),
    )


def _load(
    cause: Cause | None, profile: str, found: Sequence[Ending | None], causes: NDArray[np.str_], samples: Samples
) -> Load | None:
    """None where there are fewer than `FEWEST`."""
    wanted = samples.success if cause is None else causes == cause.value
    chosen = [found[index] for index in np.flatnonzero(wanted & (samples.profile == profile))]
    grasps = [(grasp, ending.sag) for ending in chosen if ending is not None and (grasp := _last_grasp(ending))]
    if len(grasps) < FEWEST:
        return None
    slid, sag = (_median(values) for values in zip(*((grasp.slid, sag) for grasp, sag in grasps), strict=True))
    return Load(cause, profile, len(grasps), slid, sag)


def _last_grasp(ending: Ending | None) -> Grasp | None:
    return ending.attempts[-1].grasp if ending is not None and ending.attempts else None


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")
