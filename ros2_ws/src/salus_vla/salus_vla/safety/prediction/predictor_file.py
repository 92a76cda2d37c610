"""The files of a predictor: a folder with the network and, once it is calibrated, the alarm's band."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from salus_vla.contract.errors import ConfigError, DatasetError, ModelError
from salus_vla.safety.prediction.alarm_band import SCORES, AlarmBand
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.episode_features import VERSION
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_network import HORIZONS_S, FailureKind, NetworkWeights
from salus_vla.safety.prediction.state_basis import StateBasis
from salus_vla.safety.tensor_file import read_about as about_of
from salus_vla.safety.tensor_file import read_tensors, write_whole

FORMAT = "salus-predictor-1"
PREDICTOR_FILE, BAND_FILE = "predictor.safetensors", "alarm_band.safetensors"
_BASIS, _BANK = "basis.", "_bank"  # beginning and end of names; banks are stored in half precision


def digest_of(basis: StateBasis, weights: NetworkWeights) -> str:
    """Hash of a predictor, 12 hexadecimal digits."""
    tensors = _tensors(weights)
    found = hashlib.sha256(basis.to_bytes())
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].tobytes())
    return found.hexdigest()[:12]


def save_predictor(folder: Path, predictor: FailurePredictor, about: Mapping[str, Any]) -> None:
    """Writes a predictor, and its band if it has one.

    Args:
        folder: is made; an existing predictor in it is replaced.
        predictor: what to write.
        about: how it was made, for its card; JSON.

    Raises:
        ModelError: it cannot be written.
    """
    stored = _tensors(predictor.weights)
    stored |= {name: value.astype(np.float16) for name, value in stored.items() if name.endswith(_BANK)}
    tensors = {**stored, **{_BASIS + k: v for k, v in load(predictor.basis.to_bytes()).items()}}
    metadata = {
        "format": FORMAT,
        "features": str(VERSION),
        "horizons_s": json.dumps(HORIZONS_S),
        "kinds": json.dumps([kind.name for kind in FailureKind]),
        "members": json.dumps(predictor.ensemble.members),
        "vlms": json.dumps(predictor.ensemble.vlms),
        "about": json.dumps(about, sort_keys=True),
    }
    write_whole(folder / PREDICTOR_FILE, save(tensors, metadata))
    if predictor.band is not None:
        save_band(folder, predictor, {})
    else:
        (folder / BAND_FILE).unlink(missing_ok=True)


def save_band(folder: Path, predictor: FailurePredictor, about: Mapping[str, Any]) -> None:
    """Writes the band of a calibrated predictor beside it; an existing one is replaced.

    Raises:
        ModelError: it cannot be written.
    """
    band = predictor.band
    assert band is not None
    tensors = {"middle": band.middle, "width": band.width, "peaks": band.peaks}
    metadata = {
        "format": FORMAT,
        "alpha": repr(band.alpha),
        "n": str(len(band.peaks)),
        "scores": json.dumps(SCORES),
        "predictor": predictor.digest,
        "about": json.dumps(about, sort_keys=True),
    }
    write_whole(folder / BAND_FILE, save(tensors, metadata))


def load_predictor(folder: Path) -> FailurePredictor:
    """Reads a predictor and, if there is one, its band.

    Raises:
        ModelError: a file is missing, damaged, of another format, or does not belong to the other; names it.
    """
    file = folder / PREDICTOR_FILE
    tensors, metadata = _read(file)
    if metadata.get("features") != str(VERSION):
        raise ModelError(
            f"{file}: was trained on features version {metadata.get('features')}, this program computes {VERSION}; "
            "train it again with `salus predictor train`"
        )
    if (metadata.get("horizons_s"), metadata.get("kinds")) != (
        json.dumps(HORIZONS_S),
        json.dumps([kind.name for kind in FailureKind]),
    ):
        raise ModelError(f"{file}: foresees {metadata.get('kinds')} within {metadata.get('horizons_s')} s, not as here")
    try:
        weights = NetworkWeights(**{i.name: tensors[i.name].astype(np.float32) for i in fields(NetworkWeights)})
        basis_tensors = {name.removeprefix(_BASIS): value for name, value in tensors.items() if name.startswith(_BASIS)}
        basis = StateBasis.from_bytes(save(basis_tensors), str(file))
        ensemble = EnsembleIdentity(tuple(json.loads(metadata["members"])), tuple(json.loads(metadata["vlms"])))
    except (KeyError, ValueError, TypeError, DatasetError) as error:
        raise ModelError(f"{file}: is damaged ({error!s:.120})") from error
    digest = digest_of(basis, weights)
    band = _load_band(folder / BAND_FILE, digest) if (folder / BAND_FILE).exists() else None
    return FailurePredictor(ensemble, basis, weights, band, digest)


def read_about(file: Path) -> dict[str, Any]:
    """How a predictor or a band was made.

    Raises:
        ModelError: the file is missing or damaged.
    """
    return about_of(file, _read(file)[1])


def _load_band(file: Path, digest: str) -> AlarmBand:
    tensors, metadata = _read(file)
    if metadata.get("predictor") != digest:
        raise ModelError(
            f"{file}: was calibrated for predictor {metadata.get('predictor')}, beside it lies {digest}; calibrate it "
            "with `salus predictor calibrate`"
        )
    if metadata.get("scores") != json.dumps(SCORES):
        raise ModelError(f"{file}: is of the scores {metadata.get('scores')}, expected {json.dumps(SCORES)}")
    try:
        return AlarmBand(tensors["middle"], tensors["width"], tensors["peaks"], float(metadata["alpha"]))
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise ModelError(f"{file}: is damaged ({error!s:.160})") from error


def _tensors(weights: NetworkWeights) -> dict[str, NDArray[np.float32]]:
    return {item.name: np.ascontiguousarray(getattr(weights, item.name)) for item in fields(NetworkWeights)}


def _read(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    return read_tensors(file, "salus predictor train", FORMAT)
