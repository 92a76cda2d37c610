"""What a manifold is worth, from failure tables: beside other densities, without the chunk, and beside the clock.

Each density is fitted on the training seeds; its setting is chosen on the validation seeds by the mean of both AUROCs,
its level is found on successes of the calibration seeds; every figure is of the test seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.split import Part
from salus_vla.learning.manifold.densities import Fit, Score, candidates, chunk_only, distances, state_only
from salus_vla.learning.manifold.fit_manifold import PointSettings
from salus_vla.learning.manifold.manifold_samples import ManifoldSamples
from salus_vla.learning.manifold.matched_cases import Areas, MatchedArea, MatchedCases, cases_before
from salus_vla.safety.manifold.action_manifold import ActionManifold, level_of
from salus_vla.safety.manifold.manifold_inputs import CONTEXT, ROWS, STATE_SIZE

QUESTIONS = {"closing on nothing": True, "drop, collision": False}
OURS = "this manifold"
SIZES_RAD = (0.05, 0.1, 0.2)  # of perturbations: deviation of the last row that is looked at
GRIPPER = 0.25  # m that are as much as 1 rad
_RESAMPLES = 1000


@dataclass(frozen=True)
class Judged:
    """One score.

    Attributes:
        kind: "model", "baseline" or "" of the manifold that is judged.
        setting: that was chosen, in words.
        areas: by question.
        less: manifold that is judged minus this one, by question; None of itself.
        perturbed: share of perturbed chunks of successes inside its own level, by size [rad]; empty without a level.
    """

    name: str
    kind: str
    setting: str
    areas: Mapping[str, MatchedArea]
    less: Mapping[str, MatchedArea] | None
    perturbed: Mapping[float, float]


@dataclass(frozen=True)
class Inside:
    """Decisions inside the level, with the 95 % interval of a bootstrap over seeds.

    Attributes:
        decisions: n.
        episodes: of which they are.
        share, low, high: None of no decisions.
    """

    decisions: int
    episodes: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ManifoldEvaluation:
    """Everything that `salus manifold evaluate` says.

    Attributes:
        digest, share, level: of the manifold.
        cases: episodes that fail and succeed, and decisions of both, by question.
        judged: the scores.
        inside: by what.
        projected: of perturbed chunks outside, the share that is brought inside, by size [rad].
    """

    digest: str
    share: float
    level: float
    cases: Mapping[str, tuple[int, int, int, int]]
    judged: tuple[Judged, ...]
    inside: Mapping[str, Inside]
    projected: Mapping[float, float]


def evaluate_manifold(
    samples: ManifoldSamples,
    manifold: ActionManifold,
    *,
    say: Callable[[str], None],
    models: Mapping[str, Mapping[str, Fit]] | None = None,
) -> ManifoldEvaluation:
    """Judges a manifold.

    Args:
        samples: of tables of its ensemble and basis.
        manifold: what is judged.
        say: is told what is done next.
        models: beside which it stands; `candidates` if not given.

    Raises:
        TrainingError: the training, validation, calibration or test seeds have no successful or no failing episode.
    """
    learned = samples.inputs[samples.rows(Part.TRAIN)]
    calibration = samples.inputs[samples.rows(Part.CALIBRATION)]
    successes = samples.inputs[samples.rows(Part.TEST)]
    for name, values in (("training", learned), ("calibration", calibration), ("test", successes)):
        if not len(values):
            raise TrainingError(f"the tables have no decision of a success of the {name} seeds")
    validation, test = (_cases(samples, part) for part in (Part.VALIDATION, Part.TEST))
    if not any(cases.positive.any() for cases in test.values()):
        raise TrainingError("the tables have no failure of the test seeds, those that end in 8 and 9")
    areas = {question: Areas(cases, _RESAMPLES) for question, cases in test.items()}
    ours: Score = distances(manifold.known)
    own = {question: areas[question].all(ours(samples.inputs[cases.rows])) for question, cases in test.items()}

    def judge(name: str, kind: str, setting: str, score: Score | None, of_rows: FloatArray | None = None) -> Judged:
        found, less = {}, {}
        for question, cases in test.items():
            values: FloatArray = np.zeros(0)
            if len(cases.rows):
                values = score(samples.inputs[cases.rows]) if score is not None else _at(of_rows, cases)
            drawn = areas[question].all(values)
            found[question], less[question] = Areas.interval(drawn), Areas.interval(own[question] - drawn)
        perturbed = {}
        if score is not None:
            level = level_of(np.sort(score(calibration)), manifold.share)
            perturbed = {size: float((score(_perturbed(successes, size)) <= level).mean()) for size in SIZES_RAD}
        return Judged(name, kind, setting, found, less if kind else None, perturbed)

    judged = [judge(OURS, "", manifold.digest, ours)]
    for name, settings in (candidates() if models is None else models).items():
        say(f"fit {name}")
        setting, score = _best(samples, validation, {key: fit(learned) for key, fit in settings.items()})
        judged.append(judge(name, "model", setting, score))
    for name, fit in (("state alone, k-NN", state_only), ("chunk alone, k-NN", chunk_only)):
        judged.append(judge(name, "baseline", "", fit(PointSettings())(learned)))
    phase = samples.time_s - samples.closing_s[samples.episode]
    for name, values in (("time since the start alone", samples.time_s), ("phase alone", phase)):
        judged.append(judge(name, "baseline", "", None, values))
    return ManifoldEvaluation(
        digest=manifold.digest,
        share=manifold.share,
        level=manifold.level,
        cases={
            question: (*cases.episodes, int(cases.positive.sum()), int((~cases.positive).sum()))
            for question, cases in test.items()
        },
        judged=tuple(judged),
        inside=_inside(samples, manifold, test),
        projected=_projected(manifold, successes),
    )


def _at(values: FloatArray | None, cases: MatchedCases) -> FloatArray:
    assert values is not None
    found: FloatArray = values[cases.rows]
    return found


def _cases(samples: ManifoldSamples, part: Part) -> dict[str, MatchedCases]:
    episodes = samples.part == part
    return {question: cases_before(samples, episodes, miss=miss) for question, miss in QUESTIONS.items()}


def _best(
    samples: ManifoldSamples, cases: Mapping[str, MatchedCases], scores: Mapping[str, Score]
) -> tuple[str, Score]:
    """By the mean AUROC over questions; the first one where there is none."""
    areas = {question: Areas(item, 0) for question, item in cases.items() if item.positive.any()}

    def mean(setting: str) -> float:
        found = [area.all(scores[setting](samples.inputs[cases[name].rows]))[0] for name, area in areas.items()]
        return float(np.mean(found)) if found else 0.0

    best = max(scores, key=mean)
    return best, scores[best]


def _inside(samples: ManifoldSamples, manifold: ActionManifold, test: Mapping[str, MatchedCases]) -> dict[str, Inside]:
    """Of successes of the test seeds, by profile too, and of decisions before failures."""
    rows = np.flatnonzero(samples.rows(Part.TEST))
    groups = {"successes": rows}
    profiles = samples.profile[samples.episode[rows]]
    groups |= {f"successes of {name}": rows[profiles == name] for name in np.unique(profiles).tolist()}
    groups |= {f"1 to .5 s before: {name}": cases.rows[cases.positive] for name, cases in test.items()}
    found = {}
    for name, of in groups.items():
        inside = manifold.known.distances(manifold.known.place(samples.inputs[of])) <= manifold.level
        episodes = samples.episode[of]
        found[name] = share_inside(inside, samples.seed[episodes], len(np.unique(episodes)))
    return found


def share_inside(inside: NDArray[np.bool_], seeds: NDArray[np.int64], episodes: int) -> Inside:
    """With the interval of a bootstrap over seeds.

    Args:
        inside: of N decisions, (N,).
        seeds: of their episodes, (N,).
        episodes: how many those are.
    """
    if not len(inside):
        return Inside(0, 0, None, None, None)
    known, of_seed = np.unique(seeds, return_inverse=True)
    total = np.bincount(of_seed, minlength=len(known)).astype(np.float64)
    good = np.bincount(of_seed, inside.astype(np.float64), minlength=len(known))
    drawn = np.random.default_rng(0).integers(len(known), size=(_RESAMPLES, len(known)))
    low, high = np.percentile(good[drawn].sum(axis=1) / total[drawn].sum(axis=1), (2.5, 97.5))
    return Inside(len(inside), episodes, float(inside.mean()), float(low), float(high))


def _perturbed(inputs: FloatArray, size: float) -> FloatArray:
    """Chunks bent away: nothing at once, and by so many rad (a quarter of it in m for the gripper) in the last row."""
    random = np.random.default_rng(0)
    away = random.normal(size=(len(inputs), 1, STATE_SIZE)) * size
    away[..., -1] *= GRIPPER
    found = inputs.copy()
    found[:, CONTEXT:] += (away * (np.arange(1, ROWS + 1) / ROWS)[:, None]).reshape(len(inputs), -1)
    return found


def _projected(manifold: ActionManifold, successes: FloatArray, most: int = 200) -> dict[float, float]:
    """Of perturbed chunks that are outside, how many are brought inside."""
    found = {}
    for size in SIZES_RAD:
        brought = []
        for row in _perturbed(successes[:: max(1, len(successes) // most)], size):
            expert, state = row[: CONTEXT - STATE_SIZE], row[CONTEXT - STATE_SIZE : CONTEXT]
            chunk = row[CONTEXT:].reshape(ROWS, STATE_SIZE) + state
            if manifold.distance(expert, state, chunk) > manifold.level:
                moved = manifold.project(expert, state, chunk)
                brought.append(manifold.distance(expert, state, moved) <= manifold.level)
        if brought:
            found[size] = float(np.mean(brought))
    return found
