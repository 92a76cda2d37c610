"""The file of a manifold: what it knows, and the distances that its level is found in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.known_points import KnownPoints
from salus_vla.safety.manifold.manifold_inputs import VERSION
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.tensor_file import read_about, read_tensors, write_whole

FORMAT = "salus-manifold-1"
MANIFOLD_FILE = "manifold.safetensors"
_CALIBRATION = "calibration"


def save_manifold(folder: Path, manifold: ActionManifold, about: Mapping[str, Any]) -> None:
    """Writes a manifold.

    Args:
        folder: is made; an existing manifold in it is replaced.
        manifold: what to write.
        about: how it was made, for its card; JSON.

    Raises:
        ModelError: it cannot be written.
    """
    calibration = manifold.calibration.astype(np.float32)
    tensors = {name: np.ascontiguousarray(values) for name, values in manifold.known.tensors.items()}
    metadata = {
        "format": FORMAT,
        "features": str(VERSION),
        "share": repr(manifold.share),
        "basis": manifold.basis,
        "members": json.dumps(manifold.ensemble.members),
        "vlms": json.dumps(manifold.ensemble.vlms),
        "about": json.dumps(about, sort_keys=True),
    }
    write_whole(folder / MANIFOLD_FILE, save({**tensors, _CALIBRATION: calibration}, metadata))


def load_manifold(folder: Path) -> ActionManifold:
    """Reads a manifold.

    Raises:
        ModelError: the file is missing, damaged, or of another format or version; names it.
    """
    file = folder / MANIFOLD_FILE
    tensors, metadata = _read(file)
    if metadata.get("features") != str(VERSION):
        raise ModelError(
            f"{file}: was trained on features version {metadata.get('features')}, this program computes {VERSION}; "
            "train it again with `salus manifold train`"
        )
    try:
        ensemble = EnsembleIdentity(tuple(json.loads(metadata["members"])), tuple(json.loads(metadata["vlms"])))
        known, calibration = KnownPoints.of_tensors(tensors), tensors[_CALIBRATION].astype(np.float64)
        if calibration.ndim != 1 or not (np.diff(calibration) >= 0.0).all():
            raise ValueError("calibration is not a sorted list of distances")
        share, basis = float(metadata["share"]), metadata["basis"]
        return ActionManifold(ensemble, basis, known, calibration, share).with_share(share)
    except (KeyError, ValueError, TypeError, IndexError, ConfigError) as error:
        raise ModelError(f"{file}: is damaged ({error!s:.160})") from error


def read_card(folder: Path) -> dict[str, Any]:
    """How a manifold was made.

    Raises:
        ModelError: the file is missing or damaged.
    """
    file = folder / MANIFOLD_FILE
    return read_about(file, _read(file)[1])


def _read(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    return read_tensors(file, "salus manifold train", FORMAT)
