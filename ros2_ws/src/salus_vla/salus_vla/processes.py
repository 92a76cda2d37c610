"""Child processes that end with their parent, however that ends: kill -9 included."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Ties this process to the life of its parent: the kernel sends it SIGTERM when the parent is gone.

    SIGTERM and not SIGINT: a program may have been told to ignore SIGINT by the shell that started it, and rclpy shuts
    down cleanly on both.

    Args:
        parent: process id; where it has died before, this process ends at once.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def with_parent(command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """A command that runs another one, tied to the life of this process.

    The other program takes the place of a small Python process that ties itself first. `preexec_fn` would run Python
    between fork and exec, where a lock that another thread holds is held for good: DDS has threads in every node.

    Args:
        command: the program and its arguments.
        environment: in whose PATH the program is looked for; this process's own by default.

    Raises:
        FileNotFoundError: there is no such program.
    """
    search = (os.environ if environment is None else environment).get("PATH")
    if shutil.which(command[0], path=search) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    # Isolated: neither the user's site nor this package is needed, and both would cost time.
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), *command]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(f"{sys.argv[2]}: cannot be started ({error.strerror or error})", file=sys.stderr)
        os._exit(127)
