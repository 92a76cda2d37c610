"""`salus rollout`: makes, resumes, is interrupted, and refuses what cannot be."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from stored import SEEDS, SHORT

from salus_vla.cli.main import main
from salus_vla.contract.errors import RecordingError
from salus_vla.data.rollouts.rollout_folder import RolloutFolder
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import decode, episode_file, is_rollout_run, read_run
from salus_vla.data.rollouts.worker_results import Finished, Ready

ARGUMENTS = (
    "rollout",
    *("--policy", SHORT.policy),
    *("--profile", SHORT.profile),
    *("--max-decisions", str(SHORT.max_decisions)),
    *("--seed", str(SEEDS[0])),
)


def files(run: Path) -> dict[int, bytes]:
    return {seed: file.read_bytes() for seed, file in read_run(run).by_seed.items()}


def test_an_interrupted_run_keeps_what_is_finished_and_is_continued(
    tmp_path: Path, expected: dict[int, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "salus_vla.cli", *ARGUMENTS, "--out", str(tmp_path), "--run-id", "r"]
    with subprocess.Popen([*command, "--episodes", "500", "--workers", "1"], stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        assert any(" of 500 episodes" in line for line in made.stdout), "no episode was finished"
        workers = psutil.Process(made.pid).children(recursive=True)
        made.send_signal(signal.SIGINT)
        began = time.monotonic()
        printed = made.stdout.read()
        made.wait(timeout=30.0)
        took = time.monotonic() - began
    assert made.returncode == 130
    assert took < 3.0
    assert "interrupted; continue with --resume" in printed
    assert workers
    assert not any(worker.is_running() for worker in workers)
    interrupted = files(tmp_path / "r")
    assert set(interrupted) < set(range(SEEDS[0], SEEDS[0] + 500))
    assert interrupted[SEEDS[0]] == expected[SEEDS[0]]

    damaged = tmp_path / "r" / "episodes" / episode_file(SEEDS[0])
    damaged.write_bytes(expected[SEEDS[0]][:-1])
    settings = ("--out", str(tmp_path), "--resume", "--workers", "1")
    assert main([*ARGUMENTS, *settings, "--episodes", "4"]) == 0
    assert f"{damaged} is damaged and is made again" in capsys.readouterr().out
    continued = files(tmp_path / "r")
    assert {seed: continued[seed] for seed in SEEDS} == expected
    assert {seed: continued[seed] for seed in set(interrupted) - set(SEEDS)} == {
        seed: data for seed, data in interrupted.items() if seed not in SEEDS
    }

    assert main(["rollout", *settings, "--episodes", "4"]) == 0
    assert "TIMEOUT" in capsys.readouterr().out
    for option in (["--seed", "99"], ["--policy", "expert"], ["--no-images"], ["--profile", "eval"], ["--disturb"]):
        assert main(["rollout", *settings, "--episodes", "5", *option]) == 1
        assert f"{option[0].removeprefix('--no-')}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run-id", "../x"], "--run-id"),
        (["--run-id", "there"], "there: exists already"),
        (["--profile", "nowhere"], "nowhere"),
        (["--resume", "--run-id", "there"], "is not a run of `salus rollout`"),
        (["--resume"], "holds no run of `salus rollout`"),
        (["--ray", "local", "--device", "cuda:0"], "cpu only"),
        (["--ray", "127.0.0.1:1"], "nothing answers there"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    start = ["rollout", "--episodes", "1", "--no-images", "--policy", "hold", "--out", str(tmp_path)]
    assert main([*start, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [["--episodes", "0"], ["--workers", "0"], ["--policy", "x"], ["--seed", "-1"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "--episodes", "1", *arguments])
    assert ended.value.code == 2


@pytest.fixture
def folder(tmp_path: Path) -> RolloutFolder:
    return RolloutFolder.create(tmp_path, "run", SHORT, SEEDS[0])


def test_a_run_holds_each_episode_once(folder: RolloutFolder, expected: dict[int, bytes]) -> None:
    seed = SEEDS[1]
    summary = folder.add(Finished(seed, expected[seed]))
    assert summary == decode(expected[seed], "here").summary
    with pytest.raises(RecordingError, match="once"):
        folder.add(Finished(seed, expected[seed]))
    with pytest.raises(RecordingError, match="expected seed 5"):
        folder.add(Finished(SEEDS[2], expected[seed]))
    with pytest.raises(RecordingError, match="as the worker sent it"):
        folder.add(Finished(SEEDS[3], expected[SEEDS[3]][:-1]))
    assert list(files(folder.path)) == [seed]
    with pytest.raises(RecordingError, match="in use"):
        RolloutFolder.resume(folder.path)
    folder.close()
    again = RolloutFolder.resume(folder.path)
    assert (again.finished, again.settings, again.first_seed) == ({seed: summary}, SHORT, SEEDS[0])
    again.close()


def test_an_episode_under_the_name_of_another_is_refused(folder: RolloutFolder, expected: dict[int, bytes]) -> None:
    (folder.path / "episodes" / episode_file(8)).write_bytes(expected[SEEDS[0]])
    folder.close()
    with pytest.raises(RecordingError, match="is the episode of seed 3"):
        RolloutFolder.resume(folder.path)
    (folder.path / "episodes" / episode_file(8)).unlink()
    RolloutFolder.resume(folder.path).close()  # the failed attempt has given its lock back


def test_workers_that_would_make_other_episodes_are_refused(folder: RolloutFolder) -> None:
    facts = {"scene_hash": "a", "policy.member_0_hash": "b", "policy.member_0": "/here", "policy.load_s": "1.0"}
    folder.worker_ready(Ready(facts, 1, "one"))
    folder.worker_ready(Ready({**facts, "policy.member_0": "/there", "policy.load_s": "2.0"}, 2, "two"))
    with pytest.raises(RecordingError, match=r"policy\.member_0_hash is 'c' for the worker on three.*made with 'b'"):
        folder.worker_ready(Ready({**facts, "policy.member_0_hash": "c"}, 3, "three"))
    folder.close()
    again = RolloutFolder.resume(folder.path)
    with pytest.raises(RecordingError, match="scene_hash is 'z'"):
        again.worker_ready(Ready({**facts, "scene_hash": "z"}, 4, "four"))
    again.close()


@pytest.mark.parametrize(("name", "value"), [("images", "yes"), ("max_decisions", "many"), ("seed", "-3")])
def test_settings_of_a_run_that_make_no_sense_are_named(tmp_path: Path, name: str, value: str) -> None:
    run = RolloutFolder.create(tmp_path, "run", RolloutSettings(), 0)
    run.close()
    file = tmp_path / "run" / "run.json"
    arguments = read_run(file.parent).record.arguments
    text = file.read_text()
    assert f'"{name}": "{arguments[name]}"' in text
    file.write_text(text.replace(f'"{name}": "{arguments[name]}"', f'"{name}": "{value}"'))
    with pytest.raises(RecordingError, match=rf"run\.json: arguments\.{name}: is '{value}'"):
        RolloutFolder.resume(file.parent)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="file"):
        RolloutFolder.create(tmp_path / "file", "run", SHORT, 0)
    assert not is_rollout_run(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
