"""An installation that looks like Isaac Sim, with a stand-in for what is in it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import salus_vla
from salus_vla.config.scene import load_scene
from salus_vla.simulation.isaac.channel import serve
from salus_vla.simulation.isaac.host.scene_spec_builder import SceneSpecBuilder
from salus_vla.simulation.isaac.isaac_environment import isaac_environment
from salus_vla.simulation.isaac.isaac_versions import release_of
from salus_vla.simulation.isaac.scene_spec import as_json

STAND_IN = Path(__file__).parent / "stand_in"
STANDALONE = Path(salus_vla.__file__).resolve().parent / "ros" / "nodes" / "isaac_standalone.py"
LIMIT_S = 30.0


@dataclass
class Isaac:
    """A folder laid out as a binary release of Isaac Sim."""

    folder: Path
    version: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return self.folder / "python.sh"

    @property
    def environment(self) -> dict[str, str]:
        """A shell in which somebody starts it: with a GPU, without a sourced ROS."""
        base = {key: value for key, value in os.environ.items() if key not in ("ROS_DISTRO", "EXP_PATH")}
        return base | {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "ISAAC_PYTHON": str(self.python),
            "STAND_IN_VERSION": self.version,
            "STAND_IN_LOG": str(self.folder / "calls.jsonl"),
            "STAND_IN_AMENT_PREFIX_PATH": os.environ["AMENT_PREFIX_PATH"],
            **self.extra,
        }

    def calls(self, name: str) -> list[list[Any]]:
        """Arguments of each call of that name."""
        log = self.folder / "calls.jsonl"
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        return [arguments for call, *arguments in lines if call == name]

    def call_names(self) -> list[str]:
        """Every call, in order."""
        lines = (self.folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)[0] for line in lines]


@pytest.fixture
def make_isaac(tmp_path: Path) -> Callable[..., Isaac]:
    """Lays out an installation."""

    def make(version: str, **extra: str) -> Isaac:
        release = release_of(version)
        folder = tmp_path / f"isaac-{version}"
        (folder / "exts" / release.library_extension / "jazzy" / "lib").mkdir(parents=True)
        (folder / "python_packages").mkdir()
        (folder / "python_packages" / "isaacsim").symlink_to(STAND_IN / "isaacsim")
        (folder / "bin").mkdir()
        (folder / "VERSION").write_text(f"{version}-rc.7+main.1\n", encoding="utf-8")
        no_gpu = 'if [ -n "$STAND_IN_NO_GPU" ]; then echo "No devices were found"; exit 6; fi'
        _script(folder / "bin" / "nvidia-smi", f'{no_gpu}\necho "GPU 0: stand-in"')
        packages, apps = folder / "python_packages", folder / "apps"
        apps.mkdir()
        (apps / "isaacsim.exp.base.zero_delay.kit").touch()
        _script(folder / "python.sh", f'export PYTHONPATH="{packages}" EXP_PATH="{apps}"\n{sys.executable} "$@"')
        return Isaac(folder, version, extra)

    return make


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@dataclass
class Running:
    """A `isaac_standalone.py` that runs on the stand-in, and the errors that it told."""

    process: subprocess.Popen[str]
    failures: list[str]

    def stop(self) -> int:
        """Exit code after SIGINT."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(LIMIT_S)


@contextmanager
def standalone(isaac: Isaac, *, environment: dict[str, str] | None = None, **changed: Any) -> Iterator[Running]:
    """Runs the script as `isaac_sim` does, without that node; `changed` are fields of the spec."""
    builder = SceneSpecBuilder(load_scene(), changed.pop("profile", "eval"))
    values = {"seed": 0, "pacing": "realtime", "lockstep_timeout_s": 2.0} | changed
    spec = builder.scene_spec(version=isaac.version, folder=str(isaac.folder), **values)
    failures: list[str] = []
    if environment is None:
        release = release_of(isaac.version)
        environment = isaac_environment(isaac.environment, release, isaac.folder, Path(sys.prefix))
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [str(isaac.python), str(STANDALONE), "--channel", str(theirs.fileno())],
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    answers: dict[str, Callable[[Any], Any]] = {
        "scene_spec": lambda _: as_json(spec),
        "reset_sample": builder.answer_reset_sample,
        "failed": lambda told: failures.append(told["error"]),
    }
    thread = threading.Thread(target=serve, args=(ours, answers))
    thread.start()
    try:
        yield Running(process, failures)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        thread.join(LIMIT_S)
        ours.close()
