"""The file of what is known about interventions: effects of candidates, and when a try is hopeless."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import MOTIONS
from salus_vla.safety.intervention.choice import ChoiceSettings
from salus_vla.safety.intervention.effects import SITUATION, EffectModel
from salus_vla.safety.tensor_file import read_about, read_tensors, write_whole

FORMAT = "salus-intervention-1"
INTERVENTION_FILE = "intervention.safetensors"
_TENSORS = ("weights", "mean", "scale")


@dataclass(frozen=True, eq=False)
class InterventionModel:
    """What interventions are chosen with.

    Attributes:
        effects: of the candidates.
        stuck_threshold: see `stuck_watch`; a logit.
        settings: of the choice.
        about: how it was made, for its card; JSON.
    """

    effects: EffectModel
    stuck_threshold: float
    settings: ChoiceSettings = field(default_factory=ChoiceSettings)
    about: Mapping[str, Any] = field(default_factory=dict)


def make_effects(
    candidates: tuple[str, ...], weights: FloatArray, mean: FloatArray, scale: FloatArray, predictor: str
) -> EffectModel:
    """Effects with their hash; see `EffectModel`."""
    found = hashlib.sha256(json.dumps([candidates, predictor, SITUATION]).encode())
    for values in (weights, mean, scale):
        found.update(np.ascontiguousarray(values).tobytes())
    return EffectModel(candidates, weights, mean, scale, predictor, found.hexdigest()[:12])


def save_intervention(folder: Path, model: InterventionModel) -> None:
    """Writes it; one that is there is replaced.

    Raises:
        ModelError: it cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "situation": json.dumps(SITUATION),
        "candidates": json.dumps(model.effects.candidates),
        "predictor": model.effects.predictor,
        "stuck_threshold": repr(model.stuck_threshold),
        "settings": json.dumps(asdict(model.settings)),
        "about": json.dumps(dict(model.about), sort_keys=True),
    }
    tensors = {name: np.ascontiguousarray(getattr(model.effects, name)) for name in _TENSORS}
    write_whole(folder / INTERVENTION_FILE, save(tensors, metadata))


def load_intervention(folder: Path) -> InterventionModel:
    """Reads it.

    Raises:
        ModelError: the file is missing, damaged, or of another version; names it.
    """
    file = folder / INTERVENTION_FILE
    tensors, metadata = read_tensors(file, "salus intervention train", FORMAT)
    if metadata.get("situation") != json.dumps(SITUATION):
        raise ModelError(
            f"{file}: is of another situation than this program computes; make it again with `salus intervention train`"
        )
    try:
        names = tuple(json.loads(metadata["candidates"]))
        unknown = [name for name in names if name not in MOTIONS]
        if unknown:
            raise ModelError(f"{file}: has effects of {unknown[0]!r}, expected names of {', '.join(MOTIONS)}")
        arrays = [np.asarray(tensors[name], dtype=np.float64) for name in _TENSORS]
        return InterventionModel(
            make_effects(names, arrays[0], arrays[1], arrays[2], metadata["predictor"]),
            float(metadata["stuck_threshold"]),
            ChoiceSettings(**json.loads(metadata["settings"])),
            read_about(file, metadata),
        )
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise ModelError(f"{file}: is damaged ({error!s:.120})") from error
