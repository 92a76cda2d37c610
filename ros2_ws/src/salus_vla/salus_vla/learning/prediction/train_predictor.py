"""From failure tables to the files of a predictor."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import read_tables
from salus_vla.data.failures.make_table import make_failure_table
from salus_vla.data.failures.split import Part
from salus_vla.learning.prediction.fit_predictor import FitSettings, fit_network
from salus_vla.learning.prediction.ours import holds
from salus_vla.learning.prediction.questions import rows_of
from salus_vla.learning.prediction.samples import Samples, make_samples
from salus_vla.safety.prediction.alarm_band import fit_band, scores
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import digest_of, load_predictor, save_band, save_predictor
from salus_vla.safety.prediction.predictor_network import logits, probabilities
from salus_vla.safety.tensor_file import require_new

Say = Callable[[str], None]


def train_predictor(tables: Sequence[Path], out: Path, *, seed: int, alpha: float, say: Say) -> str:
    """Trains and calibrates a predictor.

    Args:
        tables: failure tables of one ensemble.
        out: new folder.
        seed: of initial weights and bootstrap.
        alpha: share of successful episodes that may ever alarm.
        say: is told what is done next.

    Returns:
        What was made, in words.

    Raises:
        DatasetError, TrainingError, ConfigError: the tables cannot be read, teach nothing, or do not support alpha.
        ModelError: the folder exists or cannot be written.
    """
    require_new(out)
    say("read the tables")
    table = read_tables(tables)
    samples = make_samples(table)
    learning = samples.of(Part.TRAIN, Part.VALIDATION)
    say("fit the network")
    weights = fit_network(samples, learning, seed)
    predictor = FailurePredictor(table.source, table.basis, weights, None, digest_of(table.basis, weights))
    band = fit_band(
        _scores(predictor, samples, learning), _scores(predictor, samples, samples.of(Part.CALIBRATION)), alpha
    )
    outcomes = Counter(samples.outcome[learning].tolist())
    names = ", ".join(file.name for file in table.files)
    about = {
        "episodes": int(learning.sum()),
        "outcomes": ", ".join(f"{count} {name}" for name, count in outcomes.most_common()),
        "profiles": ", ".join(sorted(set(samples.profile[learning].tolist()))),
        "tables": names,
        "seed": seed,
        "settings": asdict(FitSettings()),
    }
    save_predictor(out, predictor, about)
    calibrated = replace(predictor, band=band)
    save_band(out, calibrated, {"calibrated_on": f"{len(band.peaks)} successes of {names}"})
    return (
        f"predictor {predictor.digest} of {about['episodes']} episodes ({about['outcomes']}), alarm at alpha {alpha:g} "
        f"from {len(band.peaks)} successes"
    )


def calibrate_predictor(folder: Path, sources: Sequence[Path], out: Path, *, alpha: float, say: Say) -> str:
    """Calibrates a predictor on all successful episodes of runs or failure tables; half of them shape the band.

    Args:
        folder: of the predictor.
        sources: folders of runs, or failure tables in its basis.
        out: new folder.
        alpha: share of successful episodes that may ever alarm.
        say: is told what is done next.

    Returns:
        What was made, in words.

    Raises:
        DatasetError, ConfigError, ModelError: as `train_predictor`, or they are of another ensemble.
    """
    require_new(out)
    predictor = load_predictor(folder)
    runs = [source for source in sources if source.suffix != ".parquet"]
    say("read the runs")
    with tempfile.TemporaryDirectory() as scratch:
        files = [source for source in sources if source.suffix == ".parquet"]
        if runs:
            made = make_failure_table(runs, Path(scratch) / "runs.parquet", basis=predictor.basis)
            files += made.files
        table = read_tables(files)
    predictor.require(table.source)
    if table.basis.to_bytes() != predictor.basis.to_bytes():
        raise ModelError(
            f"{files[0]}: its hidden states have another basis than predictor {predictor.digest}; give the runs "
            "themselves instead"
        )
    samples = make_samples(table)
    found = _scores(predictor, samples, np.ones(len(samples.seed), dtype=np.bool_))
    band = fit_band(found[0::2], found[1::2], alpha)
    calibrated = replace(predictor, band=band)
    save_predictor(out, calibrated, {"calibrated_anew": True})
    names = ", ".join(source.name for source in sources)
    save_band(out, calibrated, {"calibrated_on": f"{len(band.peaks)} successes of {names}"})
    return f"predictor {predictor.digest}, alarm at alpha {alpha:g} from {len(band.peaks)} successes"


def _scores(predictor: FailurePredictor, samples: Samples, episodes: NDArray[np.bool_]) -> list[FloatArray]:
    """Of the successes among episodes (E,)."""
    said = probabilities(logits(predictor.weights, samples.features))
    values: FloatArray = scores(said, holds(samples))
    return [values[rows] for rows in rows_of(samples, episodes & samples.success)]
