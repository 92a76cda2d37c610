"""The JSON files of a run, typed: `run.json` of the run and `audit.json` of each episode; written atomically."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.audit import AuditReport

RUN_FILE = "run.json"
AUDIT_FILE = "audit.json"
FORMAT = 1  # of both files
# Stamps and seeds are int64 in ROS; numpy takes no larger ones.
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


@dataclass(frozen=True)
class EpisodeEntry:
    """One finished episode.

    Attributes:
        number: in its run, from 0; seed, task, policy_source: as in Episode.msg.
        outcome: name of the outcome in Episode.msg; decisions: executed ones.
        start_ns, end_ns: stamps of the first and the terminal observation, sim time [ns].
        wall_s: wall time in which its messages arrived [s], None in a recovered bag.
        event_stamp_ns: stamp of the physics event, sim time [ns], None without one.
        detail: the event in words.
        path: folder of the bag in the run's folder.
        messages, gaps: in the bag, and found by its audit.
        surplus: messages above the rate of a topic with one publisher, found by its audit.
        recovered: made by `salus bag recover` from an interrupted bag.
    """

    number: _Count
    seed: _Seed
    task: str
    policy_source: str
    outcome: str
    decisions: _Count
    start_ns: _Count
    end_ns: _Count
    wall_s: float | None
    event_stamp_ns: _Count | None
    detail: str
    path: str
    messages: _Count
    gaps: _Count
    recovered: bool = False
    surplus: _Count = 0

    @property
    def duration_s(self) -> float:
        """Duration in sim time [s]."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class RunRecord:
    """Content of run.json: when (UTC, ISO 8601), from what, with which arguments, and every finished episode."""

    run_id: str
    created: str
    provenance: dict[str, str]
    arguments: dict[str, str]
    episodes: tuple[EpisodeEntry, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True)
class EpisodeRecord:
    """Content of audit.json.

    Attributes:
        run_id: the run this episode belongs to.
        episode: as in run.json.
        provenance: facts of the nodes, parameters, versions; the same as the bag's custom_data.
        audit: what the bag holds and what is missing in it.
        recovered_from: name of the interrupted bag's folder, when this bag was recovered.
    """

    run_id: str
    episode: EpisodeEntry
    provenance: dict[str, str]
    audit: AuditReport
    recovered_from: str | None = None
    format: int = field(default=FORMAT)


def read_record[RecordT](path: Path, kind: type[RecordT]) -> RecordT:
    """Reads a JSON file as `kind`.

    Raises:
        RecordingError: the file cannot be read or is not of that form; names it, the key and the value.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        record = TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise RecordingError(f"{path}: {key}: {first['msg']} (got {first['input']!r:.80})") from error
    found = getattr(record, "format", FORMAT)
    if found != FORMAT:
        raise RecordingError(f"{path}: format: is {found}, this version of SALUS reads {FORMAT}")
    return record


def write_record(path: Path, record: object) -> None:
    """Writes a JSON file so that a crash leaves the old one or the new one, never a part.

    Raises:
        RecordingError: the file cannot be written; names it.
    """
    write_atomically(path, TypeAdapter(type(record)).dump_json(record, indent=2) + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part.

    Raises:
        RecordingError: it cannot be written; names it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:  # Ctrl-C as well
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written ({error.strerror or error})") from error


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
