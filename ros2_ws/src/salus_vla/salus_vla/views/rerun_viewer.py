"""The rerun viewer as a process: on this machine only, and telling nobody that it runs."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from salus_vla.config.paths import cache_dir
from salus_vla.contract.errors import SalusError
from salus_vla.processes import start_with_parent
from salus_vla.views.rerun_log import import_rerun

LOOPBACK = "127.0.0.1"  # the viewer's own default is every interface


def free_port() -> int:
    """A TCP port that nobody uses on the loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def check_display(environment: Mapping[str, str]) -> None:
    """Raises SalusError where the viewer can open no window."""
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        raise SalusError("there is no display for the viewer: give --web to see it in a browser, or --save FILE.rrd")


def merge(files: Sequence[Path], output: Path) -> None:
    """Puts several recordings into one file.

    Raises:
        SalusError: rerun fails; gives its words.
    """
    command = [program(), "rrd", "merge", *map(str, files), "-o", str(output)]
    result = subprocess.run(command, env=_without_analytics(os.environ), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SalusError(f"{output}: rerun cannot write it ({result.stderr.strip()[-300:]})")


def start_viewer(files: Sequence[Path], *, port: int, web_port: int | None = None) -> subprocess.Popen[bytes]:
    """Starts the viewer; it ends with this process.

    Args:
        files: recordings to open.
        port: TCP port on the loopback at which it takes further recordings.
        web_port: serve it as a page at this port of the loopback instead of opening a window.

    Raises:
        SalusError: rerun's program is missing or cannot be started.
    """
    command = [program(), "--bind", LOOPBACK, "--port", str(port), "--hide-welcome-screen"]
    if web_port is not None:
        command += ["--serve-web", "--web-viewer-port", str(web_port)]
    environment = _without_analytics(os.environ)
    try:
        return start_with_parent(
            [*command, *map(str, files)],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise SalusError(f"{command[0]}: cannot be started ({error.strerror or error})") from error


def program() -> str:
    """Path of rerun's program.

    Raises:
        SalusError: rerun is not installed.
    """
    import_rerun()
    # Not the script on the PATH: it starts this file as a child, which would outlive it.
    spec = importlib.util.find_spec("rerun_cli")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if folder is None or not (folder / "rerun").is_file():
        raise SalusError("rerun's program is missing: pip install -r requirements-rerun.txt")
    return str(folder / "rerun")


def _without_analytics(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a viewer that sends no usage statistics, without a change of the user's own settings."""
    quiet = {**environment, "XDG_CONFIG_HOME": str(cache_dir() / "rerun")}
    subprocess.run([program(), "analytics", "disable"], env=quiet, capture_output=True, check=False)
    return quiet
