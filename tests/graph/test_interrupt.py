"""Ctrl-C in the middle of a run: the graph ends soon, every bag is closed, and --resume continues."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from salus_vla.data.bags.run_info import read_bag, read_run
from waiting import wait_until

from .conftest import salus

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

ENDS_WITHIN_S = 5.0
THREE_OBSERVATIONS = 3 * 3 * 256 * 256 * 3  # bytes of three cameras: by then decisions were made


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A run that was interrupted in its second episode."""
    command = [sys.executable, "-m", "salus_vla.cli", "collect", "--episodes", "50", "--policy", "hold"]
    command += ["--max-decisions", "60", "--seed", "5", "--out", str(tmp_path), "--run-id", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as collect:
        assert collect.stdout is not None
        assert any(line.startswith("episode 0:") for line in collect.stdout), "no episode was finished"
        # It is said to be over before its bag is closed.
        wait_until((tmp_path / "run" / "episode_000000").is_dir, "closed bag of episode 0", 20.0)
        wait_until(lambda: recorded_bytes(tmp_path / "run") > THREE_OBSERVATIONS, "second episode under way", 20.0)
        graph = psutil.Process(collect.pid).children(recursive=True)
        assert len(graph) == 6  # the runner and five nodes
        began = time.monotonic()
        collect.send_signal(signal.SIGINT)
        for node in graph[1:] * 2:  # as a terminal or a process group does beside the runner, and again
            with suppress(psutil.NoSuchProcess):
                node.send_signal(signal.SIGINT)
        output = collect.stdout.read()
        collect.wait()
        took = time.monotonic() - began
    assert collect.returncode == 130, output
    assert took < ENDS_WITHIN_S
    assert not any(process.is_running() for process in graph)
    log = (tmp_path / "run" / "graph.log").read_text()
    assert "Traceback" not in log
    assert "process has died" not in log
    assert log.count("process has finished cleanly") == len(graph) - 1
    return tmp_path / "run"


def recorded_bytes(run: Path) -> int:
    """What is on disk of the episode that is being recorded."""
    with suppress(FileNotFoundError):  # it was closed meanwhile
        return sum(path.stat().st_size for path in run.glob(".episode_000001.recording/*/*.mcap"))
    return 0


def test_an_interrupted_run_has_every_bag_closed_and_can_be_resumed(interrupted: Path) -> None:
    before = read_run(interrupted)
    assert before.interrupted == ()
    assert before.record.episodes[0].outcome == "TIMEOUT"
    for entry in before.record.episodes:
        assert entry.outcome in ("ABORTED", "TIMEOUT")
        assert entry.decisions > 0
    for entry in before.record.episodes:
        assert read_bag(interrupted / entry.path).messages == entry.messages
    contents = {path: path.read_bytes() for path in interrupted.glob("episode_*/metadata.yaml")}

    completed = sum(entry.outcome != "ABORTED" for entry in before.record.episodes)
    options = ["--out", interrupted.parent, "--resume"]  # policy and seed are those of the run
    contradiction = salus("collect", "--episodes", completed + 1, "--seed", 99, *options)
    assert contradiction.returncode == 1
    assert "--seed 99: the run was made with '5'" in contradiction.stderr
    result = salus("collect", "--episodes", completed + 1, *options)
    assert result.returncode == 0, result.stdout + result.stderr
    after = read_run(interrupted).record
    assert after.episodes[:-1] == before.record.episodes
    assert after.episodes[-1].number == before.record.episodes[-1].number + 1
    assert after.episodes[-1].seed == 5 + after.episodes[-1].number
    assert after.episodes[-1].policy_source == "hold"
    assert salus("collect", "--episodes", completed + 1, *options).stdout.strip().endswith("nothing to do")
    assert all(path.read_bytes() == content for path, content in contents.items())
    assert json.loads((interrupted / "run.json").read_text())["run_id"] == "run"
