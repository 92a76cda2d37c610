"""The predictor as a whole: it says probabilities, an episode does not know the one before, files come back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_predictor import EXPERT, PARTS, WIDTH, drawn_predictor, drawn_weights
from salus_vla.contract.errors import ModelError
from salus_vla.safety.prediction.alarm_band import SCORES, AlarmBand
from salus_vla.safety.prediction.decision_inputs import SHAPES, DecisionInputs
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import EpisodePredictor, FailurePredictor, Prediction
from salus_vla.safety.prediction.predictor_file import (
    BAND_FILE,
    PREDICTOR_FILE,
    load_predictor,
    read_about,
    save_predictor,
)
from salus_vla.safety.prediction.predictor_network import HORIZONS_S, INPUTS, OUTPUTS, logits, probabilities


@pytest.fixture
def predictor() -> FailurePredictor:
    return drawn_predictor()


def heard(predictor: FailurePredictor, seed: int) -> DecisionInputs:
    random = np.random.default_rng(seed)
    joints = {name: random.normal(size=SHAPES[name]) * 0.02 for name in ("position", "velocity", "effort", "error")}
    return predictor.inputs(
        random.normal(size=12),
        random.normal(size=EXPERT).astype(np.float32),
        random.normal(size=(PARTS, WIDTH)).astype(np.float32),
        **joints,
    )


def said(predictor: FailurePredictor, seeds: range) -> list[Prediction]:
    episode = EpisodePredictor(predictor)
    return [episode.update(heard(predictor, seed), index * 0.1) for index, seed in enumerate(seeds)]


def assert_same(one: list[Prediction], two: list[Prediction]) -> None:
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        for name, value in vars(left).items():
            np.testing.assert_array_equal(value, getattr(right, name), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 30.0))
def test_what_it_says_are_probabilities(seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    found = probabilities((random.normal(size=(3, 20, OUTPUTS)) * size).astype(np.float32))
    for values in (found.events, found.slip, found.failure):
        assert ((values >= 0.0) & (values <= 1.0 + 1e-12)).all()
    assert (np.diff(found.events, axis=-1) >= -1e-12).all()  # a longer horizon is no less likely
    assert (found.events[..., -1].sum(axis=-1) <= 1.0 + 1e-9).all()  # one of them comes first
    assert (found.spread >= 0.0).all()


def test_incidence_is_survival_times_hazard() -> None:
    outputs = np.zeros((1, 1, OUTPUTS), dtype=np.float32)  # four equal odds in each interval: hazards of 1/4
    found = probabilities(outputs).events[0]
    survival = 0.25 ** np.arange(len(HORIZONS_S))
    np.testing.assert_allclose(found, np.cumsum(0.25 * survival)[None].repeat(3, axis=0))


def test_members_that_differ_are_spread() -> None:
    features = np.random.default_rng(0).normal(size=(5, len(FEATURES)))
    assert (probabilities(logits(drawn_weights(0), features)).spread > 0.0).all()
    assert probabilities(logits(drawn_weights(0, members=1), features)).spread.max() == 0.0


def test_an_episode_does_not_know_the_one_before(predictor: FailurePredictor) -> None:
    episode = EpisodePredictor(predictor)
    for index in range(7):
        episode.update(heard(predictor, 100 + index), index * 0.1)
    episode.reset()
    again = [episode.update(heard(predictor, seed), seed * 0.1) for seed in range(12)]
    assert_same(again, said(predictor, range(12)))


def test_one_decision_at_a_time_is_what_all_together_give(predictor: FailurePredictor) -> None:
    random = np.random.default_rng(5)
    features = random.normal(size=(40, len(FEATURES)))
    features[random.random(features.shape) < 0.1] = np.nan
    together = predictor.foresee(features)
    for row in range(len(features)):
        alone = predictor.foresee(features[row : row + 1])
        np.testing.assert_allclose(alone.events[0], together.events[row], atol=1e-6)
        np.testing.assert_allclose(alone.failure[0], together.failure[row], atol=1e-6)


def test_nothing_known_is_still_an_answer(predictor: FailurePredictor) -> None:
    found = EpisodePredictor(predictor).update(DecisionInputs.of(), 0.0)
    assert np.isfinite(found.events).all()
    assert np.isfinite(found.failure)
    assert np.isnan(found.slip)  # nothing is held


def test_an_alarm_is_named_by_what_is_furthest_above_its_threshold(predictor: FailurePredictor) -> None:
    rows = np.zeros((5, len(SCORES)))
    found = said(replace(predictor, band=AlarmBand(rows, rows + 1.0, np.linspace(-3.0, 3.0, 99), 0.5)), range(60))
    for item in found:
        over = [name for name, value, limit in zip(SCORES, item.scores, item.thresholds, strict=True) if value > limit]
        assert (item.alarm in over) if over else item.alarm == ""
    assert {item.alarm for item in found} - {""}


def test_another_ensemble_is_refused_with_both_hashes(predictor: FailurePredictor) -> None:
    predictor.require(EnsembleIdentity(("aaaa", "bbbb"), ("cccc",)))
    with pytest.raises(ModelError, match=r"is of the ensemble aaaa,bbbb, this is dddd"):
        predictor.require(EnsembleIdentity(("dddd",), ("cccc",)))


def test_states_of_another_width_are_refused(predictor: FailurePredictor) -> None:
    with pytest.raises(ModelError, match="states have 5 values, the basis is of 48"):
        predictor.inputs(np.zeros(12), np.zeros(5, dtype=np.float32), None)


def test_files_come_back(predictor: FailurePredictor, tmp_path: Path) -> None:
    save_predictor(tmp_path / "p", predictor, {"episodes": 12})
    loaded = load_predictor(tmp_path / "p")
    assert (loaded.digest, loaded.ensemble) == (predictor.digest, predictor.ensemble)
    assert_same(said(predictor, range(9)), said(loaded, range(9)))
    assert read_about(tmp_path / "p" / PREDICTOR_FILE) == {"episodes": 12}
    assert loaded.band is not None
    assert predictor.band is not None
    assert loaded.band.alpha == predictor.band.alpha


def _other_features(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"features":"1"', b'"features":"7"'))


def _other_format(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"salus-predictor-1", b"salus-predictor-9"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (PREDICTOR_FILE, Path.unlink, "does not exist; make it with `salus predictor train`"),
        (PREDICTOR_FILE, lambda file: file.write_bytes(file.read_bytes()[:-100]), "is damaged"),
        (PREDICTOR_FILE, lambda file: file.write_text("{}"), "is damaged"),
        (PREDICTOR_FILE, _other_features, "was trained on features version 7, this program computes 1"),
        (PREDICTOR_FILE, _other_format, "has format 'salus-predictor-9', expected 'salus-predictor-1'"),
        (BAND_FILE, lambda file: file.write_bytes(file.read_bytes()[:40]), "is damaged"),
    ],
)
def test_a_damaged_file_is_named(
    predictor: FailurePredictor, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    save_predictor(tmp_path, predictor, {})
    damage(tmp_path / name)
    with pytest.raises(ModelError, match=re.escape(name) + ".*" + re.escape(message)):
        load_predictor(tmp_path)


def test_a_band_of_another_predictor_is_refused(predictor: FailurePredictor, tmp_path: Path) -> None:
    save_predictor(tmp_path, predictor, {})
    band = (tmp_path / BAND_FILE).read_bytes()
    weights = drawn_weights(2)
    save_predictor(tmp_path, FailurePredictor(predictor.ensemble, predictor.basis, weights, None, ""), {})
    (tmp_path / BAND_FILE).write_bytes(band)
    with pytest.raises(ModelError, match=f"was calibrated for predictor {predictor.digest}, beside it lies"):
        load_predictor(tmp_path)


def test_weights_of_another_shape_are_refused() -> None:
    weights = drawn_weights(0)
    with pytest.raises(ValueError, match=r"linear has shape \(3, 2, 11\)"):
        type(weights)(**{**vars(weights), "linear": weights.linear[:, :2]})
    assert len(FEATURES) < INPUTS
