"""`salus check-sim` on the embedded simulator, on a wrong one, and with nobody there."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import salus
from .sim_client import LIMIT_S
from .wrong_simulator import BROKEN

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

WRONG = Path(__file__).with_name("wrong_simulator.py")


@pytest.fixture(autouse=True)
def wide_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(params=BROKEN)
def wrong_simulator(request: pytest.FixtureRequest) -> Iterator[str]:
    """A running simulator with mistakes; its name."""
    with subprocess.Popen(
        [sys.executable, str(WRONG), request.param, "--ros-args", "-p", "pacing:=realtime"]
    ) as process:
        yield request.param
        process.send_signal(signal.SIGINT)
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()


def broken(output: str) -> set[str]:
    """Rules that the table calls broken."""
    return {line.split("  ")[0].strip() for line in output.splitlines() if line.rstrip().endswith("BROKEN")}


def test_the_embedded_simulator_keeps_the_contract() -> None:
    result = salus("check-sim", "--sim", "mujoco")
    assert broken(result.stdout) == set(), result.stdout
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_what_a_wrong_simulator_breaks_is_said(wrong_simulator: str) -> None:
    result = salus("check-sim", "--sim", "external")
    assert broken(result.stdout) == BROKEN[wrong_simulator], result.stdout + result.stderr
    assert result.returncode == 1


def test_silence_has_an_exit_code_of_its_own() -> None:
    result = salus("check-sim", "--sim", "external", "--wait", "0.5")
    assert result.returncode == 3
    assert f"no simulator was heard within 0.5 s on ROS domain {os.environ['ROS_DOMAIN_ID']}" in result.stdout
