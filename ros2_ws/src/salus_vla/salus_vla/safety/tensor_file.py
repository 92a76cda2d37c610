"""Small safetensors files with metadata: read whole, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from salus_vla.contract.errors import ModelError


def read_tensors(file: Path, command: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata.

    Args:
        file: to read.
        command: that makes such a file.

    Raises:
        ModelError: the file is missing or damaged; names it, and the command.
    """
    try:
        with safe_open(str(file), framework="numpy") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except FileNotFoundError as error:
        raise ModelError(f"{file}: does not exist; make it with `{command}`") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: is damaged, or is no safetensors file ({error!s:.120})") from error
    return tensors, metadata


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
