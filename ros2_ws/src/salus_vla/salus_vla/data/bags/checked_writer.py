"""A bag writer that does not believe its backend: room is kept, the file must grow, and the end is read back.

rosbag2's own writer ignores a short write: a disk that is full for a moment leaves a hole that nobody mentions.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from pathlib import Path

from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader

from salus_vla.contract import Qos
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_writer import BagWriter

PERIOD_S = 0.4  # wall time between two looks at the disk: a fault is noticed within a second
RESERVE_BYTES = 2_000_000  # of free space, so that a bag can always be closed
_BUFFERS = 64 * 1024  # of the C library and of rosbag2, beside the chunk that is being filled
_RECORD = struct.Struct("<BQ")  # opcode and length


class CheckedWriter:
    """Wraps a writer; see `BagWriter` for the interface."""

    def __init__(self, writer: BagWriter, *, chunk_bytes: int, compressed: bool) -> None:
        """Takes over a writer that was just opened.

        Args:
            writer: of the backend.
            chunk_bytes: size of a chunk [bytes], of which one may not be in the file yet.
            compressed: whether chunks are, so that the size of the file says little.

        Raises:
            RecordingError: there is too little room on the disk to begin.
        """
        self._writer = writer
        self._file = writer.folder / f"{writer.folder.name}_0.mcap"
        self._slack = 2 * chunk_bytes + _BUFFERS
        self._compressed = compressed
        self._counts: Counter[str] = Counter()
        self._bytes = self._largest = 0
        self._looked = time.monotonic()
        try:
            self._keep_room()
        except RecordingError:
            writer.abort()
            raise

    @property
    def folder(self) -> Path:
        """Folder of the bag."""
        return self._writer.folder

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        """Declares a topic, before its first message."""
        self._writer.add_topic(name, type_name, qos)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Appends a serialized message, and looks at the disk from time to time."""
        self._writer.write(topic, data, log_time_ns, publish_time_ns)
        self._counts[topic] += 1
        self._bytes += len(data)
        self._largest = max(self._largest, len(data))
        wall = time.monotonic()
        if wall - self._looked >= PERIOD_S:
            self._looked = wall
            self.check()

    def check(self) -> None:
        """Looks at the disk now.

        Raises:
            RecordingError: too little room is left, or the file has not grown by what was written.
        """
        self._keep_room()
        missing = 0 if self._compressed else self._bytes - self._slack - self._largest - self._size()
        if missing > 0:
            raise RecordingError(f"{self._file}: cannot be written (at least {missing} bytes did not reach the disk)")

    def close(self) -> None:
        """Finishes the bag and reads its index and footer back.

        Raises:
            RecordingError: the disk refuses, or the file is not what was written.
        """
        self._writer.close()
        check_finished(self._file, self._counts)

    def abort(self) -> None:
        """Closes the files as they are, after an error."""
        self._writer.abort()

    def _keep_room(self) -> None:
        try:
            stat = os.statvfs(self._writer.folder)
        except OSError as error:
            raise RecordingError(f"{self._writer.folder}: cannot be written ({error.strerror or error})") from error
        free = stat.f_bavail * stat.f_frsize
        if free < RESERVE_BYTES:
            raise RecordingError(
                f"{self._file}: cannot be written (No space left on device: {free} bytes are free, {RESERVE_BYTES} are "
                "kept to close the bag)"
            )

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError as error:
            raise RecordingError(f"{self._file}: cannot be written ({error.strerror or error})") from error


def check_finished(file: Path, counts: Counter[str]) -> None:
    """Reads footer and index of a finished mcap file back, and looks whether each chunk is where the index says.

    Args:
        file: the mcap file.
        counts: messages that were written, by topic.

    Raises:
        RecordingError: it is not whole; names the file.
    """
    try:
        with file.open("rb") as stream:
            summary = make_reader(stream).get_summary()
            if summary is None or summary.statistics is None:
                raise RecordingError(f"{file}: is not whole (it has no index)")
            topics = {number: channel.topic for number, channel in summary.channels.items()}
            found: Counter[str] = Counter()
            for number, count in summary.statistics.channel_message_counts.items():
                found[topics[number]] += count
            # An index that a writer made of what it meant to write is worth as much as the places that it names.
            for chunk in summary.chunk_indexes:
                stream.seek(chunk.chunk_start_offset)
                head = stream.read(_RECORD.size)
                whole = len(head) == _RECORD.size and _RECORD.unpack(head) == (
                    Opcode.CHUNK,
                    chunk.chunk_length - _RECORD.size,
                )
                if not whole:
                    raise RecordingError(f"{file}: is not whole (no chunk at byte {chunk.chunk_start_offset})")
    except (OSError, McapError, KeyError, ValueError, struct.error) as error:
        raise RecordingError(f"{file}: is not whole ({type(error).__name__}: {error})") from error
    if +found != +counts:
        raise RecordingError(f"{file}: is not whole ({sum(found.values())} of {sum(counts.values())} messages)")
