"""The predictor that comes with SALUS is of the ensemble and of the table that come with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from salus_vla.config.paths import DEFAULT_PREDICTOR, models_dir, predictor_folder
from salus_vla.data.failures.failure_table import LARGEST, FailureTable, read_tables
from salus_vla.learning.training.training_run import origin
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import load_predictor

TABLES = sorted((Path(__file__).parents[3] / "datasets" / "failures").glob("compact-*.parquet"))


@pytest.fixture(scope="module")
def predictor() -> FailurePredictor:
    return load_predictor(predictor_folder(DEFAULT_PREDICTOR))


@pytest.fixture(scope="module")
def table() -> FailureTable:
    return read_tables(TABLES[:1])


def test_it_is_of_the_shipped_ensemble(predictor: FailurePredictor) -> None:
    assert origin(str(models_dir() / "compact")) == f"members {', '.join(predictor.ensemble.members)}"


def test_it_is_calibrated_and_small(predictor: FailurePredictor) -> None:
    assert predictor.band is not None
    assert predictor.band.alpha == 0.05
    assert sum(file.stat().st_size for file in predictor_folder(DEFAULT_PREDICTOR).glob("*.safetensors")) <= 2_000_000


def test_it_was_made_from_the_shipped_table(predictor: FailurePredictor, table: FailureTable) -> None:
    assert table.source == predictor.ensemble
    assert table.basis.to_bytes() == predictor.basis.to_bytes()
    assert len(TABLES) == 5
    assert all(file.stat().st_size <= LARGEST for file in TABLES)
    assert table.numbers["seed"].max() < 900_000
