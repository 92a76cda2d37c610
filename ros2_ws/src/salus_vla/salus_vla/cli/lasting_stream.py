"""An output that may go away while what it shows goes on: a closed terminal, `| head`, a full disk."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO


class LastingStream:
    """Writes to a stream until that fails once; from then on everything is dropped.

    Attributes:
        gone: whether it has failed.
    """

    def __init__(self, stream: TextIO) -> None:
        """Takes the stream."""
        self._stream = stream
        self.gone = False

    def write(self, text: str) -> int:
        """Writes, or not."""
        if not self.gone:
            try:
                return self._stream.write(text)
            except OSError:
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flushes, or not."""
        if not self.gone:
            try:
                self._stream.flush()
            except OSError:
                self._lose()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)

    def _lose(self) -> None:
        self.gone = True
        drop(self._stream)


def drop(stream: TextIO) -> None:
    """Lets a stream write to nowhere: Python would write the rest of its buffer at the end, and fail again."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
