"""A model folder that `save_ensemble` wrote, as the tests of writing and of loading it use it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.learning.training.save_ensemble import load_trained
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, LoadedEnsemble, load_ensemble

CPU = torch.device("cpu")
VLM_KEY = "model.text_model.layers.0.mlp.up_proj.weight"
OWN_KEY = "model.vlm_with_expert.lm_expert.layers.1.mlp.up_proj.weight"
STATS = {
    "observation.state": {"mean": torch.linspace(-1, 1, 8), "std": torch.linspace(0.5, 1, 8)},
    "action": {"mean": torch.linspace(-1, 1, 8), "std": torch.linspace(0.5, 1, 8)},
}


def load_model(folder: Path, **options: Any) -> LoadedEnsemble:
    return load_ensemble(expand_members([str(folder)]), **options)


def check_fails(folder: Path, *named: object) -> None:
    for load in (load_model, lambda folder: load_trained(str(folder / "member_1"))):
        with pytest.raises(ModelError) as caught:
            load(folder)
        for text in named:
            assert str(text) in str(caught.value)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def edit_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def edit_tensors(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def make_complete(kept: Path, member: Path) -> None:
    """Makes a member that has all weights in its own file."""
    vlm = {VLM_PREFIX + key: value for key, value in load_file(kept / "vlm" / "model.safetensors").items()}
    edit_tensors(member / "model.safetensors", lambda tensors: tensors.update(vlm))
