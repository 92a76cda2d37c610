"""Standard output that may fail: a full disk, a pipe whose reader has gone. What is being made outlives it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Display:
    """A text stream that goes on as if nothing had happened once it cannot be written.

    Attributes:
        error: why it could not be; None while it can.
    """

    def __init__(self, stream: TextIO) -> None:
        """Takes the stream to write to."""
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Writes, or drops the text."""
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered, or drops it."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)

    def _fail(self, error: OSError) -> None:
        self.error = error
        drop(self._stream)


def drop(stream: TextIO) -> None:
    """Sends what is still buffered nowhere, so that Python does not try it again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


@contextmanager
def outlived_display() -> Iterator[None]:
    """A display that fails inside does not end what is being made; it is said at the end."""
    before = sys.stdout
    display = Display(before)
    sys.stdout = display  # all of it that is used
    try:
        yield
    finally:
        display.flush()
        sys.stdout = before
        if display.error is not None:
            with suppress(OSError):
                print(f"salus: standard output failed ({display.error.strerror}); the work went on", file=sys.stderr)
