"""Writes one bag: an mcap file and metadata.yaml that real rosbag2 reads, or with real rosbag2 on request.

Both write the same layout: `NAME/NAME_0.mcap` and `NAME/metadata.yaml`, where NAME is the folder's name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from salus_vla.contract import Qos
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.message_types import MessageTypes

Backend = Literal["auto", "mcap", "rosbag2_py"]
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
        """Refuse options that the writers cannot use."""
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
        """Declare a topic, before its first message."""

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Append a serialized message; `publish_time_ns` is `log_time_ns` unless given [ns]."""

    def close(self) -> None:
        """Finish the bag: index, metadata.yaml."""

    def abort(self) -> None:
        """Close the files as they are, after an error; `salus bag recover` makes a bag of them."""


def open_writer(
    folder: Path,
    backend: Backend = "auto",
    *,
    custom_data: Mapping[str, str],
    types: MessageTypes,
    options: WriterOptions | None = None,
) -> BagWriter:
    """Create the folder of a new bag and open it.

    Args:
        folder: must not exist; its parent must. Its name becomes the name of the mcap file.
        backend: `rosbag2_py` needs a ROS installation; `auto` is `mcap`, whose promises about a kill have been tested.
        custom_data: provenance, kept in metadata.yaml and inside the mcap file from its first byte on.
        types: where definitions and type hashes come from.
        options: chunk size and compression.

    Raises:
        RecordingError: the folder exists or cannot be written, the disk is nearly full, or the backend is unknown or
            not installed.
    """
    from salus_vla.data.bags.checked_writer import CheckedWriter

    options = options or WriterOptions()
    writer = _opened(folder, backend, custom_data, types, options)
    return CheckedWriter(writer, chunk_bytes=options.chunk_bytes, compressed=options.compression != "none")


def _opened(
    folder: Path, backend: Backend, custom_data: Mapping[str, str], types: MessageTypes, options: WriterOptions
) -> BagWriter:
    if backend in ("auto", "mcap"):
        from salus_vla.data.bags.mcap_writer import McapBagWriter

        return McapBagWriter(folder, custom_data, types, options)
    if backend != "rosbag2_py":
        raise RecordingError(f"bag backend is {backend!r}, expected auto, mcap or rosbag2_py")
    if importlib.util.find_spec("rosbag2_py") is None:
        raise RecordingError("bag backend rosbag2_py is not installed: source a ROS 2 installation or use backend mcap")
    from salus_vla.data.bags.rosbag2_writer import Rosbag2Writer

    return Rosbag2Writer(folder, custom_data, types, options)
