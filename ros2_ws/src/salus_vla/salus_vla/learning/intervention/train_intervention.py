"""From tables of random interventions to the file that interventions are chosen with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from salus_vla.contract.errors import ConfigError, DatasetError, ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import FailureTable, read_tables
from salus_vla.data.failures.split import Part, part_of
from salus_vla.learning.intervention.fit_effects import GraspRows, fit_effects, grasp_rows
from salus_vla.learning.prediction.ours import holds
from salus_vla.learning.prediction.samples import Samples, make_samples
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS
from salus_vla.safety.intervention.choice import ChoiceSettings
from salus_vla.safety.intervention.effects import situation
from salus_vla.safety.intervention.intervention_file import InterventionModel, make_effects, save_intervention
from salus_vla.safety.intervention.stuck_watch import TRIES
from salus_vla.safety.prediction.alarm_band import SCORES, conformal_quantile, scores
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import load_predictor
from salus_vla.safety.prediction.predictor_network import logits, probabilities
from salus_vla.safety.tensor_file import require_new

_EMPTY, _HOLDS = FEATURES.index("empty_closings"), FEATURES.index("holds")
_NEVER = -1e6


def train_intervention(
    random_tables: Sequence[Path],
    success_tables: Sequence[Path],
    predictor_folder: Path,
    out: Path,
    *,
    failure_cost_s: float,
    retreats: int,
    hand_over_share: float,
    seed: int,
    say: Callable[[str], None],
) -> str:
    """Learns effects from tables of `--intervention random`, and when a try is hopeless from tables without.

    Args:
        random_tables: failure tables with drawn motions; every seed but the test part's is learned from.
        success_tables: failure tables without interventions: successes of their calibration part set the threshold.
        predictor_folder: of the predictor that the graph runs.
        out: new folder.
        failure_cost_s: task time that one failure is worth [s].
        retreats: of an episode.
        hand_over_share: of the successes that may be handed over.
        seed: of the bootstrap.
        say: is told what is done next.

    Returns:
        What was made, in words.

    Raises:
        DatasetError, TrainingError, ConfigError: tables cannot be read, have no drawn motions, or are too few.
        ModelError: they are of another ensemble than the predictor, or the folder exists or cannot be written.
    """
    require_new(out)
    predictor = load_predictor(predictor_folder)
    say("read the tables of drawn motions")
    table = read_tables(random_tables)
    rows = rows_of_table(table, predictor)
    rows = rows.of(np.array([part_of(int(value)) is not Part.TEST for value in rows.seed]))
    say("fit effects")
    fitted = fit_effects(rows, seed)
    say("read the tables of successes")
    threshold, successes = stuck_threshold(read_tables(success_tables), predictor, hand_over_share)
    counts = Counter(CHOICES[index] for index in rows.motion[np.unique(rows.grasp, return_index=True)[1]].tolist())
    about = {
        "grasps": ", ".join(f"{name} {counts[name]}" for name in MOTIONS if counts[name]),
        "profiles": ", ".join(sorted(set(rows.profile.tolist()))),
        "tables": ", ".join(file.name for file in random_tables),
        "handed_over_at": f"a logit of {threshold:.2f} after {TRIES} closings on nothing, from {successes} successes",
        "seed": seed,
    }
    effects = make_effects(fitted.names, fitted.weights, fitted.mean, fitted.scale, predictor.digest)
    save_intervention(
        out, InterventionModel(effects, threshold, ChoiceSettings(failure_cost_s, retreats=retreats), about)
    )
    return f"interventions {effects.digest} from {sum(counts.values())} grasps ({about['grasps']})"


def rows_of_table(table: FailureTable, predictor: FailurePredictor) -> GraspRows:
    """Grasps of a table with drawn motions.

    Raises:
        DatasetError: nobody could intervene in it.
        ModelError: it is of another ensemble than the predictor, or in another basis.
    """
    if table.motions is None or table.motion_probability is None:
        raise DatasetError(
            f"{table.files[0]}: nobody could intervene in its episodes; record with "
            "`salus rollout --intervention random`"
        )
    samples = _samples(table, predictor)
    found = _scores(samples, predictor)
    return grasp_rows(
        situation(samples.features, found),
        table.motions,
        table.motion_probability,
        samples.episode,
        samples.fails,
        samples.seed[samples.episode],
        samples.profile[samples.episode],
    )


def stuck_threshold(table: FailureTable, predictor: FailurePredictor, share: float) -> tuple[float, int]:
    """Logit that at most a share of the successes ever passes where `stuck_watch` looks, and how many there were.

    Raises:
        ConfigError: there are too few successes for this share.
        ModelError: as `rows_of_table`.
    """
    samples = _samples(table, predictor)
    failure = _scores(samples, predictor)[:, SCORES.index("failure")]
    looked_at = (samples.features[:, _EMPTY] >= TRIES) & (samples.features[:, _HOLDS] < 0.5)
    peaks = np.full(len(samples.seed), _NEVER)
    np.maximum.at(peaks, samples.episode[looked_at], failure[looked_at])
    chosen = samples.of(Part.CALIBRATION) & samples.success
    if not chosen.any():
        raise ConfigError(f"{table.files[0]}: has no success of a calibration seed (ending in 6 or 7); record some")
    return conformal_quantile(np.sort(peaks[chosen]), share), int(chosen.sum())


def _samples(table: FailureTable, predictor: FailurePredictor) -> Samples:
    predictor.require(table.source)
    if table.basis.to_bytes() != predictor.basis.to_bytes():
        raise ModelError(
            f"{table.files[0]}: its hidden states have another basis than predictor {predictor.digest}; make it with "
            "`salus dataset failures --basis` and the table that the predictor was trained on"
        )
    return make_samples(table)


def _scores(samples: Samples, predictor: FailurePredictor) -> FloatArray:
    return scores(probabilities(logits(predictor.weights, samples.features)), holds(samples))
