"""The file of a manifold comes back as it was, and a damaged or foreign one is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawn_manifold import drawn_decisions, drawn_manifold
from salus_vla.contract.errors import ModelError
from salus_vla.safety.manifold.manifold_file import MANIFOLD_FILE, load_manifold, read_card, save_manifold


@pytest.mark.parametrize("model", ["k-NN", "Mahalanobis"])
def test_it_comes_back(tmp_path: Path, model: str) -> None:
    manifold = drawn_manifold(model)
    save_manifold(tmp_path / "m", manifold, {"decisions": 12})
    loaded = load_manifold(tmp_path / "m")
    assert (loaded.digest, loaded.ensemble, loaded.basis) == (manifold.digest, manifold.ensemble, manifold.basis)
    assert loaded.share == manifold.share
    assert loaded.level == pytest.approx(manifold.level, rel=1e-6)
    for expert, state, chunk in zip(*drawn_decisions(7, 20), strict=True):
        assert loaded.distance(expert, state, chunk) == manifold.distance(expert, state, chunk)
    assert read_card(tmp_path / "m") == {"decisions": 12}


def _replaced(old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(file.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "does not exist; make it with `salus manifold train`"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "is damaged"),
        (lambda file: file.write_text("{}"), "is damaged"),
        (_replaced(b'"features":"1"', b'"features":"7"'), "features version 7, this program computes 1"),
        (_replaced(b"salus-manifold-1", b"salus-manifold-9"), "has format 'salus-manifold-9', expected"),
        (_replaced(b'"share":"0.9"', b'"share":"9.0"'), "is damaged (share of the manifold: is 9"),
        (_replaced(b'"points"', b'"pointz"'), "is damaged ('points')"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    save_manifold(tmp_path, drawn_manifold(), {})
    damage(tmp_path / MANIFOLD_FILE)
    with pytest.raises(ModelError, match=re.escape(MANIFOLD_FILE) + ".*" + re.escape(message)):
        load_manifold(tmp_path)


@pytest.mark.parametrize("name", ["scale", "mean", "points", "directions"])
def test_numbers_that_cannot_be_are_refused(name: str) -> None:
    known = drawn_manifold().known
    values = {key: getattr(known, key) for key in ("mean", "scale", "directions", "points")}
    with pytest.raises(ValueError, match=f"{name} is not finite"):
        type(known)(**{**values, name: values[name] * np.float32(np.nan)}, neighbours=3)
