"""The folder of a run: one bag per episode, finished atomically, and `run.json` that lists them.

    RUN/run.json                                    the run and its finished episodes
    RUN/episode_000042/                             a finished bag: episode_000042_0.mcap, metadata.yaml, audit.json
    RUN/.episode_000042.recording/episode_000042/   a bag in progress, or what a crash left of one

The bag in progress has its final name inside a hidden folder: finishing is a rename of the whole bag, and nothing
that is written in it needs to change.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.run_records import (
    AUDIT_FILE,
    RUN_FILE,
    EpisodeEntry,
    EpisodeRecord,
    RunRecord,
    read_record,
    sync_folder,
    write_record,
)

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FINISHED = re.compile(r"episode_(\d{6,})(_recovered(_\d+)?)?")
_IN_PROGRESS = re.compile(r"\.episode_(\d{6,})\.recording(\.\d+)?")
_LOCK_FILE = ".lock"


def episode_name(number: int) -> str:
    """Name of an episode's bag: `episode_000042`."""
    return f"episode_{number:06d}"


def free_path(wanted: Path, separator: str) -> Path:
    """`wanted`, or with the first number appended that nothing on disk has."""
    path, number = wanted, 0
    while os.path.lexists(path):
        number += 1
        path = wanted.with_name(f"{wanted.name}{separator}{number}")
    return path


def interrupted_bags(run: Path) -> tuple[Path, ...]:
    """Bag folders of a run that were never finished, oldest episode first."""
    shells = sorted(shell for shell in run.iterdir() if _IN_PROGRESS.fullmatch(shell.name))
    return tuple(bag for shell in shells for bag in shell.iterdir() if bag.is_dir())


def is_in_progress(bag: Path) -> bool:
    """Whether a bag folder is one that was never finished."""
    return _IN_PROGRESS.fullmatch(bag.parent.name) is not None


def hidden_bag(folder: Path, name: str, purpose: str) -> Path:
    """A path for a bag in a new hidden folder of `folder`; `reveal_bag` moves it up.

    Raises:
        RecordingError: the disk refuses.
    """
    shell = free_path(folder / f".{name}.{purpose}", ".")
    try:
        shell.mkdir()
    except OSError as error:
        raise RecordingError(f"{shell}: cannot be written ({error.strerror or error})") from error
    return shell / name


def reveal_bag(bag: Path) -> Path:
    """Brings a closed bag to the disk and moves it out of its hidden folder, in one step; returns its final path.

    Raises:
        RecordingError: the disk refuses, or the name is taken; the bag then stays where it is.
    """
    target = bag.parent.parent / bag.name
    try:
        for file in bag.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(bag)
        if os.path.lexists(target):  # rename() would replace an empty folder
            raise RecordingError(f"{target}: exists already; the finished bag stays in {bag}")
        bag.rename(target)
        with suppress(OSError):  # not empty: then something else is in it, which stays
            bag.parent.rmdir()
        sync_folder(target.parent)
    except OSError as error:
        raise RecordingError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def discard_bag(bag: Path) -> None:
    """Removes an unwanted bag in a hidden folder; files that a bag writer does not write stay."""
    with suppress(OSError):
        for file in (*bag.glob(f"{bag.name}_*.mcap"), bag / "metadata.yaml"):
            file.unlink(missing_ok=True)
        if bag.is_dir():
            bag.rmdir()
        bag.parent.rmdir()


class RunFolder:
    """A run that this process writes; no other process can open it until `close`."""

    def __init__(self, path: Path, record: RunRecord, lock: IO[bytes]) -> None:
        """Uses `create` or `open_existing`."""
        self.path = path
        self.record = record
        self.unknown: tuple[Path, ...] = ()
        self._lock = lock

    @classmethod
    def create(
        cls, out_dir: Path, run_id: str, *, provenance: Mapping[str, str], arguments: Mapping[str, str]
    ) -> RunFolder:
        """Starts a new run in `out_dir/run_id`.

        Raises:
            RecordingError: the folder exists, cannot be written, or the name is not a folder name.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise RecordingError(f"run id {run_id!r}: expected letters, digits and . _ - only")
        path = out_dir / run_id
        if os.path.lexists(path):
            raise RecordingError(f"{path}: exists already; resume it or choose another run id")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written ({error.strerror or error})") from error
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run = cls(path, RunRecord(run_id, created, dict(provenance), dict(arguments)), _lock(path))
        run._write()
        return run

    @classmethod
    def open_existing(cls, path: Path) -> RunFolder:
        """Continues a run: finished bags that run.json misses are added, interrupted ones stay where they are.

        Raises:
            RecordingError: `path` is not a run, cannot be written, or is in use by another process.
        """
        if not (path / RUN_FILE).is_file():
            raise RecordingError(f"{path}: is not a run: it has no {RUN_FILE}")
        lock = _lock(path)
        try:
            run = cls(path, read_record(path / RUN_FILE, RunRecord), lock)
            run._adopt()
            run._write()  # also finds out before the first episode that the disk is full or read-only
        except RecordingError:
            lock.close()
            raise
        return run

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.record.run_id

    @property
    def episodes(self) -> tuple[EpisodeEntry, ...]:
        """Finished episodes, in the order of their numbers."""
        return self.record.episodes

    @property
    def next_episode(self) -> int:
        """Number after the largest finished one; an interrupted episode is tried again under its number."""
        numbers = [entry.number for entry in self.episodes]
        numbers += [int(match[1]) for match in map(_FINISHED.fullmatch, os.listdir(self.path)) if match]
        return max(numbers, default=-1) + 1

    @property
    def interrupted(self) -> tuple[Path, ...]:
        """Bags that were never finished."""
        return interrupted_bags(self.path)

    def new_bag(self, number: int) -> Path:
        """Where to write the bag of an episode; the folder itself is left to the writer.

        Raises:
            RecordingError: the episode has a finished bag, or the disk refuses.
        """
        name = episode_name(number)
        if os.path.lexists(self.path / name):
            raise RecordingError(f"{self.path / name}: exists already, it is never overwritten")
        return hidden_bag(self.path, name, "recording")

    def new_recovered_bag(self, number: int) -> Path:
        """As `new_bag`, for what is recovered of an interrupted bag; its name differs when the episode was repeated."""
        name = episode_name(number)
        if os.path.lexists(self.path / name):
            name = free_path(self.path / f"{name}_recovered", "_").name
        return hidden_bag(self.path, name, "recovering")

    def finish_bag(self, bag: Path, record: EpisodeRecord) -> EpisodeEntry:
        """Gives a closed bag its audit and its final name, and lists it in run.json.

        Raises:
            RecordingError: the disk refuses, or the name was taken meanwhile; the bag then stays where it is.
        """
        write_record(bag / AUDIT_FILE, record)
        reveal_bag(bag)
        self._add(record.episode)
        self._write()
        return record.episode

    def close(self) -> None:
        """Lets other processes open the run."""
        self._lock.close()

    def _adopt(self) -> None:
        listed = {entry.path for entry in self.episodes}
        unknown = []
        for folder in sorted(self.path.iterdir()):
            if _FINISHED.fullmatch(folder.name) and folder.name not in listed:
                try:
                    entry = read_record(folder / AUDIT_FILE, EpisodeRecord).episode
                except RecordingError:  # a bag that someone put there: its number is taken, nothing is known of it
                    unknown.append(folder)
                else:
                    self._add(replace(entry, path=folder.name))
        self.unknown = tuple(unknown)

    def _add(self, entry: EpisodeEntry) -> None:
        episodes = sorted((*self.episodes, entry), key=lambda item: (item.number, item.path))
        self.record = replace(self.record, episodes=tuple(episodes))

    def _write(self) -> None:
        write_record(self.path / RUN_FILE, self.record)


def _lock(path: Path) -> IO[bytes]:
    try:
        file = (path / _LOCK_FILE).open("ab")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RecordingError(f"{path}: is in use by another process ({error.strerror or error})") from error
    return file
