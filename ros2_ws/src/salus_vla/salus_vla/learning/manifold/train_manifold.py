"""From failure tables to the file of a manifold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from salus_vla.contract.errors import ConfigError
from salus_vla.data.failures.failure_table import FailureTable, read_tables
from salus_vla.data.failures.split import Part
from salus_vla.learning.manifold.fit_manifold import PointSettings, fit_points
from salus_vla.learning.manifold.manifold_samples import ManifoldSamples, make_manifold_samples
from salus_vla.safety.manifold.action_manifold import ActionManifold, level_of
from salus_vla.safety.manifold.known_points import KnownPoints
from salus_vla.safety.manifold.manifold_file import save_manifold
from salus_vla.safety.tensor_file import require_new

Say = Callable[[str], None]


def train_manifold(tables: Sequence[Path], out: Path, *, seed: int, share: float, say: Say) -> str:
    """Fits and calibrates a manifold.

    Args:
        tables: failure tables of one ensemble.
        out: new folder.
        seed: of the draw of points.
        share: of decisions of successful calibration episodes that are inside.
        say: is told what is done next.

    Returns:
        What was made, in words.

    Raises:
        DatasetError, TrainingError, ConfigError: the tables cannot be read, teach nothing, or do not support the share.
        ModelError: the folder exists or cannot be written.
    """
    require_new(out)
    say("read the tables")
    table = read_tables(tables)
    samples = make_manifold_samples(table)
    say("fit the manifold")
    learning = samples.rows(Part.TRAIN)
    known = fit_points(samples.inputs[learning], PointSettings(), seed)
    manifold = calibrated(known, samples, table, share)
    rows = np.flatnonzero(learning)
    episodes = np.unique(samples.episode[rows])
    profiles = Counter(samples.profile[episodes].tolist())
    names = ", ".join(file.name for file in table.files)
    about = {
        "decisions": len(rows),
        "episodes": f"{len(episodes)} that succeeded, without the last second before a closing on nothing",
        "profiles": ", ".join(f"{count} {name}" for name, count in sorted(profiles.items())),
        "tables": names,
        "seed": seed,
        "settings": asdict(PointSettings()),
        "calibrated_on": f"{len(manifold.calibration)} decisions of "
        f"{len(np.unique(samples.episode[samples.rows(Part.CALIBRATION)]))} other successes of {names}",
    }
    save_manifold(out, manifold, about)
    return (
        f"manifold {manifold.digest} of {len(rows)} decisions of {len(episodes)} episodes, level {manifold.level:.3f} "
        f"holds {share:.0%} of {len(manifold.calibration)} decisions of other successes"
    )


def calibrated(known: KnownPoints, samples: ManifoldSamples, table: FailureTable, share: float) -> ActionManifold:
    """With the distances of the calibration seeds.

    Raises:
        ConfigError: they do not support the share.
    """
    rows = samples.rows(Part.CALIBRATION)
    if not rows.any():
        raise ConfigError("the tables have no successful episode of the calibration seeds, those that end in 6 and 7")
    found = np.sort(known.distances(known.place(samples.inputs[rows])).astype(np.float32).astype(np.float64))
    level_of(found, share)
    return ActionManifold(table.source, table.basis.digest, known, found, share)
