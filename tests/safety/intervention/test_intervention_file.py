"""What interventions are chosen with, as a file: it comes back; what is damaged or of another is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from salus_vla.config.paths import intervention_folder
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import PLAN
from salus_vla.safety.intervention.choice import ChoiceSettings
from salus_vla.safety.intervention.effects import PARTS, SITUATION, EffectModel
from salus_vla.safety.intervention.intervention_file import (
    INTERVENTION_FILE,
    InterventionModel,
    load_intervention,
    make_effects,
    save_intervention,
)


def model(seed: int = 0) -> InterventionModel:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(3, PARTS, len(SITUATION) + 1))
    mean, scale = random.normal(size=len(SITUATION)), random.uniform(0.1, 1.0, size=len(SITUATION))
    return InterventionModel(made(weights, mean, scale), 1.5, ChoiceSettings(33.0, retreats=1), {"grasps": "plan 20"})


def made(
    weights: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    names: tuple[str, ...] = (PLAN, "careful"),
    predictor: str = "0123",
) -> EffectModel:
    return make_effects(names, weights, mean, scale, predictor)


def test_it_comes_back(tmp_path: Path) -> None:
    before = model()
    save_intervention(tmp_path / "new", before)
    found = load_intervention(tmp_path / "new")
    assert found.effects.digest == before.effects.digest
    for name in ("weights", "mean", "scale"):
        assert np.array_equal(getattr(found.effects, name), getattr(before.effects, name))
    assert (found.effects.candidates, found.effects.predictor) == ((PLAN, "careful"), "0123")
    assert (found.stuck_threshold, found.settings, dict(found.about)) == (
        1.5,
        ChoiceSettings(33.0, retreats=1),
        dict(before.about),
    )


def test_a_file_from_before_retreats_has_none(tmp_path: Path) -> None:
    from safetensors import safe_open

    save_intervention(tmp_path, model())
    file = tmp_path / INTERVENTION_FILE
    with safe_open(str(file), framework="numpy") as opened:
        metadata = dict(opened.metadata())
    before = '{"failure_cost_s": 33.0, "inertia": 0.02, "shortest": 3}'
    save_file(load_file(file), file, {**metadata, "settings": before})
    assert load_intervention(tmp_path).settings == ChoiceSettings(33.0)


def test_the_hash_is_of_weights_names_and_predictor() -> None:
    effects = model().effects
    arrays = (effects.weights, effects.mean, effects.scale)
    digests = {
        made(*arrays).digest,
        made(*arrays, names=(PLAN, "slow_0.5")).digest,
        made(*arrays, predictor="0124").digest,
        made(effects.weights, effects.mean, 2.0 * effects.scale).digest,
        model(1).effects.digest,
    }
    assert len(digests) == 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"intervention.safetensors: does not exist; make it with `salus intervention"):
        load_intervention(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    save_intervention(tmp_path, model())
    file = tmp_path / INTERVENTION_FILE
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"intervention.safetensors: is damaged"):
        load_intervention(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("format", "salus-intervention-0", "has format 'salus-intervention-0'"),
        ("situation", "[]", "another situation"),
        ("candidates", '["plan", "fly"]', "has effects of 'fly'"),
        ("stuck_threshold", "soon", "is damaged"),
        ("settings", '{"failure_cost_s": -1}', "is damaged"),
        ("about", "{", "its metadata are damaged"),
    ],
)
def test_what_it_says_of_itself_is_checked(tmp_path: Path, key: str, value: str, expected: str) -> None:
    from safetensors import safe_open

    save_intervention(tmp_path, model())
    file = tmp_path / INTERVENTION_FILE
    with safe_open(str(file), framework="numpy") as opened:
        metadata = dict(opened.metadata())
    save_file(load_file(file), file, {**metadata, key: value})
    with pytest.raises(ModelError, match=expected):
        load_intervention(tmp_path)


def test_the_one_that_comes_with_salus_goes_with_its_predictor() -> None:
    from salus_vla.config.paths import predictor_folder
    from salus_vla.safety.prediction.predictor_file import load_predictor

    load_intervention(intervention_folder("builtin")).effects.require(
        load_predictor(predictor_folder("builtin")).digest
    )
