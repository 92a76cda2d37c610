"""The manifold that comes with SALUS is of the predictor's ensemble and basis, and small."""

from __future__ import annotations

from salus_vla.config.paths import DEFAULT_MANIFOLD, DEFAULT_PREDICTOR, manifold_folder, predictor_folder
from salus_vla.safety.manifold.manifold_file import MANIFOLD_FILE, load_manifold
from salus_vla.safety.prediction.predictor_file import load_predictor


def test_it_is_of_the_shipped_predictors_ensemble_and_basis() -> None:
    manifold, predictor = (
        load_manifold(manifold_folder(DEFAULT_MANIFOLD)),
        load_predictor(predictor_folder(DEFAULT_PREDICTOR)),
    )
    manifold.require(predictor.ensemble)
    manifold.require_basis(predictor.basis)
    assert manifold.share == 0.95
    assert (manifold_folder(DEFAULT_MANIFOLD) / MANIFOLD_FILE).stat().st_size <= 2_000_000
