"""Checks that what is in a run's folder is whole: each bag is opened with an independent reader."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rosbags.highlevel import AnyReader, AnyReaderError

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.run_info import read_bag, read_run
from salus_vla.data.bags.run_records import EpisodeEntry

Fingerprint = tuple[tuple[str, int, int], ...]


class RunChecker:
    """Remembers the bags that were found whole, so that a later change of one is found too."""

    def __init__(self, run: Path, seed: int) -> None:
        """Checks `run`, whose episode n should have the seed `seed` + n."""
        self._run = run
        self._seed = seed
        self._known: dict[str, tuple[EpisodeEntry, Fingerprint]] = {}

    def problems(self) -> list[str]:
        """What is wrong with the run now; opens the bags that are new since the last call."""
        try:
            entries = read_run(self._run).record.episodes
        except RecordingError as error:
            return [str(error)]
        found = []
        by_path = {entry.path: entry for entry in entries}
        for path, (entry, fingerprint) in self._known.items():
            if by_path.get(path) != entry:
                found.append(f"{path}: its entry in run.json is gone or has changed")
            elif _fingerprint(self._run / path) != fingerprint:
                found.append(f"{path}: the bag has changed")
        for number, times in Counter(entry.number for entry in entries).items():
            if times > 1:
                found.append(f"episode {number} is there {times} times")
        for entry in entries:
            if entry.path not in self._known:
                found += self._open(entry)
        return found

    def _open(self, entry: EpisodeEntry) -> list[str]:
        found = [] if entry.seed == self._seed + entry.number else [f"{entry.path}: its seed is {entry.seed}"]
        bag = self._run / entry.path
        try:
            info = read_bag(bag)
            with AnyReader([bag]) as reader:
                counts = Counter(connection.topic for connection, _, _ in reader.messages())
        except (RecordingError, AnyReaderError, OSError, ValueError) as error:
            return [*found, f"{entry.path}: cannot be opened ({error})"]
        audited = {topic.name: topic.count for topic in info.record.audit.topics if topic.count} if info.record else {}
        if dict(counts) != audited:
            found.append(f"{entry.path}: holds {dict(counts)}, its audit says {audited}")
        if sum(counts.values()) != entry.messages:
            found.append(f"{entry.path}: holds {sum(counts.values())} messages, run.json says {entry.messages}")
        self._known[entry.path] = (entry, _fingerprint(bag))
        return found


def _fingerprint(bag: Path) -> Fingerprint:
    return tuple(sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in bag.iterdir()))
