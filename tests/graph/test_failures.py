"""What goes wrong before the first episode is explained, and nothing is recorded that never happened."""

from pathlib import Path

import pytest
import yaml

from salus_vla.data.bags.run_info import read_run

from .conftest import salus

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]


def test_a_missing_model_ends_the_run_with_its_path(tmp_path: Path) -> None:
    missing = tmp_path / "no_such_model"
    result = salus("collect", "--episodes", 1, "--model", missing, "--out", tmp_path / "runs", "--run-id", "run")
    assert result.returncode == 1
    assert f"{missing} is not a folder" in result.stdout
    assert "no_valid_policy" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("salus: error: no_valid_policy: policy: model.members: ")
    assert not list((tmp_path / "runs" / "run").glob("*episode_*"))


def test_a_key_that_no_node_reads_ends_the_run_with_its_name(tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(yaml.safe_dump({"vla_ensemble": {"ros__parameters": {"model.nois_samples": 2}}}))
    result = salus(
        "collect", "--episodes", 1, "--policy", "hold", "--params-file", parameters, "--out", tmp_path / "runs"
    )
    assert result.returncode == 1
    assert "vla_ensemble: unknown parameter 'model.nois_samples'" in result.stdout
    assert result.stderr.splitlines()[-1].startswith(
        "salus: error: vla_ensemble: unknown parameter 'model.nois_samples'"
    )


def test_a_section_that_no_node_reads_ends_a_launched_graph_too(tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text(yaml.safe_dump({"vla_ensembel": {"ros__parameters": {"model.dtype": "fp32"}}}))
    words = ["policy:=hold", "episodes:=1", f"out:={tmp_path / 'runs'}", f"params_file:={parameters}"]
    result = salus("launch", "salus.launch.xml", *words)
    assert f"error: {parameters}: vla_ensembel: no node has this name" in result.stdout + result.stderr
    assert not list((tmp_path / "runs").rglob("*.mcap"))


def test_a_simulator_that_does_not_wait_aborts_the_episode_with_the_reason(tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    impatient = {
        "mujoco_sim": {"ros__parameters": {"lockstep_timeout_s": 0.1}},
        "vla_ensemble": {"ros__parameters": {"model.noise_samples": 64}},  # a decision takes much longer than that
    }
    parameters.write_text(yaml.safe_dump(impatient))
    out = tmp_path / "runs"
    given = ("--params-file", parameters, "--out", out, "--run-id", "run")
    result = salus("collect", "--episodes", 1, "--model", "builtin:tiny", *given)
    assert result.returncode == 1
    assert "lockstep_lost" in result.stderr
    assert "Traceback" not in result.stdout
    (episode,) = read_run(out / "run").record.episodes
    assert episode.outcome == "ABORTED"
    assert "lockstep_lost" in episode.detail


def test_a_folder_that_is_a_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    result = salus("collect", "--episodes", 1, "--out", tmp_path / "runs", timeout=20)
    assert result.returncode == 1
    assert str(tmp_path / "runs") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["collect"], "--episodes"),
        (["collect", "--episodes", "0"], "0 is below 1"),
        (["collect", "--episodes", "many"], "expected a whole number"),
        (["collect", "--episodes", "1", "--sim", "gazebo"], "choose from"),
        (["collect", "--episodes", "1", "--seed", "-1"], "-1 is below 0"),
        (["frobnicate"], "choose from"),
        ([], "COMMAND"),
    ],
)
def test_wrong_arguments_are_explained_and_end_with_2(arguments: list[str], expected: str) -> None:
    result = salus(*arguments, timeout=20)
    assert result.returncode == 2
    assert expected in result.stderr


def test_a_run_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    result = salus("collect", "--episodes", 1, "--policy", "hold", "--out", tmp_path, "--run-id", "run")
    assert result.returncode == 1
    assert "exists already; give --resume to continue it, or another --run-id" in result.stderr
    assert list((tmp_path / "run").iterdir()) == []


def test_resuming_nothing_is_an_error(tmp_path: Path) -> None:
    result = salus("collect", "--episodes", 1, "--out", tmp_path, "--resume", timeout=20)
    assert result.returncode == 1
    assert f"{tmp_path} holds no run" in result.stderr
