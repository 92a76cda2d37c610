"""Episodes that are the same one twice: a run given with its copy would count double.

A held-out episode would be learned from under its other name.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from salus_vla.contract.errors import DatasetError, RecordingError
from salus_vla.data.recording import Episode

_RECORDED = (".mcap", ".db3", ".zstd")  # of a bag; what else lies beside them may differ between copies


def check_no_copies(episodes: Iterable[Episode]) -> None:
    """Checks that no two episodes have one seed and the same bytes. Only those of one seed and size are read.

    Raises:
        DatasetError: two have; names both.
        RecordingError: a file cannot be read.
    """
    alike: dict[tuple[int, int], list[Episode]] = defaultdict(list)
    for episode in episodes:
        alike[episode.seed, sum(_size(file) for file in _files(episode.path))].append(episode)
    for group in alike.values():
        if len(group) > 1:
            seen: dict[bytes, Path] = {}
            for episode in group:
                refuse_copy(seen, _digest(_files(episode.path)), episode)


def refuse_copy(seen: dict[bytes, Path], digest: bytes, episode: Episode) -> None:
    """Notes the digest of an episode's content.

    Raises:
        DatasetError: another episode has the same; names both.
    """
    first = seen.setdefault(digest, episode.path)
    if first is not episode.path:
        raise DatasetError(
            f"{first} and {episode.path} are the same episode (seed {episode.seed}, the same content): it would count "
            "twice, and a held-out one would be learned from; give only one of the two runs"
        )


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return (path,)
    return sorted(file for file in path.iterdir() if file.suffix in _RECORDED)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise RecordingError(f"{file}: cannot be read ({error.strerror})") from error


def _digest(files: Sequence[Path]) -> bytes:
    whole = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                whole.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise RecordingError(f"{file}: cannot be read ({error.strerror})") from error
    return whole.digest()
