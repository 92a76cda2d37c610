"""From recorded episodes to a valid activation_novelty: `salus model fit-reference`, then a decision."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from episodes import SEED, observations, record, recording
from recorded import make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.config.scene import load_scene
from salus_vla.contract.outcomes import Outcome
from salus_vla.control.controller import make_controller
from salus_vla.data.bags.recorded_observations import read_observations
from salus_vla.policies.registry import make_policy
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.signals.novelty import REFERENCE_FILE, load_reference
from salus_vla.signals.safety_signals import NAMES

NOVELTY = NAMES.index("activation_novelty")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    init_model(folder, size="tiny", members=2, seed=1)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes with TIMEOUT and a COLLISION."""
    with recording(tmp_path_factory.mktemp("runs")) as recorder:
        for number, outcome in enumerate((Outcome.TIMEOUT, Outcome.COLLISION, Outcome.TIMEOUT)):
            record(recorder, number, observations(8, side=64, seed=number), outcome)
        return recorder.run.path


def fit(*arguments: object) -> int:
    return main(["model", "fit-reference", *map(str, arguments)])


def test_after_the_fit_the_signal_is_valid(model: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / REFERENCE_FILE).write_bytes(b"of another model, or broken: it is replaced")
    assert fit(model, run, run, "--outcome", "TIMEOUT") == 0
    text = capsys.readouterr().out
    assert "fitted on 16 decisions of dimension 48 from 2 episodes (2 TIMEOUT), runs: run1" in text
    assert f"stored in {model / REFERENCE_FILE}" in text
    stored = load_reference(model)
    assert stored is not None
    assert (stored.info.decisions, stored.info.episodes, stored.info.runs) == (16, 2, ("run1",))

    policy = make_policy("ensemble", members=[str(model)])
    assert policy.provenance()["novelty_reference"] == stored.digest
    controller = make_controller(policy, load_scene())
    controller.start_episode(SEED)
    values = []
    for _, observation in read_observations(run / "episode_000002"):
        signals = controller.decide(observation, None).signals
        assert signals.valid >> NOVELTY & 1
        values.append(float(signals.values[NOVELTY]))
    assert np.isfinite(values).all()
    # In these eight of the sixteen states that it was fitted on, with the same noise: never far out.
    reported = re.search(r"99 % below ([\d.]+)", text)
    assert reported is not None
    assert 0.0 < max(values) < 1.1 * float(reported[1])


def test_a_run_of_rollouts_is_as_good(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rollout_run(tmp_path, "rolled", [make_episode(seed, decisions=7, side=64) for seed in range(2)])
    assert fit(model, run) == 0
    assert "fitted on 16 decisions of dimension 48 from 2 episodes (2 SUCCESS), runs: rolled" in capsys.readouterr().out
    without = rollout_run(tmp_path, "without", [make_episode(9, images={})])
    assert fit(model, without) == 1
    assert "has no images" in capsys.readouterr().err


def test_without_such_episodes_it_says_what_there_is(
    model: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(model, run) == 1
    error = capsys.readouterr().err
    assert f"no finished episode with outcome SUCCESS in {run}: found 2 TIMEOUT, 1 COLLISION" in error
    assert fit(model, run, "--outcome", "DROP", "--outcome", "MISS") == 1
    assert "no finished episode with outcome DROP or MISS" in capsys.readouterr().err


def test_too_few_decisions_are_refused(model: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(model, run, "--outcome", "COLLISION") == 1
    assert "states have shape (8, 48), a reference needs (n, E) with n >= 10" in capsys.readouterr().err


def test_what_is_no_model_or_no_run_is_refused(
    model: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(model / "member_0", run) == 1
    assert f"{model / 'member_0'}: is not a model folder: salus_model.json is missing" in capsys.readouterr().err
    assert fit(model, tmp_path) == 1
    assert f"{tmp_path}: is not a run: " in capsys.readouterr().err


def test_a_bag_that_is_gone_is_named(
    model: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text())))
    assert fit(model, tmp_path, "--outcome", "TIMEOUT") == 1
    assert f"{tmp_path / 'episode_000000'}: is not a finished bag" in capsys.readouterr().err


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        fit("--help")
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for word in ("--outcome", "--device", "--noise-samples", "SUCCESS", REFERENCE_FILE):
        assert word in text


def test_an_outcome_that_does_not_exist_is_refused(model: Path, run: Path) -> None:
    with pytest.raises(SystemExit) as exit_:
        fit(model, run, "--outcome", "RUNNING")
    assert exit_.value.code == 2
