"""The evaluation answers every question from one table, matched in time, and says nothing that it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drawn_samples import DECISIONS, GRASP, drawn_samples
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.evaluation.auroc import auroc
from salus_vla.learning.prediction import ours, prediction_evaluation
from salus_vla.learning.prediction.baselines.distances import DISTANCES
from salus_vla.learning.prediction.baselines.method import Method
from salus_vla.learning.prediction.baselines.one_line_rules import BLACK_BOX, RULES, SIGNALS, nothing_held
from salus_vla.learning.prediction.baselines.sequence_models import SEQUENCE_MODELS
from salus_vla.learning.prediction.detection import constant_threshold, detect, losses_foreseen, misses_foreseen
from salus_vla.learning.prediction.fit_predictor import FitSettings
from salus_vla.learning.prediction.ours import INPUT_SETS
from salus_vla.learning.prediction.prediction_evaluation import OUR_NAME, PredictionEvaluation, evaluate_prediction
from salus_vla.learning.prediction.prediction_figure import plot_prediction
from salus_vla.learning.prediction.prediction_report import to_json, to_markdown
from salus_vla.learning.prediction.questions import (
    at_decision,
    before_closing,
    compare_paired,
    matched_phase,
    slip,
)
from salus_vla.learning.prediction.reliability import reliability
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.episode_features import FEATURES, columns

ALL = np.ones(60, dtype=bool)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return drawn_samples(60)


def test_time_alone_is_chance_wherever_time_is_matched(samples: Samples) -> None:
    for chosen in (at_decision(samples, ALL, 30), before_closing(samples, ALL, 1.0)):
        found = chosen.auroc(samples.time_s)
        assert found.value == 0.5
    phase = matched_phase(samples, ALL, 0.4)
    assert phase.auroc(samples.since_grasp_s).value == 0.5
    assert phase.auroc(samples.slips).value == 1.0


def test_groups_are_who_they_should_be(samples: Samples) -> None:
    chosen = at_decision(samples, samples.profile == "heavy", 3)
    assert len(chosen.positive) == 21
    assert chosen.positive.sum() == (~samples.success[samples.profile == "heavy"]).sum()
    closing = before_closing(samples, ALL, 1.0)
    assert closing.positive.sum() == 9  # each seventh closes on nothing
    assert {int(samples.decision[rows[0]]) for rows in closing.rows} == {GRASP - 10}
    slipping = slip(samples, ALL, (0.24, 0.6))
    assert len(slipping.positive) == 51  # those that hold something
    since = [samples.since_grasp_s[rows] for rows in slipping.rows]
    assert all(0.24 <= item.min() <= item.max() <= 0.6 for item in since)


def test_a_paired_difference_is_that_of_the_areas(samples: Samples) -> None:
    chosen = at_decision(samples, ALL, 30)
    random = np.random.default_rng(0).normal(size=len(samples))
    good = samples.fails + 0.1 * random
    found = compare_paired(chosen, good, random, resamples=200)
    assert found is not None
    values = chosen.values(random)
    expected = 1.0 - auroc(values[~chosen.positive], values[chosen.positive])
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    assert found.above
    same = compare_paired(chosen, random, random, resamples=50)
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_alarms_are_counted_before_the_event_only(samples: Samples) -> None:
    at_end = samples.decision == DECISIONS - 1  # 4.4 s, after the events at 4.1
    late = detect(samples, ALL, at_end)
    assert (late.seen.count, late.seen.total) == (0, 20)
    assert late.false_alarms.share == 1.0
    early = detect(samples, ALL, (samples.decision == 11) & samples.fails)
    assert early.seen.share == 1.0
    assert early.lead_s == pytest.approx(3.0)
    assert (early.balanced_accuracy, early.false_alarms.count) == (1.0, 0)
    assert early.time_weighted_accuracy == pytest.approx((3.0 / 4.1 + 1.0) / 2)


def test_a_threshold_is_passed_by_a_share_of_the_successes(samples: Samples) -> None:
    scores = np.random.default_rng(1).normal(size=len(samples))
    limit = constant_threshold(samples, samples.success, scores, 0.1)
    assert detect(samples, ALL, scores > limit).false_alarms.count <= 4
    assert constant_threshold(samples, samples.success, scores, 0.01) == np.inf  # 40 successes do not support it


def test_events_are_foreseen_before_they_begin(samples: Samples) -> None:
    calibration, test = samples.seed % 2 == 0, samples.seed % 2 == 1
    empty = np.isfinite(samples.empty_closing_s)[samples.episode]
    misses = misses_foreseen(samples, calibration, test, empty * (samples.decision >= 12.0), 0.1)
    assert misses.seen.share == 1.0
    assert misses.false_alarms.count == 0
    assert misses.lead_s == pytest.approx(1.0)
    after = misses_foreseen(samples, calibration, test, empty * (samples.decision >= GRASP), 0.1)
    assert after.seen.count == 0
    losses = losses_foreseen(samples, calibration, test, np.nan_to_num(samples.slips), 0.1)
    assert losses.seen.share == 1.0
    assert losses.lead_s == pytest.approx(1.3)


def test_a_probability_that_means_what_it_says() -> None:
    random = np.random.default_rng(2)
    said = random.random(4000)
    right = reliability(said, (random.random(4000) < said).astype(float))
    wrong = reliability(said, (random.random(4000) < 0.5).astype(float))
    assert right.ece < 0.04 < wrong.ece
    assert right.brier < right.brier_of_base_rate
    assert wrong.brier > wrong.brier_of_base_rate


@pytest.mark.parametrize("method", [*RULES, *SIGNALS, *BLACK_BOX], ids=lambda method: method.name)
def test_what_learns_nothing_gives_a_finite_score_to_every_decision(samples: Samples, method: Method) -> None:
    lacking = replace(samples, features=np.full_like(samples.features, np.nan))
    for item in (samples, lacking):
        found = method.score(item, ALL, 0)
        assert found.shape == (len(samples),)
        assert np.isfinite(found).all()
    assert not method.learns


@pytest.mark.parametrize("method", [*DISTANCES, *SEQUENCE_MODELS], ids=lambda method: method.name)
def test_what_learns_finds_what_is_there(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    baselines = "salus_vla.learning.prediction.baselines"
    monkeypatch.setattr(f"{baselines}.distances._STEPS", 60)
    monkeypatch.setattr(f"{baselines}.sequence_models._EPOCHS", 6)
    samples = drawn_samples(60)
    features = samples.features.copy()
    for name in ("expert_mean", "prefix_mean"):
        features[:, FEATURES.index(f"{name}.1")] += 15.0  # directions of states are not all alike
        features[:, FEATURES.index(f"{name}.0")] += 25.0 * samples.fails
    features[:, FEATURES.index("log_mean.plan_inconsistency")] += 25.0 * samples.fails
    told = replace(samples, features=features)
    learning, test = samples.seed % 2 == 0, samples.seed % 2 == 1
    scores = method.score(told, learning, 0)
    area = at_decision(told, test, 40).auroc(scores)
    assert area.value is not None
    assert area.value > 0.8
    np.testing.assert_array_equal(scores, method.score(told, learning, 0))


def test_the_rule_of_nothing_held(samples: Samples) -> None:
    found = nothing_held(samples).reshape(60, DECISIONS)
    assert found[0, GRASP] == pytest.approx(0.1 * (GRASP + 1))  # episode 0 closes on nothing
    assert found[1, GRASP] == pytest.approx(-0.1)


# Those that look at what may be unknown, the others at commands and at the hand's phase.
READS_FEATURES = [*SIGNALS, *BLACK_BOX[:2], *(rule for rule in RULES if rule.name == "hardly moved in 2 s")]


@pytest.mark.parametrize("method", READS_FEATURES, ids=lambda method: method.name)
def test_a_decision_that_a_method_can_say_nothing_of_is_no_alarm(samples: Samples, method: Method) -> None:
    features = samples.features.copy()
    features[:, columns("signals")] -= 8.0  # logarithms of what is small
    features[:, FEATURES.index("tool_moved_2s")] = 0.3
    features[samples.decision == 0] = np.nan
    scores = method.score(replace(samples, features=features), ALL, 0)
    assert (
        scores[samples.decision == 0] <= scores.min() + (0.1 if method.name == "nothing held for long" else 0.0)
    ).all()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> PredictionEvaluation:
    patch = pytest.MonkeyPatch()
    quick = FitSettings(members=2, hidden=(8, 4), steps=25, batch=128, rate=1e-2, bank=60)
    patch.setattr(ours, "FitSettings", lambda: quick)
    patch.setattr(prediction_evaluation, "DISTANCES", DISTANCES[:1])
    patch.setattr(prediction_evaluation, "SEQUENCE_MODELS", ())
    patch.setattr(prediction_evaluation, "INPUT_SETS", {"signals": INPUT_SETS["signals"]})
    try:
        return evaluate_prediction(drawn_samples(300), [0, 1, 2])
    finally:
        patch.undo()


def test_everything_is_answered(evaluated: PredictionEvaluation) -> None:
    keys = (
        "early.auroc_at_decision.5", "miss.auroc_1s_before", "miss.recall_before_at_5_percent",
        "seen.auroc_at_decision.30", "seen.best_rule_at_decision.30", "left_out.auroc_at_decision.30", "slip.heavy",
        "slip.slippery", "matched_phase.auroc.0.4", "matched_phase.time_alone.0.4", "loss.recall_at_5_percent",
        "loss.median_lead_s", "conformal.0.05.false_alarm_rate", "conformal.0.05.n",
    )  # fmt: skip
    content = json.loads(to_json(evaluated, "salus predictor evaluate"))
    for key in keys:
        assert isinstance(content[key], int | float), key
    assert content["matched_phase"]["auroc"]["0.4"] == content["matched_phase.auroc.0.4"]
    assert content["conformal"]["0.05"]["n"] == content["conformal.0.05.n"]
    assert content["early"]["auroc_at_decision"]["5"] == content["early.auroc_at_decision.5"]
    assert len(evaluated.seeds["at_30"]) == 3
    assert [item.alpha for item in evaluated.conformal] == [0.01, 0.05, 0.10, 0.20]
    assert evaluated.conformal[0].alarms is None  # a few dozen successes do not support it
    assert evaluated.contests["seen"]


def test_the_report_shows_every_table_and_can_be_drawn(evaluated: PredictionEvaluation, tmp_path: Path) -> None:
    text = to_markdown(evaluated, "salus predictor evaluate F.parquet")
    headings = ("Early", "Any moment", "Slip", "Misses", "matched phase", "not learned", "promise", "Fewer inputs")
    for heading in headings:
        assert heading in text
    assert OUR_NAME in text
    assert "nan" not in text
    plot_prediction(tmp_path / "f.png", evaluated)
    assert (tmp_path / "f.png").stat().st_size > 20_000


def test_one_outcome_in_the_test_part_is_refused() -> None:
    samples = replace(drawn_samples(30), outcome=np.full(30, "SUCCESS"))
    with pytest.raises(TrainingError, match=r"6 test episodes .* 6 of them successful"):
        evaluate_prediction(samples, [0])
