"""Opens the writer of a bag: our own, or real rosbag2 on request."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_writer import BagWriter, WriterOptions
from salus_vla.data.bags.checked_writer import CheckedWriter
from salus_vla.data.bags.mcap_writer import McapBagWriter
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.rosbag2_writer import Rosbag2Writer

Backend = Literal["auto", "mcap", "rosbag2_py"]


def open_writer(
    folder: Path,
    backend: Backend = "auto",
    *,
    custom_data: Mapping[str, str],
    types: MessageTypes,
    options: WriterOptions | None = None,
) -> BagWriter:
    """Creates the folder of a new bag and opens it.

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
    options = options or WriterOptions()
    writer = _opened(folder, backend, custom_data, types, options)
    return CheckedWriter(writer, chunk_bytes=options.chunk_bytes, compressed=options.compression != "none")


def _opened(
    folder: Path, backend: Backend, custom_data: Mapping[str, str], types: MessageTypes, options: WriterOptions
) -> BagWriter:
    if backend in ("auto", "mcap"):
        return McapBagWriter(folder, custom_data, types, options)
    if backend != "rosbag2_py":
        raise RecordingError(f"bag backend is {backend!r}, expected auto, mcap or rosbag2_py")
    if importlib.util.find_spec("rosbag2_py") is None:
        raise RecordingError("bag backend rosbag2_py is not installed: source a ROS 2 installation or use backend mcap")

    return Rosbag2Writer(folder, custom_data, types, options)
