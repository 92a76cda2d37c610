"""The failure table as Parquet: a row for each decision, checked when it is read.

    column            | type              | what
    ------------------|-------------------|-----------------------------------------------------------------------------
    run, profile      | text              | where it is from
    seed              | int64             | of the episode; `split.part_of` says what it may be used for
    outcome           | text              | how the episode ended
    episode           | int32             | number of the episode in the file, its rows follow each other
    decision          | int32             | number of the decision, from 0
    time_s            | float32           | of its observation, since the first [s]
    event_s           | float32           | of the event that ended the episode [s]; NaN without one
    empty_closing_s   | float32           | when the first closing on nothing began [s]; NaN without one
    crooked_s         | float32           | when the first crooked grasp began [s]; NaN without one
    signals           | float32 x 12      | the safety signals; NaN where not valid
    expert, prefix    | int8 x 32, 192    | hidden states in the basis of the file's metadata, sixteenths of a standard
                      |                   | deviation; -128 where not known
    position          | float16 x 5 x 9   | joints in the five frames up to the observation, oldest first [rad, m]
    velocity, effort  | float16 x 5 x 9   | likewise [rad/s, m/s; N m, N]; NaN where not measured
    error             | float16 x 5 x 9   | command minus position [rad, m]
    held              | float16 x 5       | 1 where both fingers hold the cube (ground truth), NaN where not known
    cube_in_tool      | float16 x 5 x 3   | position of the cube in the tool's frame (ground truth) [m]; never an input
    motion            | text              | what an intervention chose; only in tables of episodes in which one could
    motion_probability| float32           | that it was drawn with; likewise

Every page has a checksum. The metadata name the members and the VLM of the ensemble by hash, and hold the basis.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from salus_vla.contract import JOINTS
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.failures.extract import ExtractedEpisode
from salus_vla.safety.intervention.candidates import PLAN
from salus_vla.safety.prediction.decision_inputs import FRAMES
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE, PREFIX_SIZE, StateBasis, quantised, restored
from salus_vla.signals.safety_signals import NAMES

FORMAT = "salus-failures-2"
LARGEST = 20_000_000  # bytes of a file
_FORMAT, _MEMBERS, _VLMS, _BASIS = b"salus.format", b"salus.members", b"salus.vlms", b"salus.basis"
_MOTION, _DRAWN = "motion", "motion_probability"
_WIDE = FRAMES * len(JOINTS)
_TEXTS = ("run", "profile", "outcome")
_NUMBERS = {"seed": np.int64, "episode": np.int32, "decision": np.int32}
_TIMES = ("time_s", "event_s", "empty_closing_s", "crooked_s")
# Name -> type and number of values in a row.
_LISTS: dict[str, tuple[type[np.floating | np.int8], int]] = {
    "signals": (np.float32, len(NAMES)),
    "expert": (np.int8, EXPERT_SIZE),
    "prefix": (np.int8, PREFIX_SIZE),
    "position": (np.float16, _WIDE),
    "velocity": (np.float16, _WIDE),
    "effort": (np.float16, _WIDE),
    "error": (np.float16, _WIDE),
    "held": (np.float16, FRAMES),
    "cube_in_tool": (np.float16, 3 * FRAMES),
}
_UNFINISHED = (Outcome.RUNNING, Outcome.ABORTED, Outcome.HANDED_OVER)
_ENDED = frozenset(outcome.name for outcome in Outcome if outcome not in _UNFINISHED)


@dataclass(frozen=True, eq=False)
class FailureTable:
    """Rows of one or several files, N decisions of M episodes.

    Attributes:
        source: the ensemble.
        basis: of the hidden states.
        texts, numbers: columns by name, (N,).
        times: columns by name, float64 (N,) [s].
        lists: columns by name, (N, size).
        files: where the rows are from.
        motions, motion_probability: what interventions chose, (N,); None where nobody could intervene.
    """

    source: EnsembleIdentity
    basis: StateBasis
    texts: dict[str, NDArray[np.str_]]
    numbers: dict[str, NDArray[np.int64]]
    times: dict[str, NDArray[np.float64]]
    lists: dict[str, NDArray[np.float32]]
    files: tuple[Path, ...] = field(default=())
    motions: NDArray[np.str_] | None = None
    motion_probability: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.numbers["decision"])

    @property
    def episodes(self) -> int:
        """M."""
        return int(self.numbers["episode"].max()) + 1 if len(self) else 0


class TableWriter:
    """Collects the rows of episodes, which are small, and writes them at the end."""

    def __init__(self, file: Path, source: EnsembleIdentity, basis: StateBasis) -> None:
        """Begins a table.

        Args:
            file: NAME.parquet; NAME-00.parquet and so on where one would be larger than `LARGEST`.
            source: the ensemble.
            basis: of the hidden states.
        """
        self._file, self._basis = file, basis
        self._source, self._schema = source, _schema(source, basis)
        self._batches: list[pa.RecordBatch] = []

    def add(self, run: str, episode: ExtractedEpisode) -> None:
        """Appends an episode of a run; one without a decision has no rows."""
        if episode.motions is not None and _MOTION not in self._schema.names:
            if self._batches:
                raise DatasetError(
                    f"{self._file}: {run}: has interventions, the runs before have none; make two tables"
                )
            self._schema = _schema(self._source, self._basis, motions=True)
        if len(episode.times_s):
            self._batches.append(_rows(run, episode, self._basis, self._schema))

    def write(self) -> list[Path]:
        """Writes the files.

        Raises:
            DatasetError: there is no row, a file exists already or cannot be written, or one episode is too large.
        """
        file = self._file
        if not self._batches:
            raise DatasetError(f"{file}: there is no decision to write")
        written = self._in_parts()
        names = [file]
        if len(written) > 1:
            names = [file.with_name(f"{file.stem}-{index:02d}{file.suffix}") for index in range(len(written))]
        existing = [name for name in (file, *names) if name.exists()]
        if existing:
            raise DatasetError(f"{existing[0]}: exists already, it is never overwritten")
        try:
            for name, data in zip(names, written, strict=True):
                partial = name.with_name(f".{name.name}.partial")
                partial.write_bytes(data)
                partial.rename(name)
        except OSError as error:
            raise DatasetError(f"{file}: cannot be written ({error.strerror or error})") from error
        return names

    def _in_parts(self) -> list[bytes]:
        parts, count = 1, len(self._batches)
        while True:
            bounds = [count * index // parts for index in range(parts + 1)]
            written = [_as_bytes(self._batches[begin:end], self._schema) for begin, end in pairwise(bounds)]
            largest = max(map(len, written))
            if largest <= LARGEST:
                return written
            if parts == count:
                raise DatasetError(f"{self._file}: an episode is larger than {LARGEST / 1e6:g} MB")
            parts = min(count, max(parts + 1, -(-sum(map(len, written)) * 10 // (9 * LARGEST))))


def read_tables(files: Iterable[Path]) -> FailureTable:
    """Reads files of one ensemble and one basis; episodes are numbered through.

    Raises:
        DatasetError: no file, one that is damaged or none of this format, a row that cannot be, or files of different
            ensembles or bases; names the file, the row and the value.
    """
    tables = [_read(file) for file in files]
    if not tables:
        raise DatasetError("no failure table was given")
    first = tables[0]
    for other in tables[1:]:
        if other.source != first.source:
            raise DatasetError(
                f"{other.files[0]}: is of the ensemble {other.source}, {first.files[0]} of "
                f"{first.source}; a table holds one ensemble"
            )
        if other.basis.to_bytes() != first.basis.to_bytes():
            raise DatasetError(
                f"{other.files[0]}: its hidden states have another basis than those of {first.files[0]}; make it with "
                f"--basis {first.files[0]}"
            )
    begins = np.cumsum([0, *(table.episodes for table in tables[:-1])])
    numbers = {
        name: np.concatenate(
            [
                table.numbers[name] + (begin if name == "episode" else 0)
                for table, begin in zip(tables, begins, strict=True)
            ]
        )
        for name in _NUMBERS
    }
    return FailureTable(
        source=first.source,
        basis=first.basis,
        texts={name: np.concatenate([table.texts[name] for table in tables]) for name in _TEXTS},
        numbers=numbers,
        times={name: np.concatenate([table.times[name] for table in tables]) for name in _TIMES},
        lists={name: np.concatenate([table.lists[name] for table in tables]) for name in _LISTS},
        files=tuple(file for table in tables for file in table.files),
        **_joined_motions(tables),
    )


def _joined_motions(tables: Sequence[FailureTable]) -> dict[str, NDArray[Any]]:
    """Columns of interventions; the plan where a table has none, nothing where none has them."""
    if all(table.motions is None for table in tables):
        return {}
    names = [table.motions if table.motions is not None else np.full(len(table), PLAN) for table in tables]
    drawn = [
        table.motion_probability if table.motion_probability is not None else np.ones(len(table)) for table in tables
    ]
    return {"motions": np.concatenate(names), "motion_probability": np.concatenate(drawn)}


# -- writing -----------------------------------------------------------------------------------------------------------


def _as_bytes(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bytes:
    column = schema.get_field_index("episode")
    numbered = [
        batch.set_column(column, "episode", pa.array(np.full(batch.num_rows, number, dtype=np.int32)))
        for number, batch in enumerate(batches)
    ]
    sink = pa.BufferOutputStream()
    parquet.write_table(
        pa.Table.from_batches([item.cast(schema) for item in numbered], schema=schema),
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=[*_TEXTS, *_NUMBERS, *_TIMES, *({_MOTION, _DRAWN} & set(schema.names))],
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def _schema(source: EnsembleIdentity, basis: StateBasis, *, motions: bool = False) -> pa.Schema:
    columns = [
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.from_numpy_dtype(kind)) for name, kind in _NUMBERS.items()),
        *((name, pa.float32()) for name in _TIMES),
        *((name, pa.list_(pa.from_numpy_dtype(kind), size)) for name, (kind, size) in _LISTS.items()),
    ]
    if motions:
        columns += [(_MOTION, pa.string()), (_DRAWN, pa.float32())]
    metadata = {
        _FORMAT: FORMAT.encode(),
        _MEMBERS: json.dumps(source.members).encode(),
        _VLMS: json.dumps(source.vlms).encode(),
        _BASIS: base64.b64encode(basis.to_bytes()),
    }
    return pa.schema(columns, metadata=metadata)


def _rows(run: str, episode: ExtractedEpisode, basis: StateBasis, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of an episode; its number is given when it is written."""
    count = len(episode.times_s)
    lists = {
        "signals": episode.signals,
        "expert": _or_unknown(episode.expert_state, basis.project_expert, (count, EXPERT_SIZE)),
        "prefix": _or_unknown(episode.prefix_parts, basis.project_prefix, (count, PREFIX_SIZE)),
        "position": episode.position,
        "velocity": episode.velocity,
        "effort": episode.effort,
        "error": episode.error,
        "held": episode.held,
        "cube_in_tool": episode.cube_in_tool,
    }
    columns: dict[str, pa.Array] = {
        "run": pa.array([run] * count),
        "profile": pa.array([episode.profile] * count),
        "outcome": pa.array([episode.outcome.name] * count),
        "seed": pa.array(np.full(count, episode.seed, dtype=np.int64)),
        "episode": pa.array(np.zeros(count, dtype=np.int32)),
        "decision": pa.array(np.arange(count, dtype=np.int32)),
        "time_s": pa.array(episode.times_s.astype(np.float32)),
    }
    if _MOTION in schema.names:
        names = np.full(count, PLAN) if episode.motions is None else episode.motions
        drawn = np.ones(count) if episode.motion_probability is None else episode.motion_probability
        columns |= {_MOTION: pa.array(names.tolist()), _DRAWN: pa.array(drawn.astype(np.float32))}
    for name in _TIMES[1:]:
        columns[name] = pa.array(np.full(count, getattr(episode, name), dtype=np.float32))
    for name, (kind, size) in _LISTS.items():
        values = np.asarray(lists[name]).reshape(count, -1)
        flat = quantised(values) if kind is np.int8 else values.astype(kind)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), size)
    return pa.RecordBatch.from_arrays([columns[item.name] for item in schema], schema=schema)


def _or_unknown(
    states: NDArray[np.float32] | None,
    project: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    return np.full(shape, np.nan, dtype=np.float32) if states is None else project(states)


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(file: Path) -> FailureTable:
    try:
        found = parquet.read_table(file, page_checksum_verification=True, memory_map=False)
        names = found.schema.names
        texts = {name: np.array(found[name].to_pylist(), dtype=np.str_) for name in _TEXTS if name in names}
    except FileNotFoundError as error:
        raise DatasetError(f"{file}: does not exist") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last one: names and texts are not checked
        raise DatasetError(f"{file}: is damaged, or is not a Parquet file ({error!s:.120})") from error
    metadata = found.schema.metadata or {}
    if metadata.get(_FORMAT, b"").decode(errors="replace") != FORMAT:
        shown = metadata.get(_FORMAT, b"none").decode(errors="replace")
        raise DatasetError(f"{file}: has format {shown!r}, expected {FORMAT!r}; make it with `salus dataset failures`")
    try:
        source = EnsembleIdentity(tuple(json.loads(metadata[_MEMBERS])), tuple(json.loads(metadata[_VLMS])))
        basis = StateBasis.from_bytes(base64.b64decode(metadata[_BASIS], validate=True), str(file))
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{file}: its metadata are damaged ({error!r:.80})") from error
    motions = _MOTION in names
    expected = _schema(source, basis, motions=motions)
    if not found.schema.equals(expected):
        differing = [
            name
            for name in expected.names
            if name not in names or found.schema.field(name).type != expected.field(name).type
        ]
        raise DatasetError(f"{file}: column {differing[0] if differing else names} is not as documented")
    table = FailureTable(
        source=source,
        basis=basis,
        texts=texts,
        numbers={name: found[name].to_numpy().astype(np.int64) for name in _NUMBERS},
        times={name: found[name].to_numpy().astype(np.float64) for name in _TIMES},
        lists={name: _list(found[name], size) for name, (_, size) in _LISTS.items()},
        files=(file,),
        motions=np.array(found[_MOTION].to_pylist(), dtype=np.str_) if motions else None,
        motion_probability=found[_DRAWN].to_numpy().astype(np.float64) if motions else None,
    )
    _check_rows(table, file)
    return table


def _list(column: pa.ChunkedArray, size: int) -> NDArray[np.float32]:
    values = column.combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False)
    found: NDArray[np.float32] = restored(flat) if flat.dtype == np.int8 else flat.astype(np.float32)
    return found.reshape(-1, size)


def _check_rows(table: FailureTable, file: Path) -> None:
    """Raises DatasetError with the first row that cannot be."""
    episode, decision = table.numbers["episode"], table.numbers["decision"]
    if not len(table):
        raise DatasetError(f"{file}: has no row")
    new = np.append(True, episode[1:] != episode[:-1])
    expected_decision = np.where(new, 0, np.append(0, decision[:-1] + 1))
    expected_episode = np.cumsum(new) - 1
    unknown = ~np.isin(table.texts["outcome"], list(_ENDED))
    time = table.times["time_s"]
    backwards = ~new & ~(time > np.append(-np.inf, time[:-1]))
    checks = (
        ("episode", episode, episode != expected_episode, "each episode once, in order"),
        ("decision", decision, decision != expected_decision, "decisions from 0 on, in order"),
        ("outcome", table.texts["outcome"], unknown, f"one of {', '.join(sorted(_ENDED))}"),
        ("time_s", time, ~np.isfinite(time) | (time < 0.0) | backwards, "a later time than the row before"),
        ("seed", table.numbers["seed"], table.numbers["seed"] < 0, "0 or more"),
    )
    for name, values, wrong, expected in checks:
        if wrong.any():
            row = int(wrong.argmax())
            raise DatasetError(f"{file}: row {row}: {name} is {values[row]!s}, expected {expected}")
    for name in ("outcome", "profile", "run"):
        mixed = ~new & (table.texts[name] != np.append(table.texts[name][:1], table.texts[name][:-1]))
        if mixed.any():
            row = int(mixed.argmax())
            raise DatasetError(f"{file}: row {row}: {name} is {table.texts[name][row]!s}, the row before has another")
