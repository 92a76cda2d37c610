"""The state of an unfinished training: one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.training_settings import TrainSettings

# A run may be continued with other values of these: more steps, another pace of the end.
_FREE = {"steps", "decay", "held_out"}


def write_state(path: Path, tensors: Mapping[str, Tensor], step: int, settings: TrainSettings) -> None:
    """Writes a checkpoint.

    Raises:
        TrainingError: it cannot be written.
    """
    partial = path.with_suffix(".partial")
    metadata = {"step": str(step), "settings": settings.model_dump_json()}
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial, metadata)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # a full disk is the second
        partial.unlink(missing_ok=True)
        raise TrainingError(f"{path}: cannot be written ({error})") from error


def read_state(path: Path, settings: TrainSettings) -> tuple[dict[str, Tensor], int]:
    """Reads a checkpoint.

    Args:
        path: of the file.
        settings: of the run that continues; must be those that it was begun with, but for the number of steps.

    Returns:
        Tensors by name, and steps done.

    Raises:
        TrainingError: the file is damaged, or was made with other settings; names the file and the setting.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        before = TrainSettings.model_validate_json(metadata["settings"])
        step = int(metadata["step"])
    except (OSError, SafetensorError, KeyError, ValueError, ValidationError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is not a checkpoint of a training, or is damaged ({error})") from error
    for name, value in settings.model_dump(exclude=_FREE).items():
        if (stored := getattr(before, name)) != value:
            option = name.replace("_", "-")
            raise TrainingError(f"{path}: was begun with --{option} {stored}, asked for now is {value}")
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise TrainingError(f"{path}: has weights that are not finite")
    return tensors, step
