"""Small safetensors files with metadata: read whole, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from salus_vla.contract.errors import ModelError


def read_tensors(file: Path, command: str, wanted: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata.

    Args:
        file: to read.
        command: that makes such a file.
        wanted: its `format` in the metadata.

    Raises:
        ModelError: the file is missing, damaged or of another format; names it, and the command.
    """
    try:
        with safe_open(str(file), framework="numpy") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except FileNotFoundError as error:
        raise ModelError(f"{file}: does not exist; make it with `{command}`") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: is damaged, or is no safetensors file ({error!s:.120})") from error
    if metadata.get("format") != wanted:
        raise ModelError(
            f"{file}: has format {metadata.get('format')!r}, expected {wanted!r}; make it with `{command}`"
        )
    return tensors, metadata


def read_about(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata say of how a file was made, for its card.

    Raises:
        ModelError: that is damaged; names the file.
    """
    try:
        found: dict[str, Any] = json.loads(metadata.get("about", "{}"))
    except ValueError as error:
        raise ModelError(f"{file}: its metadata are damaged ({error!s:.80})") from error
    return found


def require_new(folder: Path) -> None:
    """Raises ModelError when a folder that is to be made is there already."""
    if folder.exists():
        raise ModelError(f"{folder}: exists already, it is never overwritten")


def write_whole(file: Path, data: bytes) -> None:
    """Writes a file and its folder; one that is there is replaced.

    Raises:
        ModelError: it cannot be written; names it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(data)
        partial.replace(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be written ({error.strerror or error})") from error
