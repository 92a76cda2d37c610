"""Gives back the shared memory that Fast DDS leaves in /dev/shm when a process is killed: about 18 MB each time.

Beside each segment or port lies a lock file, which its process holds with flock as long as it lives, in whatever
container. Locks that nobody holds belong to the dead. A port without a lock file was made by someone who wanted to send
to a dead process; it goes when nobody maps it any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

SHM = Path("/dev/shm")
_NAME = r"(fastrtps_(?:[0-9a-f]{16}|port\d+))"
_LOCK = re.compile(rf"{_NAME}_[es]l")  # exclusive and shared lock
_ANY = re.compile(rf"{_NAME}(?:_[es]l)?|sem\.{_NAME}_mutex")
YOUNGEST_S = 2.0  # a segment that is being made has a lock file before anybody holds it


def segments(folder: Path = SHM) -> tuple[str, ...]:
    """Names of the Fast DDS segments and ports of this user, of living and dead processes."""
    names = set()
    with suppress(OSError):  # no /dev/shm: then nothing is in it
        for entry in os.scandir(folder):
            match = _ANY.fullmatch(entry.name)
            if match and _is_mine(entry):
                names.add(match[1] or match[2])
    return tuple(sorted(names))


def segments_of(pid: int, folder: Path = SHM) -> frozenset[str]:
    """Names of the segments that a living process owns, ports left out: it keeps their lock files open.

    Raises:
        OSError: there is no such process, or it belongs to another user.
    """
    found: set[str] = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            file = Path(os.readlink(descriptor.path))
            match = _LOCK.fullmatch(file.name)
            if match and file.parent == folder and not match[1].startswith("fastrtps_port"):
                found.add(match[1])
    return frozenset(found)


def remove_dead_segments(folder: Path = SHM, *, youngest_s: float = YOUNGEST_S) -> tuple[str, ...]:
    """Removes what this user's dead processes left, and nothing of a living one or of another user.

    Args:
        folder: where the segments are.
        youngest_s: age below which nothing is removed, wall time [s].

    Returns:
        Names of the segments and ports that were removed.
    """
    names = segments(folder)
    mapped = _mapped_files() if names else frozenset()
    return tuple(name for name in names if _remove_if_dead(folder, name, youngest_s, mapped))


def _is_mine(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:  # its process ended meanwhile
        return False


def _remove_if_dead(folder: Path, name: str, youngest_s: float, mapped: Collection[str]) -> bool:
    locks = [folder / f"{name}_{kind}" for kind in ("el", "sl")]
    content = [folder / f"sem.{name}_mutex", folder / name]
    if _age_s([*locks, *content]) < youngest_s:
        return False
    with ExitStack() as held:
        present = [lock for lock in locks if os.path.lexists(lock)]
        if not present and str(folder / name) in mapped:
            return False
        for lock in present:
            try:
                file = held.enter_context(os.fdopen(os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "rb+"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held by a living process, or gone
                return False
        # The lock files last: whoever is interrupted here leaves something that is found again.
        for path in (*content, *locks):
            with suppress(OSError):
                path.unlink()
    return True


def _age_s(paths: Iterable[Path]) -> float:
    """Wall time since the newest of these files changed [s]."""
    times = [0.0]
    for path in paths:
        with suppress(OSError):
            times.append(path.lstat().st_ctime)
    return time.time() - max(times)


def _mapped_files() -> frozenset[str]:
    """Fast DDS files in the memory of the processes that this user may look into."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # ended, or another user's
            lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
            found.update(line.split(maxsplit=5)[5] for line in lines if "/fastrtps_" in line)
    return frozenset(found)
