"""The trained ensemble that comes with SALUS: complete, small enough for git, and found by its name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salus_vla.config.paths import models_dir
from salus_vla.config.policy_options import BUILTIN_COMPACT
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import Observation
from salus_vla.policies import registry
from salus_vla.policies.registry import expand_members, make_policy

MIB = 2**20


def test_it_is_found_by_name_shares_its_vlm_and_decides(observe: Callable[..., Observation]) -> None:
    policy = make_policy("ensemble", members=[BUILTIN_COMPACT])
    facts = policy.provenance()
    assert (facts["members"], facts["shared_vlm"]) == ("5", "true")
    assert policy.reference is not None, "activation_novelty would not be valid"
    policy.start_episode(1)
    chunks = policy.predict(observe(side=256), 0).chunks
    assert chunks.shape == (5, 2, 16, 8)
    assert np.isfinite(chunks).all()
    spread = chunks.mean(axis=1)[:, 0].std(axis=0)
    assert (spread > 0).all(), "members that agree exactly are one member"


def test_it_is_small_and_names_no_place_of_the_machine_it_was_made_on() -> None:
    files = [path for path in (models_dir() / "compact").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40 * MIB
    assert max(path.stat().st_size for path in files) <= 20 * MIB
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    for path in files:
        if path.suffix == ".json":
            text = path.read_text(encoding="utf-8")
            assert not any(f'"/{folder}' in text for folder in ("tmp", "work", "home", "root")), path


def test_its_card_says_what_it_learned_from() -> None:
    manifest = json.loads((models_dir() / "compact" / "salus_model.json").read_text(encoding="utf-8"))
    assert manifest["trained"] is True
    assert max(manifest["data"]["seeds"]) < 900_000
    assert len(expand_members([BUILTIN_COMPACT])) == len(manifest["members"])


def test_a_missing_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> Path:
        raise ConfigError("the models that come with SALUS are missing")

    monkeypatch.setattr(registry, "models_dir", missing)
    with pytest.raises(ConfigError, match="are missing"):
        expand_members([BUILTIN_COMPACT])
