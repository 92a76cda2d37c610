"""The bag writer that is rosbag2 itself, for machines with a ROS 2 installation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from salus_vla.contract import Qos
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_writer import WriterOptions
from salus_vla.data.bags.message_types import MessageTypes

_COMPRESSION = {"none": "None", "zstd": "Zstd"}  # names of rosbag2_storage_mcap


class Rosbag2Writer:
    """A bag written by rosbag2's SequentialWriter with mcap storage; see `BagWriter` for the interface."""

    def __init__(
        self, folder: Path, custom_data: Mapping[str, str], types: MessageTypes, options: WriterOptions
    ) -> None:
        """Lets rosbag2 create `folder` and the file in it.

        Raises:
            RecordingError: the folder exists or cannot be written.
        """
        import rosbag2_py  # only where ROS is installed

        self._rosbag2: Any = rosbag2_py
        self._folder = folder
        self._types = types
        self._topics: set[str] = set()
        self._writer: Any = rosbag2_py.SequentialWriter()
        config = {
            "chunkSize": options.chunk_bytes,
            "compression": _COMPRESSION[options.compression],
            "noChunkCRC": False,
        }
        with self._errors(), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(config, file)
            file.flush()
            self._writer.open(
                rosbag2_py.StorageOptions(
                    uri=str(folder),
                    storage_id="mcap",
                    max_cache_size=0,  # write at once: a cache would be lost with the process
                    storage_config_uri=file.name,
                    custom_data=dict(custom_data),
                ),
                rosbag2_py.ConverterOptions("cdr", "cdr"),
            )

    @property
    def folder(self) -> Path:
        """Folder of the bag."""
        return self._folder

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        """Declares a topic; rosbag2 leaves type hash and QoS empty unless they are given."""
        if name in self._topics:
            raise RecordingError(f"{self._folder}: topic {name} was added twice")
        with self._errors():
            self._writer.create_topic(
                self._rosbag2.TopicMetadata(
                    id=len(self._topics),
                    name=name,
                    type=type_name,
                    serialization_format="cdr",
                    offered_qos_profiles=[self._qos(qos)],
                    type_description_hash=self._types.get(type_name).type_hash,
                )
            )
        self._topics.add(name)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """Appends a serialized message."""
        with self._errors():
            self._writer.write(topic, data, log_time_ns, log_time_ns if publish_time_ns is None else publish_time_ns)

    def close(self) -> None:
        """Writes the index and metadata.yaml."""
        with self._errors():
            self._writer.close()

    def abort(self) -> None:
        """Lets rosbag2 close its file as far as it can."""
        with suppress(RuntimeError):
            self._writer.close()

    def _qos(self, qos: Qos) -> Any:
        from rosbag2_py._storage import QoS  # rosbag2_py does not export it, but its TopicMetadata wants it

        profile = QoS(qos.depth).reliable()
        return profile.transient_local() if qos.latched else profile.durability_volatile()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise RecordingError(f"{self._folder}: cannot be written ({error})") from error
