"""The reference of `activation_novelty`: where the action expert's pooled state lies on successful episodes.

Mean and covariance of the states, the covariance shrunk towards a multiple of the identity, so that it can be inverted
also with fewer decisions than dimensions. Stored in the model's folder with the hashes of the model it was fitted with:
a reference of another model is worse than none.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.signals.reference import NoveltyReference

REFERENCE_FILE = "novelty_reference.safetensors"
MIN_DECISIONS = 10  # below, the mean itself is a guess; a useful reference has several times as many as dimensions
VERSION = 1
_METADATA = "salus"
_HASH = re.compile(r"(member|vlm)_\d+_hash")
_SMALLEST_SPREAD = 1e-10  # of the largest variance: below, the inverse is rounding errors


@dataclass(frozen=True)
class ReferenceInfo:
    """What a reference was fitted with.

    Attributes:
        hashes: of the members' own weights and of their VLMs, see `model_hashes`.
        noise_samples: per member; the pooled state is a mean over them.
        decisions, episodes: how many.
        runs: ids of their runs.
        version: of the file.
    """

    hashes: tuple[str, ...]
    noise_samples: int
    decisions: int
    episodes: int
    runs: tuple[str, ...]
    version: int = VERSION


@dataclass(frozen=True)
class StoredReference:
    """A reference as it was found in a model's folder; `digest` is SHA-256 of its numbers, first 16 hex digits."""

    file: Path
    reference: NoveltyReference
    info: ReferenceInfo
    digest: str

    def check_fits(self, facts: Mapping[str, str], dimension: int) -> None:
        """Checks that the reference is of this ensemble.

        Args:
            facts: of the policy.
            dimension: E, width of the action expert.

        Raises:
            ModelError: another model, dimension or number of noise samples; names the file and both values.
        """
        self._check_equal("members with the hashes", ", ".join(self.info.hashes), ", ".join(model_hashes(facts)))
        self._check_equal("states of dimension", str(len(self.reference.mean)), str(dimension))
        self._check_equal("noise samples per member:", str(self.info.noise_samples), facts["noise_samples"])

    def _check_equal(self, what: str, fitted: str, loaded: str) -> None:
        if fitted != loaded:
            raise ModelError(
                f"{self.file}: was fitted with {what} {fitted}, the ensemble has {loaded}; "
                "fit it again with `salus model fit-reference` or remove it"
            )


def model_hashes(facts: Mapping[str, str]) -> tuple[str, ...]:
    """The hashes in a policy's facts, sorted: the pooled state is a mean over members, whatever their order."""
    return tuple(sorted(value for key, value in facts.items() if _HASH.fullmatch(key)))


def shrunk_covariance(states: FloatArray) -> tuple[FloatArray, float]:
    """Covariance shrunk towards a multiple of the identity by as much as the data ask for.

    O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88 (2004) 365-411, section 3.3, with the mean estimated and 1/n.

    Args:
        states: shape (n, E).

    Returns:
        Covariance (E, E), and the weight of the identity in it, 0 to 1.
    """
    count, dimension = states.shape
    centred = states - states.mean(axis=0)
    sample = centred.T @ centred / count
    scale = float(np.trace(sample)) / dimension  # m: the identity times this has the same total variance
    identity = scale * np.eye(dimension)
    distance = float(((sample - identity) ** 2).sum())  # d^2
    # b^2: the mean of ||x x' - S||^2 / n, with ||x x'||^2 = (x'x)^2
    error = (float(((centred**2).sum(axis=1) ** 2).mean()) - float((sample**2).sum())) / count
    shrinkage = min(max(error, 0.0) / distance, 1.0) if distance > 0.0 else 1.0
    return (1.0 - shrinkage) * sample + shrinkage * identity, shrinkage


def fit_reference(states: FloatArray) -> NoveltyReference:
    """Fits mean and precision, the inverse of the shrunk covariance.

    Args:
        states: the expert's pooled state of each decision, shape (n, E), n at least `MIN_DECISIONS`.

    Raises:
        ModelError: too few states, values that are not finite, or states that do not vary.
    """
    states = np.asarray(states, dtype=np.float64)
    if states.ndim != 2 or states.shape[0] < MIN_DECISIONS or states.shape[1] < 1:
        raise ModelError(f"states have shape {states.shape}, a reference needs (n, E) with n >= {MIN_DECISIONS}")
    if not np.isfinite(states).all():
        raise ModelError("states have values that are not finite: the policy diverged on these episodes")
    covariance, _ = shrunk_covariance(states)
    variances, directions = np.linalg.eigh(covariance)
    if variances[0] <= _SMALLEST_SPREAD * variances[-1]:
        raise ModelError(
            f"{len(states)} states of dimension {states.shape[1]} vary too little for a reference: variances from "
            f"{variances[0]:.2g} to {variances[-1]:.2g}; use other or more episodes"
        )
    precision = (directions / variances) @ directions.T
    return NoveltyReference(states.mean(axis=0), (precision + precision.T) / 2.0)


def save_reference(reference: NoveltyReference, folder: Path, info: ReferenceInfo) -> Path:
    """Writes the reference into a model's folder, in the place of an earlier one; a crash leaves the old or the new.

    Raises:
        ModelError: the file cannot be written.
    """
    file = folder / REFERENCE_FILE
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    tensors = {"mean": np.ascontiguousarray(reference.mean), "precision": np.ascontiguousarray(reference.precision)}
    data = save(tensors, metadata={_METADATA: TypeAdapter(ReferenceInfo).dump_json(info).decode()})
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ModelError(f"{file}: cannot be written ({error.strerror or error})") from error
    return file


def load_reference(folder: Path) -> StoredReference | None:
    """Reads the reference in a model's folder; None where there is none. `check_fits` tells whether it is the model's.

    Raises:
        ModelError: the file is truncated, no reference, or has values that cannot be; names it.
    """
    file = folder / REFERENCE_FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="np") as stored:
            info = TypeAdapter(ReferenceInfo).validate_json((stored.metadata() or {}).get(_METADATA, ""))
            mean, precision = stored.get_tensor("mean"), stored.get_tensor("precision")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(top level)"
        raise ModelError(f"{file}: metadata '{_METADATA}': {key}: {first['msg']}") from error
    # What numpy makes of a type it does not have is an AttributeError or a TypeError.
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(f"{file}: is not a reference, or is damaged ({error})") from error
    if info.version != VERSION:
        raise ModelError(f"{file}: version is {info.version}, this version of SALUS reads {VERSION}")
    _check_numbers(file, mean, precision)
    digest = hashlib.sha256(mean.tobytes() + precision.tobytes()).hexdigest()[:16]
    return StoredReference(file, NoveltyReference(mean, precision), info, digest)


def find_reference(
    folder: Path | None, facts: Mapping[str, str], dimension: int
) -> tuple[NoveltyReference | None, dict[str, str]]:
    """The reference for an ensemble, if its folder has one, and what provenance says of it.

    Args:
        folder: of the model; None for members that do not come from one.
        facts: of the policy.
        dimension: E, width of the action expert.

    Raises:
        ModelError: see `load_reference` and `StoredReference.check_fits`.
    """
    stored = load_reference(folder) if folder is not None else None
    if stored is None:
        return None, {"novelty_reference": "none"}
    stored.check_fits(facts, dimension)
    return stored.reference, {
        "novelty_reference": stored.digest,
        "novelty_reference_decisions": str(stored.info.decisions),
    }


_LARGEST = 1e30  # far above any activation, and distances still fit a float64


def _check_numbers(file: Path, mean: FloatArray, precision: FloatArray) -> None:
    for name, value in (("mean", mean), ("precision", precision)):
        if value.dtype != np.float64 or not np.isfinite(value).all():
            raise ModelError(f"{file}: '{name}' has type {value.dtype} or values that are not finite, expected float64")
        if np.abs(value).max(initial=0.0) > _LARGEST:
            raise ModelError(
                f"{file}: '{name}' has values above {_LARGEST:g}, which no hidden state has: it is damaged"
            )
    if mean.ndim != 1 or not len(mean) or precision.shape != (len(mean), len(mean)):
        raise ModelError(f"{file}: mean {mean.shape} and precision {precision.shape}, expected (E,) and (E, E)")
    try:
        if not np.array_equal(precision, precision.T):
            raise np.linalg.LinAlgError("not symmetric")
        np.linalg.cholesky(precision)
    except np.linalg.LinAlgError as error:
        raise ModelError(f"{file}: 'precision' is not an inverse of a covariance ({error})") from error
