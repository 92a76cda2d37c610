"""Signals and joints of bags as tables, one row per message: CSV or Parquet, for whatever reads those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from rosbags.highlevel import AnyReader

from salus_vla.contract import JOINT_COMMAND, JOINT_STATES, JOINTS, SAFETY_SIGNALS, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import joint_positions, measured_joints, policy_states, stamp_of
from salus_vla.data.bags.recorded_observations import (
    connections_of,
    episode_of,
    messages_of,
    opened_bag,
    read_message,
    said_of,
    window_of,
)
from salus_vla.signals.safety_signals import NAMES

Format = Literal["csv", "parquet"]
Row = dict[str, Any]

_EPISODE = [("run", pa.string()), ("episode", pa.int64()), ("seed", pa.int64()), ("outcome", pa.string())]
_STAMP = ("stamp_s", pa.float64())  # header stamp, sim time [s]
_COUNTS = ("decision", "members", "noise_samples", "valid")
_POSITIONS = [f"position_{joint}" for joint in JOINTS]
_VELOCITIES = [f"velocity_{joint}" for joint in JOINTS]
_EFFORTS = [f"effort_{joint}" for joint in JOINTS]
_STATES = ("expert_state", "prefix_parts")


def _signals_row(message: Any, where: str) -> Row:
    values = {name: getattr(message, name) for name in (*_COUNTS, "inference_ms", *NAMES)}
    states = read_message(policy_states, message, where)
    flat = {name: state.ravel().tolist() or None for name, state in zip(_STATES, states, strict=True)}
    return {"stamp_s": stamp_of(message) * 1e-9, **values, **flat}


def _states_row(message: Any, where: str) -> Row:
    measured = read_message(measured_joints, message, where)
    known = [[None if np.isnan(value) else float(value) for value in row] for row in measured]
    columns = dict(zip((*_POSITIONS, *_VELOCITIES, *_EFFORTS), chain(*known), strict=True))
    return {"stamp_s": stamp_of(message) * 1e-9, **columns}


def _command_row(message: Any, where: str) -> Row:
    return {
        "stamp_s": stamp_of(message) * 1e-9,
        **dict(zip(_POSITIONS, read_message(joint_positions, message, where), strict=True)),
    }


# Name of the file, topic, columns after those of the episode, row of a message.
_TABLES: tuple[tuple[str, Topic, list[tuple[str, pa.DataType]], Callable[[Any, str], Row]], ...] = (
    (
        "signals",
        SAFETY_SIGNALS,
        [
            *((name, pa.int64()) for name in _COUNTS),
            *((name, pa.float32()) for name in ("inference_ms", *NAMES)),
            *((name, pa.list_(pa.float32())) for name in _STATES),  # in Parquet only: a cell of CSV holds one value
        ],
        _signals_row,
    ),
    (
        "joint_states",
        JOINT_STATES,
        [(name, pa.float64()) for name in (*_POSITIONS, *_VELOCITIES, *_EFFORTS)],
        _states_row,
    ),
    ("joint_command", JOINT_COMMAND, [(name, pa.float64()) for name in _POSITIONS], _command_row),
)


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Ends the file."""


def export_tables(
    bags: Sequence[Path],
    folder: Path,
    kind: Format,
    on_bag: Callable[[Path], None] = lambda bag: None,
    episode: int | None = None,
) -> dict[Path, int]:
    """Writes `signals`, `joint_states` and `joint_command` of some bags, each topic into one file.

    A value that was not recorded, and a signal that could not be computed, stays empty or NaN; nothing replaces it.

    Args:
        bags: folders of finished bags of one episode each.
        folder: gets the files; made if missing.
        kind: what they are.
        on_bag: called with each bag before it is read.
        episode: its number in each bag; None of bags that hold one.

    Returns:
        Rows of each file.

    Raises:
        RecordingError: a bag cannot be read, or a file exists already or cannot be written.
    """
    files = [folder / f"{name}.{kind}" for name, *_ in _TABLES]
    existing = [file for file in files if file.exists()]
    if existing:
        raise RecordingError(f"{existing[0]}: exists already, it is never overwritten")
    rows = dict.fromkeys(files, 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            schemas = [_schema(columns, kind) for _, _, columns, _ in _TABLES]
            writers = [
                stack.enter_context(_new_file(file, schema, kind)) for file, schema in zip(files, schemas, strict=True)
            ]
            for bag in bags:
                on_bag(bag)
                for file, writer, table in zip(files, writers, _read(bag, kind, episode), strict=True):
                    writer.write_table(table)
                    rows[file] += table.num_rows
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return rows


def _schema(columns: list[tuple[str, pa.DataType]], kind: Format) -> pa.Schema:
    held = [column for column in columns if kind == "parquet" or not pa.types.is_list(column[1])]
    return pa.schema([*_EPISODE, _STAMP, *held])


@contextmanager
def _new_file(file: Path, schema: pa.Schema, kind: Format) -> Iterator[_Writer]:
    """A writer of a file that gets its name when everything is in it."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        writer = (csv.CSVWriter if kind == "csv" else parquet.ParquetWriter)(str(temporary), schema)
        try:
            yield writer
        finally:
            writer.close()
        temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)


def _read(bag: Path, kind: Format, number: int | None) -> list[pa.Table]:
    """The tables of an episode of one bag."""
    with opened_bag(bag) as reader:
        episode = _episode_row(reader, bag, number)
        start_ns, end_ns = window_of(reader, bag, number)
        tables = []
        for _, topic, columns, to_row in _TABLES:
            rows = [
                episode | to_row(message, f"{bag}: {topic.name}")
                for _, message in messages_of(reader, connections_of(reader, bag, (topic,)))
                if start_ns <= stamp_of(message) <= end_ns
            ]
            tables.append(pa.Table.from_pylist(rows, schema=_schema(columns, kind)))
        return tables


def _episode_row(reader: AnyReader, bag: Path, number: int | None) -> Row:
    episode, first = episode_of(reader, bag, number), said_of(reader, bag, number)[0]
    return {"run": first.run_id, "episode": first.episode, "seed": episode.seed, "outcome": episode.outcome.name}
