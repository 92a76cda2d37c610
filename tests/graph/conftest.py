"""Starts the real graph as processes, as a user does, and gives the run it recorded."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drawn_predictor import drawn_predictor
from salus_vla.config.paths import config_dir
from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.data.bags.run_info import RunInfo, read_run
from salus_vla.safety.intervention.candidates import MOTIONS
from salus_vla.safety.intervention.effects import PARTS, SITUATION
from salus_vla.safety.intervention.intervention_file import InterventionModel, make_effects, save_intervention
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.predictor_file import load_predictor, save_predictor

SEED = 7
EPISODES = 2
DECISIONS = 25
TINY_STATES = (48, 4, 64)  # widths of the hidden states of builtin:tiny: expert; parts of the prefix, each


@dataclass(frozen=True)
class Collected:
    """Result of one `salus collect`."""

    run: RunInfo
    output: str

    def bag(self, episode: int) -> Path:
        """Folder of an episode's bag."""
        return self.run.path / f"episode_{episode:06d}"


def salus(*arguments: object, timeout: float = 100.0) -> subprocess.CompletedProcess[str]:
    """Runs the console command to its end."""
    command = [sys.executable, "-m", "salus_vla.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor with drawn weights for the tiny ensemble: what it says means nothing, but must arrive."""
    # Imported late: only these tests need them, and they take seconds.
    from salus_vla.policies.registry import expand_members
    from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy

    policy = EnsemblePolicy(expand_members([BUILTIN_TINY]))
    folder = tmp_path_factory.mktemp("predictor")
    drawn = drawn_predictor(EnsembleIdentity.of_facts(policy.provenance()), *TINY_STATES)
    save_predictor(folder, drawn, {})
    return folder


@pytest.fixture(scope="session")
def interventions(tmp_path_factory: pytest.TempPathFactory, predictor: Path) -> Path:
    """Interventions with drawn weights for that predictor, which choose now this and now that."""
    folder = tmp_path_factory.mktemp("interventions")
    size = len(SITUATION)
    weights = np.random.default_rng(3).normal(size=(2, PARTS, size + 1))
    effects = make_effects(tuple(MOTIONS), weights, np.zeros(size), np.ones(size), load_predictor(predictor).digest)
    save_intervention(folder, InterventionModel(effects, stuck_threshold=1e9))
    return folder


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory, predictor: Path, interventions: Path) -> Collected:
    """Two episodes with the tiny ensemble, a predictor and interventions in lockstep, through real processes."""
    out = tmp_path_factory.mktemp("runs")
    parameters = out / "salus.yaml"
    text = (config_dir() / "salus.yaml").read_text()
    parameters.write_text(text.replace("intervention.model: builtin", f"intervention.model: {interventions}"))
    options = ["--model", BUILTIN_TINY, "--seed", SEED, "--max-decisions", DECISIONS, "--out", out, "--run-id", "run"]
    options += ["--predictor", predictor, "--intervention", "act", "--params-file", parameters]
    result = salus("collect", "--episodes", EPISODES, *options)
    log = out / "run" / "graph.log"
    assert result.returncode == 0, result.stdout + result.stderr + (log.read_text() if log.is_file() else "")
    return Collected(read_run(out / "run"), result.stdout)
