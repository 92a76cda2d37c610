"""Where a run comes from: versions, git revision, host. What is not known is left out, never guessed."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import salus_vla

# Distributions whose version changes what is recorded.
_VERSIONS = ("torch", "lerobot", "transformers", "mujoco", "numpy", "rosbags", "mcap")


def machine_facts() -> dict[str, str]:
    """Facts about the software and the machine, all strings."""
    facts = {
        "salus": salus_vla.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "host": platform.node(),
    }
    for name in _VERSIONS:
        try:
            facts[f"version.{name}"] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    revision = git_revision(Path(__file__).resolve().parent)
    if revision:
        facts["git"] = revision
    return facts


def git_revision(folder: Path) -> str:
    """Commit of the checkout this code runs from, `-dirty` appended where files are changed; empty outside one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
