"""Child processes that end with their parent, however that ends: kill -9 included; what asks a process to end."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to end: also that of a closed terminal, unless `nohup` has it ignored."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)


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


def start_with_parent(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program that is tied to the life of this process.

    It takes the place of a small Python process that ties itself first. `preexec_fn` would run Python between fork and
    exec, where a lock that another thread holds is held for good: DDS has threads in every node.

    Args:
        command: the program and its arguments.
        options: of `subprocess.Popen`.

    Raises:
        OSError: the program cannot be started, as `subprocess.Popen` says it.
    """
    search = (options.get("env") or os.environ).get("PATH")
    if shutil.which(command[0], path=search) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    ours, theirs = os.pipe()
    # Isolated: neither the user's site nor this package is needed, and both would cost time.
    tied = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), str(theirs), *command]
    try:
        process = subprocess.Popen(tied, pass_fds=(*options.pop("pass_fds", ()), theirs), **options)
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        number = answer.read()  # until the program is there, which closes the other end, or has failed
    if number:
        process.wait()
        raise OSError(int(number), os.strerror(int(number)), command[0])
    return process


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    answer = int(sys.argv[2])
    os.set_inheritable(answer, False)
    try:
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        os.write(answer, str(error.errno).encode())
        os._exit(127)
