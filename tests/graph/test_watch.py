"""`salus watch` and `salus view live` beside a graph that runs."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salus_vla.contract import CAMERAS, CLOCK, JOINT_STATES, image_topic
from salus_vla.ros.environment.domains import private_graph
from salus_vla.views import rerun_viewer
from waiting import wait_until

from .conftest import salus

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]

LIMIT_S = 100.0
ENDLESS = 2000  # decisions: longer than any test takes


@pytest.fixture(scope="module")
def recording_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A graph that is recording an episode; the folder of its run."""
    out = tmp_path_factory.mktemp("watched")
    options = ["--episodes", 1, "--model", "builtin:tiny", "--seed", 31, "--max-decisions", ENDLESS]
    options += ["--out", out, "--run-id", "run"]
    command = [sys.executable, "-m", "salus_vla.cli", "collect", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:

            def is_recording() -> bool:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                return any((out / "run").glob(".episode_*.recording/*/*.mcap"))

            wait_until(is_recording, "bag that is being written", LIMIT_S)
            yield out / "run"
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def test_a_snapshot_shows_the_running_graph(recording_graph: Path) -> None:
    result = salus("watch", "--once", "--seconds", "8")  # a node may be found seconds after the first
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    # The untrained policy may have closed its gripper askew by then.
    assert re.search(r"episode: 0 of run run, seed 31, running( after [A-Z_]+)?, decision \d", result.stdout)
    assert "recording: a bag is being written" in result.stdout
    assert lines["policy"][1] in ("RUNNING", "HOLDING")
    assert lines["gate"][1] in ("RUNNING", "HOLDING", "READY")
    assert lines["recorder"][1] == "RUNNING"
    assert len(set(lines["chunk_divergence"][-1])) > 2  # a sparkline with ups and downs
    for topic in (CLOCK, JOINT_STATES, *map(image_topic, CAMERAS)):
        rate, due = map(float, lines[topic.name][1:3])
        assert due == topic.rate_hz
        assert rate == pytest.approx(due, rel=0.25), topic.name
    assert "nothing heard" not in result.stdout


def test_a_live_recording_for_rerun_ends_with_ctrl_c(recording_graph: Path, tmp_path: Path) -> None:
    file = tmp_path / "live.rrd"
    wanted = ("/camera/front", "/joints/arm/panda_joint1/measured", "/signals/execution/execution_error")
    command = [sys.executable, "-m", "salus_vla.cli", "view", "live", "--save", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:

            def has_all() -> bool:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                return all(entity in in_rerun(file) for entity in wanted)

            wait_until(has_all, f"{wanted} in {file.name}", LIMIT_S)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "MiB" in output
    subprocess.run([rerun_viewer.program(), "rrd", "verify", str(file)], check=True)


def in_rerun(file: Path) -> str:
    """What rerun finds in a file that may still be written."""
    command = [rerun_viewer.program(), "rrd", "print", "--continue-on-error=true", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_a_silent_domain_is_an_error_that_names_it() -> None:
    with private_graph({}) as environment:  # nobody else takes it meanwhile
        domain = environment["ROS_DOMAIN_ID"]
        result = salus("watch", "--once", "--seconds", "0.5", "--domain", domain)
    assert result.returncode == 1
    assert f"nothing heard on ROS_DOMAIN_ID={domain}" in result.stderr
