"""Writes one bag: an mcap file and metadata.yaml that real rosbag2 reads, or with real rosbag2 on request.

Both write the same layout: `NAME/NAME_0.mcap` and `NAME/metadata.yaml`, where NAME is the folder's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from salus_vla.contract import Qos
from salus_vla.contract.errors import RecordingError

Compression = Literal["none", "zstd"]


@dataclass(frozen=True)
class WriterOptions:
    """How the mcap file is written.

    Attributes:
        chunk_bytes: a chunk is closed once it is larger [bytes]. What the last, unfinished chunk holds is lost when the
            recorder is killed, so it is small; an image is a chunk of its own.
        chunk_span_ns: a chunk is also closed once its messages span this much sim time [ns] (only `mcap`).
        compression: of each chunk; `none` costs the least CPU.
    """

    chunk_bytes: int = 64 * 1024
    chunk_span_ns: int = 40_000_000
    compression: Compression = "none"

    def __post_init__(self) -> None:
        """Refuses options that the writers cannot use."""
        if self.chunk_bytes < 1024:
            raise RecordingError(f"chunk_bytes is {self.chunk_bytes}, expected 1024 or more")
        if self.compression not in ("none", "zstd"):
            raise RecordingError(f"compression is {self.compression!r}, expected none or zstd")


class BagWriter(Protocol):
    """One bag that is being written. Every method raises RecordingError, naming the file, when the disk refuses."""

    @property
    def folder(self) -> Path:
        """Folder of the bag."""

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        """Declares a topic, before its first message."""

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Appends a serialized message; `publish_time_ns` is `log_time_ns` unless given [ns]."""

    def close(self) -> None:
        """Finishes the bag: index, metadata.yaml."""

    def abort(self) -> None:
        """Closes the files as they are, after an error; `salus bag recover` makes a bag of them."""
