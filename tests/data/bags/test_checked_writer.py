"""A writer that ignores a short write, as rosbag2's does, is found out within a second and never finishes a bag."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import CompressionType, Writer

from salus_vla.contract import CLOCK, JOINT_STATES, Qos
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags import checked_writer
from salus_vla.data.bags.checked_writer import CheckedWriter, check_finished
from salus_vla.data.bags.open_writer import open_writer
from samples import largest_file, message_types

CHUNK = 4096
MESSAGE = bytes(range(250)) * 4


class CarelessFile:
    """What the C library makes of a disk that refuses: it goes on, and its position is the one that was meant."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._meant = 0
        self.refused = 0

    def write(self, data: Any) -> int:
        data = bytes(data)
        try:
            written = os.write(self._fd, data)
        except OSError:
            written = 0
        self.refused += len(data) - written
        self._meant += len(data)
        return len(data)

    def tell(self) -> int:
        return self._meant

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._fd)


class CarelessWriter:
    """A bag as rosbag2's C++ writer makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.file = CarelessFile(folder / f"{folder.name}_0.mcap")
        self._writer = Writer(self.file, chunk_size=CHUNK, compression=CompressionType.NONE)
        self._writer.start("ros2", "careless")
        self._channels: dict[str, int] = {}

    def add_topic(self, name: str, type_name: str, qos: Qos) -> None:
        schema = self._writer.register_schema(type_name, "ros2msg", b"")
        self._channels[name] = self._writer.register_channel(name, "cdr", schema)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        self._writer.add_message(self._channels[topic], log_time_ns, data, log_time_ns)

    def close(self) -> None:
        self._writer.finish()
        self.file.close()

    def abort(self) -> None:
        self.file.close()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A tmpfs of some bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs can be mounted here; the limit on file size tests the same")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def checked(folder: Path, *, compressed: bool = False) -> CheckedWriter:
    writer = CheckedWriter(CarelessWriter(folder), chunk_bytes=CHUNK, compressed=compressed)
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    writer.add_topic(JOINT_STATES.name, JOINT_STATES.type, JOINT_STATES.qos)
    return writer


def fill(writer: CheckedWriter, messages: int) -> None:
    for index in range(messages):
        writer.write(CLOCK.name, MESSAGE, index)


def test_a_bag_on_a_good_disk_is_finished(tmp_path: Path) -> None:
    writer = checked(tmp_path / "bag")
    fill(writer, 500)
    writer.check()
    writer.close()


def test_a_disk_that_is_full_to_the_end_is_noticed_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_writer, "RESERVE_BYTES", 0)  # so that only the missing bytes tell
    with small_disk(tmp_path / "disk", 400_000) as disk:
        writer = checked(disk / "bag")
        with pytest.raises(RecordingError, match=r"bag_0\.mcap: cannot be written \(at least \d+ bytes did not reach"):
            _until_noticed(writer)
        writer.abort()


def _until_noticed(writer: CheckedWriter) -> None:
    full: float | None = None
    for index in range(100_000):
        writer.write(CLOCK.name, MESSAGE, index)
        if writer._writer.file.refused and full is None:  # type: ignore[attr-defined]
            full = time.monotonic()
        if full is not None and time.monotonic() - full > 1.0:
            return
    raise AssertionError("the disk was never full")


def test_the_room_that_is_kept_is_noticed_before_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", checked_writer.RESERVE_BYTES + 1_000_000) as disk:
        writer = checked(disk / "bag")
        fill(writer, 1200)
        with pytest.raises(RecordingError, match=r"No space left on device: .* are kept to close the bag"):
            writer.check()
        assert writer._writer.file.refused == 0  # type: ignore[attr-defined]
        writer.abort()
        with pytest.raises(RecordingError, match="No space left on device"):
            checked(disk / "another")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_disk_that_was_full_for_a_moment_never_finishes_a_bag(tmp_path: Path, compressed: bool) -> None:
    """As a limit on the file's size, which needs no root: the hole is smaller than what may be in buffers."""
    writer = checked(tmp_path / "bag", compressed=compressed)
    fill(writer, 300)
    with largest_file(writer._size() + 1000):
        fill(writer, 10)
    assert writer._writer.file.refused > 0  # type: ignore[attr-defined]
    fill(writer, 300)
    if compressed:
        writer.check()  # the size says nothing
    with pytest.raises(RecordingError, match="is not whole"):
        writer.close()


@pytest.mark.parametrize("cut", [1, 8, 20, 100, 5000])
def test_a_file_that_was_cut_off_is_not_whole(tmp_path: Path, cut: int) -> None:
    writer = CarelessWriter(tmp_path / "bag")
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    for index in range(50):
        writer.write(CLOCK.name, MESSAGE, index)
    writer.close()
    file = writer.folder / "bag_0.mcap"
    check_finished(file, Counter({CLOCK.name: 50}))
    os.truncate(file, file.stat().st_size - cut)
    with pytest.raises(RecordingError, match=r"bag_0\.mcap: is not whole"):
        check_finished(file, Counter({CLOCK.name: 50}))


def test_messages_that_are_not_in_the_index_are_missed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "bag", custom_data={}, types=message_types())
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    writer.write(CLOCK.name, MESSAGE, 1)
    writer.close()
    file = tmp_path / "bag" / "bag_0.mcap"
    check_finished(file, Counter({CLOCK.name: 1}))
    with pytest.raises(RecordingError, match="1 of 2 messages"):
        check_finished(file, Counter({CLOCK.name: 2}))


def test_auto_is_the_writer_whose_promises_are_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())  # rosbag2_py is installed
    writer = open_writer(tmp_path / "bag", "auto", custom_data={}, types=message_types())
    assert (writer.folder / "bag_0.mcap").is_file()
    with suppress(RecordingError):
        writer.abort()
