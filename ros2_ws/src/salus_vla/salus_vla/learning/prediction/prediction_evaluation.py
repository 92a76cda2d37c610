"""Every number about prediction in one run, from a failure table: ours, rules of one line, published methods.

Trained on the training and validation seeds, thresholds from the successes of the calibration seeds, everything that is
reported from the test seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ConfigError, TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.split import Part
from salus_vla.learning.evaluation.auroc import Auroc
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.prediction.baselines.distances import DISTANCES
from salus_vla.learning.prediction.baselines.method import OURS, PUBLISHED, RULE, Method
from salus_vla.learning.prediction.baselines.one_line_rules import BLACK_BOX, RULES, SIGNALS
from salus_vla.learning.prediction.baselines.sequence_models import SEQUENCE_MODELS
from salus_vla.learning.prediction.detection import (
    Detection,
    Foreseen,
    constant_threshold,
    detect,
    losses_foreseen,
    misses_foreseen,
)
from salus_vla.learning.prediction.ours import INPUT_SETS, Foreseeing, foresee, holds
from salus_vla.learning.prediction.questions import (
    AT_DECISIONS,
    PHASES_S,
    SLIP_WINDOWS_S,
    Chosen,
    Difference,
    at_decision,
    before_closing,
    compare_paired,
    matched_phase,
    rows_of,
    slip,
)
from salus_vla.learning.prediction.reliability import Reliability, reliability
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.alarm_band import AlarmBand, alpha_floor, fit_band, scores
from salus_vla.safety.prediction.predictor_network import FailureKind

ALPHAS = (0.01, 0.05, 0.10, 0.20)
ALPHA = 0.05  # at which detection is compared
EARLY = ("eval", "camera_moved", "other_color", "dark", "distractor")
OUR_NAME = "SALUS predictor"
SINCE_GRASP = "time since the grasp"
_LEFT_OUT = ("cosine k-NN", "Mahalanobis", "SAFE-LSTM")  # that are trained anew for each profile, which takes time
_LEARNING = (Part.TRAIN, Part.VALIDATION)


@dataclass(frozen=True)
class Row:
    """A method's answers to a question: one AUROC for each column."""

    method: str
    kind: str
    areas: Mapping[str, Auroc]


@dataclass(frozen=True)
class Contest:
    """Ours against the best of the others in one column, paired."""

    column: str
    best: str
    difference: Difference | None


@dataclass(frozen=True)
class Conformal:
    """False alarms of held-out successes at an alpha; `supported` says what the calibration episodes allow."""

    alpha: float
    alarms: Share | None
    by_profile: Mapping[str, Share]


@dataclass(frozen=True)
class PredictionEvaluation:
    """Everything that is reported; attributes are tables in the order in which they are shown.

    Attributes:
        counts: episodes by part and profile: (part, profile) -> (successes, failures by outcome).
        early: failure at decision 5 over `EARLY`, all methods, and single profiles.
        seen: failure at decisions, all profiles together, all methods.
        left_out: mean over profiles of the AUROC at decisions when the profile was not learned from.
        left_out_profiles: the same at decision 30 by profile, methods that learn and rules.
        phase: physical failures at a matched phase.
        slips: by profile and window.
        miss: 1 s and 0.5 s before the first closing.
        contests: ours against the best other.
        seeds: AUROC of ours by training seed and column.
        misses, losses: foreseen before they begin, by method.
        detections: at an equal rate of false alarms, by method; ours with the conformal band first.
        conformal: by alpha.
        calibration: reliability of probabilities, by name.
        ablation: ours with fewer inputs, by set and column.
    """

    counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    early: list[Row] = field(default_factory=list)
    seen: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    phase: list[Row] = field(default_factory=list)
    slips: list[Row] = field(default_factory=list)
    miss: list[Row] = field(default_factory=list)
    contests: dict[str, list[Contest]] = field(default_factory=dict)
    seeds: dict[str, list[float]] = field(default_factory=dict)
    misses: dict[str, Foreseen] = field(default_factory=dict)
    losses: dict[str, Foreseen] = field(default_factory=dict)
    detections: dict[str, Detection] = field(default_factory=dict)
    conformal: list[Conformal] = field(default_factory=list)
    calibration: dict[str, Reliability] = field(default_factory=dict)
    ablation: dict[str, dict[str, float | None]] = field(default_factory=dict)


Say = Callable[[str], None]


def evaluate_prediction(
    samples: Samples, seeds: Sequence[int], *, say: Say = lambda _: None, quick: bool = False
) -> PredictionEvaluation:
    """Fits every method and answers every question.

    Args:
        samples: of a failure table.
        seeds: training seeds of ours, at least one; the middle one by its AUROC at decision 30 is the one shown.
        say: is told what is done next.
        quick: leaves out the profiles left out and the ablation.

    Raises:
        TrainingError: there is no failure or no success to learn from, or none to test on.
    """
    learning, test = samples.of(*_LEARNING), samples.of(Part.TEST)
    calibration = samples.of(Part.CALIBRATION)
    if not (test & samples.success).any() or not (test & ~samples.success).any():
        raise TrainingError(
            f"{int(test.sum())} test episodes (seeds that end in 8 or 9), {int((test & samples.success).sum())} "
            "of them successful: a predictor is judged by the difference, record both"
        )
    found = PredictionEvaluation()
    found.counts.update(_counts(samples))
    say("fit the predictor")
    fitted = [foresee(samples, learning, seed)[1] for seed in seeds]
    columns = {f"at_{decision}": at_decision(samples, test, decision) for decision in AT_DECISIONS}
    found.seeds.update(
        {name: [_value(chosen.auroc(item.failure)) for item in fitted] for name, chosen in columns.items()}
    )
    order = np.argsort(np.nan_to_num(found.seeds["at_30"]))
    ours = fitted[int(order[len(order) // 2])]
    say("fit the baselines")
    others = _scored((*RULES, *SIGNALS, *BLACK_BOX, *DISTANCES, *SEQUENCE_MODELS), samples, learning)
    failing = {OUR_NAME: (OURS, ours.failure), **others}
    found.seen.extend(_rows(columns, failing))
    early = {
        "all": at_decision(samples, test & np.isin(samples.profile, EARLY), 5),
        **{name: at_decision(samples, test & (samples.profile == name), 5) for name in EARLY},
    }
    found.early.extend(_rows(early, failing))
    found.contests["seen"] = _contests(columns, failing)
    found.contests["early"] = _contests({"all": early["all"]}, failing)
    _ask_about_grasps(found, samples, test, ours, others)
    _ask_about_closings(found, samples, calibration, test, ours, others)
    say("alarms and calibration")
    band = _band(samples, learning, calibration, ours)
    _count_alarms(found, samples, calibration, test, ours, others, band)
    _check_probabilities(found, samples, test, ours)
    if not quick:
        say("leave profiles out")
        found.left_out.extend(_left_out(samples, learning, test, seeds[0], say))
        say("fewer inputs")
        found.ablation.update(_ablation(samples, learning, test, seeds[0]))
    return found


Scored = dict[str, tuple[str, FloatArray]]  # name -> kind and scores of all decisions


def _scored(methods: Sequence[Method], samples: Samples, learning: NDArray[np.bool_]) -> Scored:
    return {method.name: (method.kind, method.score(samples, learning, 0)) for method in methods}


def _rows(columns: Mapping[str, Chosen], methods: Scored) -> list[Row]:
    return [
        Row(name, kind, {column: chosen.auroc(values) for column, chosen in columns.items()})
        for name, (kind, values) in methods.items()
    ]


def _contests(columns: Mapping[str, Chosen], methods: Scored) -> list[Contest]:
    """The best of the others is chosen on the test episodes themselves, which favours it."""
    found = []
    for column, chosen in columns.items():
        for kinds in ((RULE,), (PUBLISHED,)):
            areas = {
                name: area
                for name, (kind, values) in methods.items()
                if kind in kinds and (area := chosen.auroc(values).value) is not None
            }
            if areas:
                best = max(areas, key=lambda name: areas[name])
                difference = compare_paired(chosen, methods[OUR_NAME][1], methods[best][1])
                found.append(Contest(column, best, difference))
    return found


def _ask_about_grasps(
    found: PredictionEvaluation, samples: Samples, test: NDArray[np.bool_], ours: Foreseeing, others: Scored
) -> None:
    phases = {f"{phase:g}": matched_phase(samples, test, phase) for phase in PHASES_S}
    # Which head answers was chosen by cross-validation without the test seeds.
    physical = {OUR_NAME: (OURS, ours.failure), f"{OUR_NAME}, events": (OURS, ours.physical), **others}
    found.phase.extend(_rows(phases, physical))
    # What the matching leaves of the time since the grasp.
    found.phase.extend(_rows(phases, {SINCE_GRASP: (RULE, np.nan_to_num(samples.since_grasp_s))}))
    found.contests["phase"] = _contests({"0.4": phases["0.4"]}, physical)
    of_profile = {name: np.isin(samples.profile, (name, "eval")) for name in ("heavy", "slippery")}
    slips = {
        f"{name} {low:g}-{high:g}": slip(samples, test & chosen, (low, high))
        for name, chosen in of_profile.items()
        for low, high in SLIP_WINDOWS_S
    }
    slipping = {OUR_NAME: (OURS, ours.slip), **others}
    found.slips.extend(_rows(slips, slipping))
    found.contests["slip"] = _contests(
        {name: chosen for name, chosen in slips.items() if name.endswith("0.24-0.6")}, slipping
    )


def _ask_about_closings(
    found: PredictionEvaluation,
    samples: Samples,
    calibration: NDArray[np.bool_],
    test: NDArray[np.bool_],
    ours: Foreseeing,
    others: Scored,
) -> None:
    closings = {f"{before:g} s before": before_closing(samples, test, before) for before in (1.0, 0.5)}
    missing = {OUR_NAME: (OURS, ours.miss), f"{OUR_NAME}, failure": (OURS, ours.failure), **others}
    found.miss.extend(_rows(closings, missing))
    found.contests["miss"] = _contests(closings, missing)
    for name, (_, values) in missing.items():
        found.misses[name] = misses_foreseen(samples, calibration, test, values, ALPHA)
    losing = {OUR_NAME: np.maximum(ours.slip, ours.physical), f"{OUR_NAME}, slip": ours.slip}
    for name, values in (losing | {name: values for name, (_, values) in others.items()}).items():
        found.losses[name] = losses_foreseen(samples, calibration, test, values, ALPHA)


def _band(
    samples: Samples, learning: NDArray[np.bool_], calibration: NDArray[np.bool_], ours: Foreseeing
) -> AlarmBand | None:
    """Successes that were learned from give the shape, those of the calibration part the height."""
    values = scores(ours.said, holds(samples))
    shape, height = (
        [values[rows] for rows in rows_of(samples, chosen & samples.success)] for chosen in (learning, calibration)
    )
    if not shape or not height:
        return None
    # The band has its shape and its peaks whatever alpha is; what is not supported is refused where it is asked for.
    return fit_band(shape, height, min(max(ALPHA, alpha_floor(len(height))), 0.5))


def _count_alarms(
    found: PredictionEvaluation,
    samples: Samples,
    calibration: NDArray[np.bool_],
    test: NDArray[np.bool_],
    ours: Foreseeing,
    others: Scored,
    band: AlarmBand | None,
) -> None:
    successes = calibration & samples.success
    if band is not None:
        values = scores(ours.said, holds(samples))
        excess = band.excess_of(values, samples.decision)
        found.detections[f"{OUR_NAME}, conformal band"] = detect(samples, test, excess > band.height)
        for alpha in ALPHAS:
            found.conformal.append(_conformal(samples, test, excess, band, alpha))
    for name, (_, said) in {OUR_NAME: (OURS, ours.failure), **others}.items():
        limit = constant_threshold(samples, successes, said, ALPHA)
        found.detections[name] = detect(samples, test, said > limit)


def _conformal(
    samples: Samples, test: NDArray[np.bool_], excess: FloatArray, band: AlarmBand, alpha: float
) -> Conformal:
    try:
        height = band.with_alpha(alpha).height
    except ConfigError:
        return Conformal(alpha, None, {})
    alarms = excess > height
    profiles = {
        str(name): detect(samples, test & (samples.profile == name), alarms).false_alarms
        for name in np.unique(samples.profile)
    }
    return Conformal(alpha, detect(samples, test, alarms).false_alarms, profiles)


def _check_probabilities(
    found: PredictionEvaluation, samples: Samples, test: NDArray[np.bool_], ours: Foreseeing
) -> None:
    rows = samples.rows(test)
    for decision in (5, 20, 30):
        chosen = rows & (samples.decision == decision)
        found.calibration[f"failure at decision {decision}"] = reliability(
            ours.failure[chosen], samples.fails[chosen].astype(float)
        )
    held = rows & np.isfinite(samples.slips)
    if held.any():
        found.calibration["slip"] = reliability(ours.slip[held], samples.slips[held])
    for kind in FailureKind:
        seen = rows & (samples.hazards[:, -1] != -2) | rows & (samples.hazards >= 0).any(axis=1)
        happens = (samples.hazards[seen] == kind).any(axis=1).astype(float)
        found.calibration[f"{kind.name} within 1 s"] = reliability(ours.said.events[seen, kind, -1], happens)


def _left_out(samples: Samples, learning: NDArray[np.bool_], test: NDArray[np.bool_], seed: int, say: Say) -> list[Row]:
    """AUROC of each profile by methods that did not learn from it, and the mean over profiles."""
    decisions = (5, 10, 20, 30, 40)
    learners = [method for method in (*DISTANCES, *SEQUENCE_MODELS) if method.name.startswith(_LEFT_OUT)]
    # What learns nothing says the same whatever is left out.
    fixed = _scored((*RULES, *BLACK_BOX), samples, learning)
    areas: dict[str, dict[str, Auroc]] = {}
    kinds: dict[str, str] = {}
    for profile in np.unique(samples.profile).tolist():
        of_profile = samples.profile == profile
        columns = {f"{profile} at_{number}": at_decision(samples, test & of_profile, number) for number in decisions}
        if all(chosen.auroc(np.zeros(len(samples))).value is None for chosen in columns.values()):
            continue
        say(f"without {profile}")
        rest = learning & ~of_profile
        ours = foresee(samples, rest, seed)[1].failure
        methods = {OUR_NAME: (OURS, ours), **fixed, **_scored(learners, samples, rest)}
        for name, (kind, values) in methods.items():
            kinds[name] = kind
            areas.setdefault(name, {}).update({column: chosen.auroc(values) for column, chosen in columns.items()})
    rows = []
    for name, found in areas.items():
        for decision in decisions:
            known = [item.value for column, item in found.items() if column.endswith(f" at_{decision}") and item.value]
            mean = float(np.mean(known)) if known else None
            found[f"mean at_{decision}"] = Auroc(mean, None, None, len(known), len(known))
        rows.append(Row(name, kinds[name], found))
    return rows


def _ablation(
    samples: Samples, learning: NDArray[np.bool_], test: NDArray[np.bool_], seed: int
) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    early = at_decision(samples, test & np.isin(samples.profile, EARLY), 5)
    for name in INPUT_SETS:
        said = foresee(samples, learning, seed, name)[1]
        columns: dict[str, float | None] = {"early, decision 5": early.auroc(said.failure).value}
        for decision in (10, 30):
            columns[f"failure, decision {decision}"] = at_decision(samples, test, decision).auroc(said.failure).value
        columns["1 s before closing"] = before_closing(samples, test, 1.0).auroc(said.miss).value
        columns["physical, 0.4 s"] = matched_phase(samples, test, 0.4).auroc(said.failure).value
        for profile in ("heavy", "slippery"):
            chosen = slip(samples, test & np.isin(samples.profile, (profile, "eval")), (0.24, 0.6))
            columns[f"slip, {profile}"] = chosen.auroc(said.slip).value
        found[name] = columns
    return found


def _counts(samples: Samples) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = {}
    for part in Part:
        for profile in np.unique(samples.profile).tolist():
            chosen = (samples.part == part) & (samples.profile == profile)
            names, counts = np.unique(samples.outcome[chosen], return_counts=True)
            found.setdefault(part.value, {})[profile] = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return found


def _value(area: Auroc) -> float:
    return float("nan") if area.value is None else area.value
