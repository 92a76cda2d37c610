"""The environment that Isaac Sim is started with: one ROS 2, never two.

Isaac Sim brings ROS 2 libraries of its own. The dynamic linker reads LD_LIBRARY_PATH before Python runs, so it must be
right when the process starts. 5.x has Python 3.11 and cannot load the rclpy of an installed Jazzy, which is built for
3.12.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.isaac_versions import Release

DISTRO = "jazzy"
RMW = "rmw_fastrtps_cpp"
# Made for SALUS's own Python and its ROS; Isaac's Python must not see them.
_FOREIGN = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "OLD_PYTHONPATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "ROS_PYTHON_VERSION",
    "ROS_VERSION",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)


def bundled_libraries(release: Release, folder: Path) -> Path:
    """Folder of the ROS 2 libraries that come with Isaac Sim.

    Args:
        release: of Isaac Sim.
        folder: of Isaac Sim, with `exts` in it.
    """
    return folder / "exts" / release.library_extension / DISTRO / "lib"


def export_line(libraries: Path) -> str:
    """What to type in a shell before Isaac Sim is started by hand."""
    path = f'LD_LIBRARY_PATH="${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{libraries}"'
    return f"export ROS_DISTRO={DISTRO} RMW_IMPLEMENTATION={RMW} {path}"


def isaac_environment(base: Mapping[str, str], release: Release, folder: Path, own_prefix: Path) -> dict[str, str]:
    """The environment of the process.

    An installed ROS 2 Jazzy that was sourced is used where its Python is Isaac's, from 6.0 on; otherwise the libraries
    that come with Isaac Sim are, and nothing of another ROS stays.

    Args:
        base: environment of this process.
        release: of Isaac Sim.
        folder: of Isaac Sim, with `exts` in it.
        own_prefix: of SALUS's own Python, whose ROS wheels Isaac's Python must not see.

    Raises:
        SimulatorError: the bundled libraries are needed and not there.
    """
    prefixes = [Path(entry) for entry in _entries(base, "AMENT_PREFIX_PATH")]
    if uses_system_ros(base, release, own_prefix):
        kept = {key: value for key, value in base.items() if key not in ("PYTHONHOME", "VIRTUAL_ENV")}
        # Isaac's python.sh replaces PYTHONPATH; the bridge finds ROS's Python packages here.
        return {**kept, "OLD_PYTHONPATH": base.get("PYTHONPATH", "")}
    libraries = bundled_libraries(release, folder)
    if not libraries.is_dir():
        raise SimulatorError(
            f"{libraries}: missing; expected the ROS 2 libraries of Isaac Sim {release.name} (pip: the extras "
            '"all,extscache" have them)'
        )
    kept = {key: value for key, value in base.items() if key not in _FOREIGN}
    paths = [entry for entry in _entries(base, "LD_LIBRARY_PATH") if not _inside(entry, [*prefixes, own_prefix])]
    paths = [entry for entry in paths if Path(entry) != libraries]
    kept["LD_LIBRARY_PATH"] = os.pathsep.join([*paths, str(libraries)])
    kept["ROS_DISTRO"] = DISTRO
    kept.setdefault("RMW_IMPLEMENTATION", RMW)
    return kept


def uses_system_ros(base: Mapping[str, str], release: Release, own_prefix: Path) -> bool:
    """Whether a sourced ROS 2 Jazzy fits Isaac's Python; wheels in SALUS's own environment are none."""
    packages = f"lib/python{release.python[0]}.{release.python[1]}/site-packages"
    return base.get("ROS_DISTRO") == DISTRO and any(
        (Path(entry) / packages / "rclpy").is_dir() and not _inside(entry, [own_prefix])
        for entry in _entries(base, "AMENT_PREFIX_PATH")
    )


def check_environment(environment: Mapping[str, str], release: Release, folder: Path) -> None:
    """Refuses to start in an environment without ROS libraries, or with two sets of them; runs in Isaac's Python.

    Raises:
        SimulatorError: says what to export.
    """
    libraries = bundled_libraries(release, folder)
    bundled = str(libraries) in _entries(environment, "LD_LIBRARY_PATH")
    system = bool(_entries(environment, "AMENT_PREFIX_PATH"))
    if bundled and system:
        raise SimulatorError(
            f"AMENT_PREFIX_PATH names a ROS installation and LD_LIBRARY_PATH has {libraries}: expected one of them; "
            "start from a shell in which no ROS was sourced"
        )
    if system and release.python < (3, 12):
        raise SimulatorError(
            f"AMENT_PREFIX_PATH names a ROS installation, whose Python packages Isaac Sim {release.name} cannot load; "
            f"start from a shell in which no ROS was sourced, after: {export_line(libraries)}"
        )
    if not bundled and not system:
        raise SimulatorError(
            f"the bridge's libraries are not on LD_LIBRARY_PATH; before the start: {export_line(libraries)}"
        )


def _entries(environment: Mapping[str, str], name: str) -> list[str]:
    return [entry for entry in environment.get(name, "").split(os.pathsep) if entry]


def _inside(entry: str, folders: Iterable[Path]) -> bool:
    path = Path(os.path.normpath(entry))
    return any(path == folder or folder in path.parents for folder in folders)
