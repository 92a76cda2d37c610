"""The bag writer for machines without rosbag2: writes what rosbag2 0.26 (Jazzy) with its mcap storage writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from salus_vla import __version__
from salus_vla.contract import Qos
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_metadata import METADATA_FILE, BagMetadata, TopicCount, offered_qos, to_yaml
from salus_vla.data.bags.bag_writer import WriterOptions
from salus_vla.data.bags.message_types import MessageType, MessageTypes

_COMPRESSION = {"none": CompressionType.NONE, "zstd": CompressionType.ZSTD}


class McapBagWriter:
    """A bag of one mcap file; see `BagWriter` for the interface."""

    def __init__(
        self, folder: Path, custom_data: Mapping[str, str], types: MessageTypes, options: WriterOptions
    ) -> None:
        """Creates `folder` and the file in it.

        Raises:
            RecordingError: the folder exists or cannot be written.
        """
        self._folder = folder
        self._types = types
        self._span_ns = options.chunk_span_ns
        self._chunk_start_ns: int | None = None
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._metadata = BagMetadata(f"{folder.name}_0.mcap", custom_data)
        self.path = folder / self._metadata.file_name
        with self._errors():
            folder.mkdir()
            self._file = self.path.open("xb")
            self._writer = Writer(
                self._file, chunk_size=options.chunk_bytes, compression=_COMPRESSION[options.compression]
            )
            self._writer.start("ros2", f"salus_vla {__version__}, mcap {version('mcap')}")
            self._write_metadata()  # as rosbag2 does, at the start and at the end: a crash leaves the provenance
            self._file.flush()

    @property
    def folder(self) -> Path:
        """Folder of the bag."""
        return self._folder

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        """Declares a topic of an installed type."""
        self.add_channel(name, self._types.get(type_name), offered_qos(qos))

    def add_channel(self, name: str, message_type: MessageType, qos: list[dict[str, Any]]) -> None:
        """Declares a topic with the definition and the offered QoS of another bag."""
        if name in self._channels:
            raise RecordingError(f"{self.path}: topic {name} was added twice")
        with self._errors():
            schema = self._schemas.get(message_type.name)
            if schema is None:
                schema = self._writer.register_schema(
                    message_type.name, message_type.encoding, message_type.definition.encode()
                )
                self._schemas[message_type.name] = schema
            self._channels[name] = self._writer.register_channel(
                name,
                "cdr",
                schema,
                {"offered_qos_profiles": to_yaml(qos).rstrip(), "topic_type_hash": message_type.type_hash},
            )
        self._metadata.topics[name] = TopicCount(name, message_type.name, qos, message_type.type_hash)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Appends a serialized message and gives every finished chunk to the operating system."""
        channel = self._channels.get(topic)
        if channel is None:
            raise RecordingError(f"{self.path}: a message on {topic}, which was not added")
        if self._chunk_start_ns is None:
            self._chunk_start_ns = log_time_ns
        with self._errors():
            self._writer.add_message(
                channel, log_time_ns, data, log_time_ns if publish_time_ns is None else publish_time_ns
            )
            if abs(log_time_ns - self._chunk_start_ns) >= self._span_ns:  # before it, too: stamps come in any order
                self._writer.flush()
                self._chunk_start_ns = None
            else:
                self._file.flush()  # costs nothing while the chunk is still being filled
        self._metadata.count(topic, log_time_ns)

    def close(self) -> None:
        """Writes the index and metadata.yaml."""
        with self._errors():
            self._writer.flush()
            self._write_metadata()
            self._writer.finish()
            self._file.close()
            (self._folder / METADATA_FILE).write_text(self._metadata.text(), encoding="utf-8")

    def abort(self) -> None:
        """Closes the file as it is."""
        with suppress(OSError):  # what could not be written a moment ago cannot be flushed now
            self._file.close()

    def _write_metadata(self) -> None:
        self._writer.add_metadata("rosbag2", {"serialized_metadata": to_yaml(self._metadata.information())})

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be written ({error.strerror or error})") from error
