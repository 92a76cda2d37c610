"""Names that one process on this machine holds at a time.

A claim is an abstract Unix socket: the kernel gives its name to one process only, across users, and takes it back when
the process ends, however it ends.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salus_vla.contract.errors import RecordingError, SalusError

_RUN = "salus-run-"


def claim(name: str) -> socket.socket | None:
    """Holds a name until the socket is closed; None where another process holds it.

    Raises:
        SalusError: the kernel gives no such socket.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0{name}")
    except OSError as error:
        held.close()
        if error.errno != errno.EADDRINUSE:
            raise SalusError(f"cannot claim {name}: {os.strerror(error.errno or 0)}") from error
        return None
    return held


@contextmanager
def claimed_run(folder: Path) -> Iterator[None]:
    """Holds the folder of a run, which need not be there yet: two that begin together would share its log.

    Raises:
        RecordingError: another process of this machine records this run.
    """
    held = claim(_RUN + hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32])
    if held is None:
        raise RecordingError(f"{folder}: another `salus collect` records this run; give another --run-id")
    with held:
        yield
