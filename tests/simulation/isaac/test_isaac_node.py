"""`isaac_sim` as a user starts it, on the stand-in: from the first check to the end of Isaac's process."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray

from graph.conftest import salus
from graph.graph_client import GraphClient
from salus_vla import contract
from salus_vla.contract import CAMERAS

from .conftest import LIMIT_S, Isaac

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

# The stand-in renders nothing; its pictures are black.
UNSEEN = {f"{camera} sees cube" for camera in CAMERAS}  # all that follows from black pictures is not judged


def test_the_stand_in_keeps_every_rule_but_those_of_pictures(
    make_isaac: Callable[..., Isaac], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an arm with a mass: a command that is read alone, a frame before the newest, does not carry it off.
    isaac = make_isaac("6.0.1", STAND_IN_STEP="0.05")
    for name, value in {**isaac.environment, "COLUMNS": "400"}.items():
        monkeypatch.setenv(name, value)
    result = salus("check-sim", "--sim", "isaac")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    broken = {line.split("  ")[0].strip() for line in lines if line.endswith("BROKEN")}
    assert broken == UNSEEN, result.stdout + result.stderr
    assert result.returncode == 1
    assert len(isaac.calls("close")) == 1  # Isaac Sim was ended, and not killed


FAILURES = {
    "no asset root": ({"STAND_IN_NO_ASSETS": "1"}, "Isaac Sim's assets cannot be reached"),
    "no licence": ({"STAND_IN_NO_LICENCE": "1"}, "NVIDIA's licence was not accepted (EULA)"),
    "no GPU": ({"STAND_IN_NO_GPU": "1"}, "no NVIDIA GPU: nvidia-smi says No devices were found"),
    "no frames": (
        {"STAND_IN_SILENT": "1"},
        "nothing on /clock, /joint_states, /camera_front/image_raw, /camera_side/image_raw, /camera_top/image_raw "
        "within 3 s (frames_timeout_s)",
    ),
}


def test_what_is_missing_ends_the_node_with_one_line(make_isaac: Callable[..., Isaac]) -> None:
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "isaac_sim")
    command = [str(executable), "--ros-args", "-p", "frames_timeout_s:=3.0"]
    installed = make_isaac("6.0.1")
    with ExitStack() as stack:
        nodes: dict[str, subprocess.Popen[str]] = {}
        for what, (extra, _) in FAILURES.items():  # side by side: each of them mostly waits
            environment = replace(installed, extra=extra).environment
            nodes[what] = stack.enter_context(
                subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(nodes[what].kill)
        for what, (_, message) in FAILURES.items():
            _, errors = nodes[what].communicate(timeout=LIMIT_S)
            assert nodes[what].returncode == 1, what
            assert errors.splitlines()[-1].startswith("error: "), what
            assert message in errors.splitlines()[-1], what


def test_its_diagnostics_are_the_sign_of_life_of_the_simulator(make_isaac: Callable[..., Isaac]) -> None:
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "isaac_sim")
    clocks: list[dict[str, str]] = []

    def hear(array: DiagnosticArray) -> None:
        parts = {status.name: {item.key: item.value for item in status.values} for status in array.status}
        if int(parts.get("salus/isaac_sim: clock", {}).get("messages", 0)) > 0:
            clocks.append(parts["salus/isaac_sim: clock"])

    with (
        closing(GraphClient("listener", LIMIT_S)) as client,
        subprocess.Popen([str(executable)], env=make_isaac("6.0.1").environment) as process,
    ):
        try:
            client.listen_to(contract.DIAGNOSTICS, hear)
            client.wait(lambda: len(clocks) > 1, "diagnostics with a rate of /clock")
            assert float(clocks[-1]["expected_hz"]) == contract.FRAME_HZ
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
