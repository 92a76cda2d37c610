"""The network learns what can be told, says nothing where an input is missing, and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drawn_samples import drawn_samples
from salus_vla.contract.errors import TrainingError
from salus_vla.data.failures.split import Part
from salus_vla.learning.prediction.fit_predictor import FitSettings, fit_network
from salus_vla.learning.prediction.ours import INPUT_SETS, foresee
from salus_vla.learning.prediction.questions import at_decision
from salus_vla.safety.prediction.episode_features import FEATURES, columns
from salus_vla.safety.prediction.predictor_network import VALUES, logits, probabilities

QUICK = FitSettings(members=2, hidden=(16, 8), steps=100, batch=256, rate=8e-3, bank=60)


def test_it_learns_what_can_be_told() -> None:
    samples = drawn_samples(240)
    learning, test = samples.of(Part.TRAIN, Part.VALIDATION), samples.of(Part.TEST)
    _, said = foresee(samples, learning, 0, settings=replace(QUICK, steps=300))
    area = at_decision(samples, test, 5).auroc(said.failure)
    assert area.value is not None
    assert area.value > 0.8
    held = samples.rows(test) & np.isfinite(samples.slips)
    slipping = samples.slips[held] > 0.5
    assert said.slip[held][slipping].mean() > said.slip[held][~slipping].mean() + 0.3
    soon = samples.rows(test) & (samples.hazards[:, 0] == 1)
    assert said.said.events[soon, 1, -1].mean() > 2 * said.said.events[samples.rows(test) & ~soon, 1, -1].mean()


def test_inputs_that_are_left_out_change_nothing() -> None:
    samples = drawn_samples(60)
    weights = fit_network(samples, samples.of(Part.TRAIN), 0, QUICK, columns("signals"))
    found = probabilities(logits(weights, samples.features))
    changed = samples.features.copy()
    others = np.setdiff1d(np.arange(len(FEATURES)), columns("signals"))
    changed[:, others] = np.random.default_rng(1).normal(size=(len(changed), len(others)))
    np.testing.assert_array_equal(found.failure, probabilities(logits(weights, changed)).failure)
    assert set(INPUT_SETS["all"]) >= set(INPUT_SETS["all but vision"])


def test_the_same_seed_gives_the_same_weights_and_members_differ() -> None:
    samples = drawn_samples(60)
    one, two = (fit_network(samples, samples.of(Part.TRAIN), 3, QUICK) for _ in range(2))
    np.testing.assert_array_equal(one.first, two.first)
    other = fit_network(samples, samples.of(Part.TRAIN), 4, QUICK)
    assert not np.array_equal(one.first, other.first)
    assert not np.array_equal(one.first[0], one.first[1])
    assert len(one.mean) == VALUES


def test_nobody_in_the_bank_finds_himself() -> None:
    samples = drawn_samples(30)
    weights = fit_network(samples, samples.of(Part.TRAIN), 0, replace(QUICK, bank=10_000))
    # With every success in the bank the closest state would be a row itself, at a distance of 0.
    place = len(FEATURES)
    assert weights.mean[place] > np.log(0.05)


def test_a_state_that_is_not_known_takes_no_place_in_the_bank() -> None:
    samples = drawn_samples(30)
    features = samples.features.copy()
    features[::2, [name.startswith("prefix_mean.") for name in FEATURES]] = np.nan
    holed = replace(samples, features=features)
    weights = fit_network(holed, holed.of(Part.TRAIN), 0, QUICK)
    for bank in (weights.prefix_bank, weights.expert_bank):
        np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1.0, atol=2e-3)  # half precision


@pytest.mark.parametrize("outcome", ["SUCCESS", "DROP"])
def test_one_outcome_alone_teaches_nothing(outcome: str) -> None:
    samples = replace(drawn_samples(30), outcome=np.full(30, outcome))
    with pytest.raises(TrainingError, match="episodes to train a predictor on"):
        fit_network(samples, samples.of(Part.TRAIN), 0, QUICK)
