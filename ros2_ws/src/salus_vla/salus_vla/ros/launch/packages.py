"""Find ROS packages, their share folders and executables on AMENT_PREFIX_PATH, as ament_index_python does."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from salus_vla.contract.errors import LaunchError

_ROS_NAME = re.compile(r"[a-z][a-z0-9_]*")


def find_prefix(package: str, environment: Mapping[str, str]) -> Path:
    """Returns the install prefix of `package`: the first on AMENT_PREFIX_PATH that registers it.

    A prefix without the index marker but with `share/<package>` (a plain `pip install`) is taken as a last resort.

    Raises:
        LaunchError: no prefix holds the package; the message lists the prefixes searched.
    """
    prefixes = [Path(entry) for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    if package and "/" not in package and "\0" not in package and package not in (".", ".."):
        for proof in (Path("share/ament_index/resource_index/packages") / package, Path("share") / package):
            for prefix in prefixes:
                if (prefix / proof).exists():
                    return prefix
    searched = ", ".join(map(str, prefixes)) or "nothing: AMENT_PREFIX_PATH is empty (source the setup file)"
    raise LaunchError(f"package '{package}' not found; searched {searched}{_remedy(package)}")


def find_share(package: str, environment: Mapping[str, str]) -> Path:
    """Returns `<prefix>/share/<package>`.

    Raises:
        LaunchError: the package is not found.
    """
    return find_prefix(package, environment) / "share" / package


def find_executable(package: str, name: str, environment: Mapping[str, str]) -> Path:
    """Returns `<prefix>/lib/<package>/<name>`.

    Raises:
        LaunchError: the package, its `lib` folder or the executable in it is missing.
    """
    folder = find_prefix(package, environment) / "lib" / package
    if not folder.is_dir():
        raise LaunchError(f"package '{package}' has no executables: folder {folder} does not exist")
    # `which` alone would take a name with a slash as a path of its own, outside of the package.
    found = shutil.which(name, path=str(folder)) if name and "/" not in name and "\0" not in name else None
    if found is None:
        present = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "none"
        raise LaunchError(f"executable '{name}' not found in {folder} (there: {present})")
    return Path(found)


def _remedy(package: str) -> str:
    """How to install it, if it is one of ROS; ours come with the workspace."""
    if not _ROS_NAME.fullmatch(package) or package.startswith("salus"):
        return ""
    return f"; if it is one of ROS 2: apt install ros-jazzy-{package.replace('_', '-')}"
