"""Features: the same online and from a table, NaN where an input is not known, and made of what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract import ARM_DOF
from salus_vla.safety.prediction.decision_inputs import FRAMES, SHAPES, DecisionInputs
from salus_vla.safety.prediction.episode_features import BLOCKS, FEATURES, GROUPS, EpisodeFeatures, columns
from salus_vla.safety.prediction.predictor_network import TOLD_MISSING

GROUP_OF = {"signals": "signals", "expert": "expert", "prefix": "prefix", "effort": "felt"}


def drawn(random: np.random.Generator, **without: None) -> DecisionInputs:
    values = {name: random.normal(size=shape) * 0.03 for name, shape in SHAPES.items()}
    values["position"][:, ARM_DOF:] = np.abs(values["position"][:, ARM_DOF:])
    return DecisionInputs.of(**(values | without))


def test_names_are_one_for_each_value() -> None:
    features = EpisodeFeatures()
    assert len(set(FEATURES)) == len(FEATURES)
    found = features.update(drawn(np.random.default_rng(0)), 0.0)
    assert found.shape == (len(FEATURES),)
    assert sorted(np.concatenate([columns(group) for group in GROUPS]).tolist()) == list(range(len(FEATURES)))
    assert [block.group for block in BLOCKS] == list(GROUPS)


def test_values_stand_where_their_names_say() -> None:
    inputs = drawn(np.random.default_rng(1))
    found = dict(zip(FEATURES, EpisodeFeatures().update(inputs, 0.3), strict=True))
    assert found["elapsed_s"] == 0.3
    assert found["width"] == pytest.approx(inputs.position[-1, ARM_DOF:].sum())
    assert found["told_width"] == pytest.approx((inputs.position + inputs.error)[-1, ARM_DOF:].sum())
    assert found["position.panda_joint3"] == inputs.position[-1, 2]
    assert found["log_last.action_jerk"] == pytest.approx(np.log(abs(inputs.signals[6])))
    assert found["expert_mean.5"] == pytest.approx(inputs.expert[5])
    assert found["effort_mean_0.1s.panda_joint4"] == pytest.approx(inputs.effort[:, 3].mean())
    assert found["error_deviation_0.4s.panda_joint2"] == pytest.approx(inputs.error[:, 1].std())
    assert found["velocity_mean.panda_joint7"] == pytest.approx(inputs.velocity[:, 6].mean())


def test_the_first_vision_states_are_kept() -> None:
    random, features = np.random.default_rng(2), EpisodeFeatures()
    states = [drawn(random) for _ in range(12)]
    found = [features.update(item, index * 0.1) for index, item in enumerate(states)]
    chosen = [index for index, name in enumerate(FEATURES) if name.startswith("prefix_first")]
    np.testing.assert_allclose(found[-1][chosen], np.mean([item.prefix for item in states[:5]], axis=0))


def test_a_heavier_load_is_felt_since_the_grasp() -> None:
    features, found = EpisodeFeatures(), {}
    for decision in range(14):
        holds = decision >= 8
        position = np.zeros(SHAPES["position"])
        position[:, ARM_DOF:] = 0.025 if holds else 0.04
        error, effort = np.zeros(SHAPES["error"]), np.full(SHAPES["effort"], 2.0)
        error[:, ARM_DOF:] = -0.025 if holds else 0.0
        effort[:, 1] = 7.0 if decision >= 11 else 2.0
        inputs = DecisionInputs.of(position=position, error=error, effort=effort)
        found = dict(zip(FEATURES, features.update(inputs, decision * 0.1), strict=True))
        assert found["holds"] == holds
    assert found["effort_since_grasp.panda_joint2"] == pytest.approx(5.0)
    assert found["effort_since_grasp.panda_joint3"] == 0.0


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 2**31))
def test_a_missing_input_takes_its_own_features_only(name: str, seed: int) -> None:
    whole, lacking = EpisodeFeatures(), EpisodeFeatures()
    for decision in range(25):
        inputs = drawn(np.random.default_rng([seed, decision]))
        full = whole.update(inputs, decision * 0.1)
        part = lacking.update(DecisionInputs.of(**{**vars(inputs), name: None}), decision * 0.1)
    missing = ~np.isfinite(part)
    assert np.isfinite(full).all()
    assert missing.any()
    if name in GROUP_OF:
        assert set(np.flatnonzero(missing)) <= set(columns(GROUP_OF[name]))
    if name not in ("position",):  # without positions nothing moves: that is told by the tool's way
        assert missing[list(TOLD_MISSING)].any()
        np.testing.assert_array_equal(part[~missing & ~_follows(name)], full[~missing & ~_follows(name)])


def _follows(name: str) -> np.ndarray:
    """Features that look at more than one input: the hand's phase is told from the commands too."""
    hand = np.zeros(len(FEATURES), dtype=bool)
    if name == "error":
        hand[columns("hand", "clock")] = True
        hand |= np.array([item.endswith(tuple("123456789")) and "since_grasp" in item for item in FEATURES])
    return hand


def test_inputs_are_rounded_as_the_table_rounds_them() -> None:
    effort = np.random.default_rng(3).normal(size=SHAPES["effort"]) * 30.0
    found = DecisionInputs.of(effort=effort).effort
    np.testing.assert_array_equal(found, effort.astype(np.float16).astype(float))
    assert np.isnan(DecisionInputs.of(effort=np.full(SHAPES["effort"], 1e9)).effort).all()  # beyond half precision


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"effort has shape \(9,\), expected \(5, 9\)"):
        DecisionInputs.of(effort=np.zeros(9))
    with pytest.raises(ValueError, match="no group 'felts', expected one of clock"):
        columns("felts")
    assert FRAMES == 5
