"""What ROS needs of the environment before its libraries start, which say it with a traceback or end the process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

from salus_vla.contract.errors import ConfigError

DOMAIN: Final = "ROS_DOMAIN_ID"
LOG_DIR: Final = "ROS_LOG_DIR"
MOST: Final = 232  # highest domain whose ports exist
_MIDDLEWARE: Final = "RMW_IMPLEMENTATION"
_PREFIXES: Final = "AMENT_PREFIX_PATH"


def prepare(environment: MutableMapping[str, str]) -> None:
    """Checks what was chosen, and finds a place for the logs of nodes where there is no home.

    Args:
        environment: an empty ROS_DOMAIN_ID is removed; gets ROS_LOG_DIR where ROS would find no folder for logs.

    Raises:
        ConfigError: ROS_DOMAIN_ID is no domain, the middleware of RMW_IMPLEMENTATION is not installed, or ROS_LOG_DIR
            cannot be written.
    """
    if not environment.get(DOMAIN, "").strip():
        environment.pop(DOMAIN, None)
    else:
        domain_number(environment[DOMAIN])
    _check_middleware(environment)
    if (chosen := environment.get(LOG_DIR)) or (chosen := environment.get("ROS_HOME")):
        if not _can_be_written(Path(chosen).expanduser()):
            name = LOG_DIR if environment.get(LOG_DIR) else "ROS_HOME"
            raise ConfigError(f"{name}={chosen}: cannot be written, expected a folder for the logs of nodes")
    elif not (environment.get("HOME") and _can_be_written(Path(environment["HOME"]) / ".ros" / "log")):
        environment[LOG_DIR] = str(Path(tempfile.gettempdir()) / f"salus_ros_log_{os.geteuid()}")


def domain_number(text: str) -> int:
    """The number of a ROS domain.

    Raises:
        ConfigError: it is none.
    """
    if not (text.strip().isascii() and text.strip().isdigit() and int(text.strip()) <= MOST):
        raise ConfigError(f"{DOMAIN}={text}: is no ROS domain, expected a whole number from 0 to {MOST}")
    return int(text.strip())


def _check_middleware(environment: Mapping[str, str]) -> None:
    """Raises ConfigError for a middleware that is not among those of the environment's prefixes, which rcl loads."""
    wanted = environment.get(_MIDDLEWARE)
    index = Path("share/ament_index/resource_index/rmw_typesupport")
    folders = [Path(prefix) / index for prefix in environment.get(_PREFIXES, "").split(os.pathsep) if prefix]
    names = {entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()}
    found = sorted(names - {"rmw_implementation"})  # that loads one of the others
    if wanted and found and wanted not in found:
        raise ConfigError(f"{_MIDDLEWARE}={wanted}: is not installed; installed are {', '.join(found)}")


def _can_be_written(folder: Path) -> bool:
    """Whether a folder, which is made where it is missing as ROS does it, can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
