"""Reads what is left of an mcap file that was cut off or damaged, without its index and footer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import breakup_chunk

from salus_vla.contract.errors import RecordingError

_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")  # opcode, length of the content
_CHUNK = struct.Struct("<QQQII")  # first and last log time, uncompressed size, CRC, length of the compression's name
# What mcap and its decompressors raise on damaged data; lz4 a RuntimeError, a wrong CRC or name a ValueError.
_DAMAGED = (McapError, zstandard.ZstdError, struct.error, ValueError, RuntimeError, OverflowError, MemoryError)


def read_records(path: Path) -> Iterator[McapRecord]:
    """Schemas, channels, messages and metadata in the order of the file, up to where it ends or makes no sense.

    A chunk that is whole but damaged is left out; of one that is cut off, the whole messages at its start are read.

    Raises:
        RecordingError: the file cannot be read or is not an mcap file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise RecordingError(f"{path}: is not an mcap file")
            while len(head := file.read(_RECORD.size)) == _RECORD.size:
                opcode, length = _RECORD.unpack(head)
                if opcode in (0, Opcode.DATA_END, Opcode.FOOTER):  # zeros: blocks that a power cut left unwritten
                    return
                body = file.read(min(length, size))  # a damaged length must not ask for that much memory
                whole = len(body) == length
                if opcode == Opcode.CHUNK:
                    yield from _whole_chunk(body) if whole else _partial_chunk(body)
                elif whole:
                    yield from _record(opcode, body)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error})") from error


def _whole_chunk(body: bytes) -> list[McapRecord]:
    try:
        return breakup_chunk(Chunk.read(ReadDataStream(BytesIO(body))), validate_crc=True)
    except _DAMAGED:
        return []


def _partial_chunk(body: bytes) -> Iterator[McapRecord]:
    if len(body) < _CHUNK.size:
        return
    name_size = _CHUNK.unpack_from(body)[-1]
    compression = body[_CHUNK.size : _CHUNK.size + name_size]
    data = body[_CHUNK.size + name_size + 8 :]  # 8: length of the data
    if compression == b"zstd":
        try:
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        except zstandard.ZstdError:
            return
    elif compression:  # an lz4 frame cannot be read in part
        return
    position = 0
    held: list[McapRecord] = []
    while position + _RECORD.size <= len(data):
        opcode, length = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        if opcode == 0:  # unwritten blocks: the record before may end in zeros that are not its own
            return
        yield from held
        held = _record(opcode, data[position : position + length]) if position + length <= len(data) else []
        position += length
    yield from held


def _record(opcode: int, body: bytes) -> list[McapRecord]:
    stream = ReadDataStream(BytesIO(body))
    try:
        if opcode == Opcode.SCHEMA:
            return [Schema.read(stream)]
        if opcode == Opcode.CHANNEL:
            return [Channel.read(stream)]
        if opcode == Opcode.MESSAGE:
            return [Message.read(stream, len(body))]
        if opcode == Opcode.METADATA:
            return [Metadata.read(stream)]
    except _DAMAGED:
        return []
    return []
