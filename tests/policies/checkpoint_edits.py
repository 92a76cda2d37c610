"""What the tests of loading do to a checkpoint, and what they expect of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.loading.checkpoint import load_ensemble

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
STATE_STATISTICS = "policy_preprocessor_step_5_normalizer_processor.safetensors"
ACTION_STATISTICS = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
STATE, ACTION = (PREPROCESSOR, STATE_STATISTICS), (POSTPROCESSOR, ACTION_STATISTICS)


def members(model: Path) -> list[str]:
    return [str(model / "member_0"), str(model / "member_1")]


def edit_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def edit_tensors(path: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def edit_step(path: Path, step: str, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(next(entry for entry in content["steps"] if entry["registry_name"] == step))
    path.write_text(json.dumps(content), encoding="utf-8")


def fails(members: list[str], *named: object, **options: Any) -> None:
    with pytest.raises(ModelError) as caught:
        load_ensemble(members, **options)
    for text in named:
        assert str(text) in str(caught.value)


def state(size: int) -> dict[str, Any]:
    return {"observation.state": {"type": "STATE", "shape": [size]}}


def cameras(*names: str) -> dict[str, Any]:
    return {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 64, 64]} for name in names}


ALL = cameras("front", "side", "top")
