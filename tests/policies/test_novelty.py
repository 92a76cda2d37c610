"""The reference of activation_novelty: the fit against numpy, the file, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.policies.activations import expert_states
from salus_vla.policies.hold import HoldPolicy
from salus_vla.policies.registry import make_policy, model_folder
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.signals.novelty import (
    MIN_DECISIONS,
    REFERENCE_FILE,
    ReferenceInfo,
    fit_reference,
    load_reference,
    model_hashes,
    save_reference,
    shrunk_covariance,
)
from salus_vla.signals.reference import NoveltyReference

INFO = ReferenceInfo(("aa", "bb", "cc"), noise_samples=2, decisions=40, episodes=2, runs=("run1",))
FACTS = {"member_0_hash": "cc", "member_1_hash": "aa", "vlm_0_hash": "bb", "member_0": "x", "noise_samples": "2"}


def gaussian(count: int, dimension: int, seed: int = 0) -> FloatArray:
    """Correlated states with different variances, away from the origin."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(dimension, dimension)) * np.linspace(0.5, 2.0, dimension)
    return random.normal(size=(count, dimension)) @ mixing + 5.0


# -- the fit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("copies", "expected"), [(1, 17 / 18), (3, 17 / 54)])
def test_shrinkage_of_a_case_computed_by_hand(copies: int, expected: float) -> None:
    # S = diag(1/2, 2), m = 5/4, d^2 = 1/4 + 4 - 2 m^2 = 9/8, b^2 = ((1 + 1 + 16 + 16) / 4 - (1/4 + 4)) / n = 17/4 / n
    centred = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]] * copies)
    states = centred + np.array([3.0, -7.0])
    covariance, shrinkage = shrunk_covariance(states)
    assert shrinkage == pytest.approx(expected)
    np.testing.assert_allclose(
        covariance, (1 - expected) * np.diag([0.5, 2.0]) + expected * 1.25 * np.eye(2), atol=1e-15
    )


@given(count=st.integers(2, 30), dimension=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_shrinkage_keeps_the_total_variance(count: int, dimension: int, seed: int) -> None:
    states = gaussian(count, dimension, seed)
    covariance, shrinkage = shrunk_covariance(states)
    assert 0.0 <= shrinkage <= 1.0
    assert np.trace(covariance) == pytest.approx(states.var(axis=0).sum())


def test_more_states_are_shrunk_less() -> None:
    weights = [shrunk_covariance(gaussian(count, 6))[1] for count in (12, 100, 5000)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] < 0.01


def test_the_reference_is_mean_and_inverse_of_the_shrunk_covariance() -> None:
    states = gaussian(50, 4)
    reference = fit_reference(states)
    covariance, shrinkage = shrunk_covariance(states)
    sample = np.cov(states.T, bias=True)
    np.testing.assert_allclose(covariance, (1 - shrinkage) * sample + shrinkage * np.trace(sample) / 4 * np.eye(4))
    np.testing.assert_allclose(reference.mean, np.mean(states, axis=0))
    np.testing.assert_allclose(reference.precision, np.linalg.inv(covariance), rtol=1e-8)
    np.testing.assert_array_equal(reference.precision, reference.precision.T)
    assert reference.distance(reference.mean) == 0.0


def test_the_mean_distance_of_gaussian_states_is_their_dimension() -> None:
    states = gaussian(8000, 8)
    reference = fit_reference(states[:4000])
    distances = [reference.distance(state) for state in states[4000:]]
    assert np.mean(distances) == pytest.approx(8.0, rel=0.05)


def test_fewer_states_than_dimensions_give_a_reference() -> None:
    states = gaussian(MIN_DECISIONS, 40)
    reference = fit_reference(states)
    assert all(np.isfinite(reference.distance(state)) for state in states)
    assert reference.distance(reference.mean + 100.0) > max(map(reference.distance, states))


ALTERNATING = np.array([[1.0, 2.0], [-1.0, -2.0]] * 10)  # equal outer products: no shrinkage, and a singular covariance


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (gaussian(MIN_DECISIONS - 1, 3), r"shape \(9, 3\), a reference needs \(n, E\) with n >= 10"),
        (np.zeros(20), r"shape \(20,\)"),
        (np.zeros((20, 0)), r"shape \(20, 0\)"),
        (np.where(np.arange(60).reshape(20, 3) == 7, np.nan, 1.0), "not finite"),
        (np.ones((20, 3)), "20 states of dimension 3 vary too little"),
        (ALTERNATING, "20 states of dimension 2 vary too little"),
    ],
)
def test_states_that_give_no_reference_are_refused(states: FloatArray, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        fit_reference(states)


# -- the states --------------------------------------------------------------------------------------------------------


def test_states_are_those_of_the_episode(model: Path, observe: Callable[..., Observation]) -> None:
    members = [str(model / f"member_{k}") for k in range(2)]
    policy = EnsemblePolicy(members)
    seen = [(number, observe(number)) for number in (0, 1, 5)]
    found = list(expert_states(policy, 9, seen))
    policy.start_episode(9)
    for state, (number, observation) in zip(found, seen, strict=True):
        np.testing.assert_array_equal(state, policy.predict(observation, number).expert_state)
    other = next(expert_states(policy, 10, seen))
    assert not np.array_equal(other, found[0])


def test_a_policy_without_activations_is_refused(observe: Callable[..., Observation]) -> None:
    with pytest.raises(ModelError, match="policy 'hold' has no action expert"):
        list(expert_states(HoldPolicy(), 0, [(0, observe())]))


# -- the file ----------------------------------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    assert load_reference(tmp_path) is None
    first, second = fit_reference(gaussian(40, 5)), fit_reference(gaussian(40, 5, seed=1))
    save_reference(first, tmp_path, INFO)
    digest = getattr(load_reference(tmp_path), "digest", "")
    assert save_reference(second, tmp_path, INFO) == tmp_path / REFERENCE_FILE
    stored = load_reference(tmp_path)
    assert stored is not None
    np.testing.assert_array_equal(stored.reference.mean, second.mean)
    np.testing.assert_array_equal(stored.reference.precision, second.precision)
    assert stored.info == INFO
    assert len(stored.digest) == 16
    assert stored.digest != digest
    assert [path.name for path in tmp_path.iterdir()] == [REFERENCE_FILE]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{REFERENCE_FILE}: cannot be written"):
        save_reference(fit_reference(gaussian(40, 3)), tmp_path / "absent", INFO)


@pytest.mark.parametrize(
    ("facts", "dimension", "text"),
    [
        (FACTS | {"member_1_hash": "dd"}, 5, "members with the hashes aa, bb, cc, the ensemble has bb, cc, dd"),
        (FACTS | {"vlm_0_hash": "ee"}, 5, "members with the hashes aa, bb, cc, the ensemble has aa, cc, ee"),
        (FACTS | {"member_2_hash": "ff"}, 5, "members with the hashes aa, bb, cc, the ensemble has aa, bb, cc, ff"),
        (FACTS, 48, "states of dimension 5, the ensemble has 48"),
        (FACTS | {"noise_samples": "8"}, 5, "noise samples per member: 2, the ensemble has 8"),
    ],
)
def test_a_reference_of_another_ensemble_is_refused(
    tmp_path: Path, facts: dict[str, str], dimension: int, text: str
) -> None:
    file = save_reference(fit_reference(gaussian(40, 5)), tmp_path, INFO)
    stored = load_reference(tmp_path)
    assert stored is not None
    stored.check_fits(FACTS, 5)
    with pytest.raises(ModelError, match=f"{file}: was fitted with {text}"):
        stored.check_fits(facts, dimension)


def content(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": np.zeros(3), "precision": np.eye(3)} | changes


def info_text(**changes: object) -> str:
    fields = {"hashes": ["aa"], "noise_samples": 2, "decisions": 40, "episodes": 2, "runs": ["r"], "version": 1}
    return json.dumps(fields | changes)


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        (content(mean=np.array([0.0, np.nan, 0.0])), {"salus": info_text()}, "'mean' has .* not finite"),
        (content(precision=np.full((3, 3), np.inf)), {"salus": info_text()}, "'precision' has .* not finite"),
        (content(mean=np.zeros(3, np.float32)), {"salus": info_text()}, "'mean' has type float32"),
        (content(mean=np.zeros(4)), {"salus": info_text()}, r"mean \(4,\) and precision \(3, 3\), expected"),
        (content(mean=np.zeros(0), precision=np.zeros((0, 0))), {"salus": info_text()}, r"mean \(0,\)"),
        (content(precision=np.diag([1.0, 1.0, -1.0])), {"salus": info_text()}, "'precision' is not an inverse"),
        (content(precision=np.eye(3) + np.eye(3, k=1) / 9), {"salus": info_text()}, "not an inverse .*not symmetric"),
        ({"mean": np.zeros(3)}, {"salus": info_text()}, "is not a reference, or is damaged .*precision"),
        (content(), {}, "metadata 'salus': "),
        (content(), {"salus": info_text(decisions="many")}, "metadata 'salus': decisions: "),
        (content(), {"salus": info_text(version=2)}, "version is 2, this version of SALUS reads 1"),
    ],
)
def test_a_file_that_cannot_be_a_reference_is_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], text: str
) -> None:
    (tmp_path / REFERENCE_FILE).write_bytes(save(tensors, metadata=metadata))
    with pytest.raises(ModelError, match=f"{tmp_path / REFERENCE_FILE}: .*{text}"):
        load_reference(tmp_path)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_garbage_and_damage_are_errors_that_name_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "garbage"
    folder.mkdir(exist_ok=True)
    good = save(content(), metadata={"salus": info_text()})
    at = data.draw(st.integers(0, len(good) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=12))
    garbage = data.draw(st.sampled_from((noise, good[:at], good[:at] + noise + good[at + len(noise) :])))
    (folder / REFERENCE_FILE).write_bytes(garbage)
    try:
        stored = load_reference(folder)
    except ModelError as error:
        refusal = str(error)
    else:  # the damage hit a number or a name, and it still is a reference
        assert stored is not None
        assert np.isfinite(stored.reference.distance(np.ones(3)))
        refusal = REFERENCE_FILE
    assert REFERENCE_FILE in refusal


# -- with the policy ---------------------------------------------------------------------------------------------------


def store(model: Path, reference: NoveltyReference, **changes: object) -> Path:
    facts = make_policy("ensemble", members=[str(model)]).provenance()
    info = ReferenceInfo(model_hashes(facts), noise_samples=2, decisions=40, episodes=2, runs=("run1",))
    return save_reference(reference, model, replace(info, **changes))  # type: ignore[arg-type]


def test_the_ensemble_loads_the_reference_of_its_folder(copied: Path) -> None:
    before = make_policy("ensemble", members=[str(copied)])
    assert before.reference is None
    assert before.provenance()["novelty_reference"] == "none"
    store(copied, fit_reference(gaussian(60, 48)))
    after, stored = make_policy("ensemble", members=[str(copied)]), load_reference(copied)
    assert after.reference is not None
    assert stored is not None
    np.testing.assert_array_equal(after.reference.mean, stored.reference.mean)
    assert after.provenance()["novelty_reference"] == stored.digest
    assert after.provenance()["novelty_reference_decisions"] == "40"
    # Members named one by one are not the model that it was fitted with.
    assert make_policy("ensemble", members=[str(copied / "member_0")]).reference is None
    assert make_policy("hold").reference is None


def test_the_ensemble_refuses_the_reference_of_another_model(copied: Path) -> None:
    store(copied, fit_reference(gaussian(60, 48)), hashes=("0123456789abcdef",))
    with pytest.raises(
        ModelError, match=f"{REFERENCE_FILE}: was fitted with members with the hashes 0123456789abcdef, "
    ):
        make_policy("ensemble", members=[str(copied)])


def test_the_ensemble_refuses_a_reference_of_another_width(copied: Path) -> None:
    store(copied, fit_reference(gaussian(60, 47)))
    with pytest.raises(ModelError, match="dimension 47, the ensemble has 48"):
        make_policy("ensemble", members=[str(copied)])


def test_only_a_whole_model_folder_has_a_reference(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("salus_vla.policies.registry._builtin_tiny", lambda: model)
    assert model_folder([str(model)]) == model
    assert model_folder([f" {model} ,"]) == model
    assert model_folder([BUILTIN_TINY]) == model
    assert model_folder([str(model), str(model)]) is None
    assert model_folder([str(model / "member_0")]) is None
    assert model_folder(["lerobot/smolvla_base"]) is None
    assert model_folder([]) is None
