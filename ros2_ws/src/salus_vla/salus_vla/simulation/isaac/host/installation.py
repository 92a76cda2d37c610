"""What Isaac Sim needs before it is started, with an answer to each thing that is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.isaac_versions import Release, release_of

PYTHON_ENV = "ISAAC_PYTHON"
_PROBE_S = 60.0  # a first start of Python from a slow disk
_IMPORT_S = 120.0
# Nothing of Isaac Sim runs: the package is only looked up. A binary release has it in python_packages/.
_PROBE = """
import importlib.metadata, importlib.util, json, os, sys
spec = importlib.util.find_spec("isaacsim")
folder = os.path.dirname(os.path.abspath(spec.origin)) if spec and spec.origin else None
if folder and os.path.basename(os.path.dirname(folder)) == "python_packages":
    folder = os.path.dirname(os.path.dirname(folder))
version = None
if folder:
    try:
        version = open(os.path.join(folder, "VERSION"), encoding="utf-8").readline().strip()
    except OSError:
        try:
            version = importlib.metadata.version("isaacsim")
        except importlib.metadata.PackageNotFoundError:
            pass
print("\\nSALUS " + json.dumps({"python": sys.version_info[:2], "folder": folder, "version": version}))
"""
_MARK = "SALUS "


@dataclass(frozen=True)
class Install:
    """An installed Isaac Sim: its Python or python.sh, its folder with `exts` in it, and its version."""

    python: Path
    folder: Path
    version: str

    @property
    def release(self) -> Release:
        """What is known about that version."""
        return release_of(self.version)


def find_install(environment: Mapping[str, str]) -> Install:
    """The Isaac Sim that $ISAAC_PYTHON belongs to.

    Raises:
        SimulatorError: it is not set, is not a Python of an Isaac Sim, or has another Python than that release needs.
    """
    named = environment.get(PYTHON_ENV)
    if not named:
        raise SimulatorError(
            f"{PYTHON_ENV} is not set; expected the Python that has Isaac Sim: python.sh of a binary release, or "
            "bin/python of the virtual environment it was installed into with pip"
        )
    python = Path(named).expanduser()
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise SimulatorError(f"{PYTHON_ENV}={named}: expected an executable file")
    result = _run([str(python), "-c", _PROBE], environment, _PROBE_S, f"{PYTHON_ENV}={named}")
    marked = [line for line in result.stdout.splitlines() if line.startswith(_MARK)]
    if result.returncode != 0 or not marked:
        raise SimulatorError(
            f"{PYTHON_ENV}={named}: expected a Python, but it ended with exit code {result.returncode} and said: "
            f"{_end(result)}"
        )
    found = json.loads(marked[-1].removeprefix(_MARK))
    major, minor = found["python"]
    if found["folder"] is None or found["version"] is None:
        raise SimulatorError(
            f"{PYTHON_ENV}={named}: Python {major}.{minor} without the package isaacsim; expected the Python that has "
            "Isaac Sim"
        )
    install = Install(python, Path(found["folder"]), found["version"])
    wanted = install.release.python
    if (major, minor) != wanted:
        raise SimulatorError(
            f"{PYTHON_ENV}={named}: is Python {major}.{minor}, but Isaac Sim {install.version} needs "
            f"{wanted[0]}.{wanted[1]}"
        )
    return install


def check_gpu(environment: Mapping[str, str]) -> None:
    """Refuses to start without an NVIDIA GPU.

    Raises:
        SimulatorError: nvidia-smi is missing or finds no GPU.
    """
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        raise SimulatorError("no NVIDIA GPU: nvidia-smi is not on PATH; Isaac Sim needs an RTX GPU with its driver")
    result = _run([program, "-L"], environment, _PROBE_S, program)
    if result.returncode != 0 or "GPU" not in result.stdout:
        raise SimulatorError(f"no NVIDIA GPU: nvidia-smi says {_end(result)}; Isaac Sim needs an RTX GPU")


def check_eula(install: Install, environment: Mapping[str, str]) -> None:
    """Refuses to start before the user has accepted NVIDIA's licence; nothing here accepts it.

    Importing `isaacsim` asks for it once, on the terminal; here nobody answers.

    Args:
        install: of Isaac Sim.
        environment: that Isaac Sim is started with.

    Raises:
        SimulatorError: it was not accepted, or the package cannot be imported.
    """
    result = _run([str(install.python), "-c", "import isaacsim"], environment, _IMPORT_S, str(install.python))
    if result.returncode == 0:
        return
    if "eula" in (result.stdout + result.stderr).lower():
        raise SimulatorError(
            "NVIDIA's licence was not accepted (EULA). Read it and decide for yourself, in a terminal: "
            f'{install.python} -c "import isaacsim"'
        )
    raise SimulatorError(f"{install.python}: cannot import isaacsim: {_end(result)}")


def _run(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, what: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise SimulatorError(f"{what}: cannot be started ({error.strerror or error})") from error
    except subprocess.TimeoutExpired as error:
        raise SimulatorError(f"{what}: gave no answer within {timeout_s:g} s") from error


def _end(result: subprocess.CompletedProcess[str]) -> str:
    """The last line that a process said."""
    lines = [line.strip() for line in (result.stdout + "\n" + result.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
