"""Files of named arrays and some JSON in which any damage is found: safetensors with two SHA-256 inside.

`__metadata__` holds the facts as JSON, the SHA-256 of the arrays' bytes, and that of the header itself (computed with
zeros in its own place). Other tools read such a file as plain safetensors. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import RecordingError

AnyArray = NDArray[Any]

_TYPES = {"I64": np.int64, "F64": np.float64, "F32": np.float32, "U16": np.uint16, "U8": np.uint8}
_NAME_OF = {np.dtype(kind): name for name, kind in _TYPES.items()}
_ZEROS = b"0" * 64
_HEADER_DIGEST = re.compile(rb'"header_sha256":"([0-9a-f]{64})"')
_LENGTH = 8  # bytes of the number before the header
_LONGEST_HEADER = 1 << 20  # a length above it is damage


def pack(facts: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> bytes:
    """The bytes of a file.

    Args:
        facts: anything that JSON can hold.
        arrays: int64, float64, float32, uint16 or uint8, of any shape.

    Raises:
        KeyError: an array has another type.
    """
    # Wide types first, so that each array is aligned.
    ordered = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    body = b"".join(array.tobytes() for array in ordered.values())
    entries: dict[str, Any] = {
        "__metadata__": {
            "header_sha256": _ZEROS.decode(),
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "facts": json.dumps(facts, separators=(",", ":")),
        }
    }
    position = 0
    for name, array in ordered.items():
        end = position + array.nbytes
        entries[name] = {
            "dtype": _NAME_OF[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _LENGTH)
    head = len(text).to_bytes(_LENGTH, "little") + text
    begin, end = _place_of_digest(head)
    return head[:begin] + hashlib.sha256(head).hexdigest().encode() + head[end:] + body


def unpack(data: bytes, where: str) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Facts and arrays of a file's bytes; the arrays are views that cannot be written.

    Raises:
        RecordingError: the bytes are not what `pack` gave; `where` names them.
    """
    header = _checked(data, len(data), where)
    body = memoryview(data)[header.size :]
    if hashlib.sha256(body).hexdigest() != header.body_digest:
        raise RecordingError(f"{where}: is damaged: the data do not have the SHA-256 that they were written with")
    try:
        arrays: dict[str, AnyArray] = {
            name: np.frombuffer(body[slice(*entry["data_offsets"])], dtype=_TYPES[entry["dtype"]]).reshape(
                entry["shape"]
            )
            for name, entry in header.entries.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{where}: has a header that does not fit its data ({error!r:.200})") from error
    return header.facts, arrays


def read_checked(path: Path) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Facts and arrays of a file.

    Raises:
        RecordingError: it cannot be read, or is damaged; names it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error})") from error
    return unpack(data, str(path))


def read_facts(path: Path) -> dict[str, Any]:
    """Facts of a file; checks its header and its size, not the arrays.

    Raises:
        RecordingError: it cannot be read, its header is damaged, or it is cut off; names it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_LENGTH)
            head += file.read(min(int.from_bytes(head, "little"), _LONGEST_HEADER))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _checked(head, size, str(path)).facts


def _place_of_digest(head: bytes) -> tuple[int, int]:
    found = _HEADER_DIGEST.search(head)
    return found.span(1) if found else (0, 0)


@dataclass(frozen=True)
class _Header:
    """A whole header: its size with the length before it, and what it says."""

    size: int
    facts: dict[str, Any]
    body_digest: str
    entries: dict[str, Any]


def _checked(data: bytes, size: int, where: str) -> _Header:
    """Reads the header at the begin of a file that has `size` bytes."""
    length = int.from_bytes(data[:_LENGTH], "little")
    head = data[: _LENGTH + min(length, _LONGEST_HEADER)]
    begin, end = _place_of_digest(head)
    if len(head) != _LENGTH + length or not begin:
        raise RecordingError(f"{where}: is not a file of SALUS, or its header is damaged")
    if hashlib.sha256(head[:begin] + _ZEROS + head[end:]).hexdigest().encode() != head[begin:end]:
        raise RecordingError(f"{where}: is damaged: the header does not have the SHA-256 that it was written with")
    try:
        entries = json.loads(head[_LENGTH:])
        metadata = entries.pop("__metadata__")
        header = _Header(len(head), dict(json.loads(metadata["facts"])), str(metadata["body_sha256"]), entries)
        expected = header.size + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"{where}: has a header that is not of SALUS ({error!r:.200})") from error
    if size != expected:
        raise RecordingError(f"{where}: is damaged: has {size} bytes, expected {expected}")
    return header
