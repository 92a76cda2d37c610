"""Parameter files: a section that no node reads looks like settings and is none, so it is refused before a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from salus_vla.config.paths import config_dir, read_config
from salus_vla.contract.errors import ConfigError

PARAMS_FILE = "salus.yaml"
_ALL_NODES = "/**"


class _Section(BaseModel):
    """What stands under the name of a node; the node itself checks each parameter."""

    model_config = ConfigDict(extra="forbid")

    parameters: Annotated[dict[str, Any], Field(alias="ros__parameters")]


class _ParamsFile(RootModel[dict[str, _Section]]):
    """Sections by the name of their node."""


def check_params_file(path: Path) -> None:
    """Looks for sections of a parameter file that no node of the graph reads.

    Args:
        path: YAML file for `--params-file`.

    Raises:
        ConfigError: the file cannot be read, or has something else than `ros__parameters` of known nodes; names file
            and key.
    """
    known = read_config(config_dir() / PARAMS_FILE, _ParamsFile).root.keys()
    for name in read_config(path, _ParamsFile).root:
        if name != _ALL_NODES and name.removeprefix("/") not in known:
            raise ConfigError(f"{path}: {name}: no node has this name; expected {', '.join(known)} or {_ALL_NODES}")


def given_params_files(words: Sequence[str]) -> list[Path]:
    """The parameter files that a node was started with.

    Args:
        words: its command line.
    """
    return [Path(path) for option, path in pairwise(words) if option == "--params-file"]


def node_parameters(path: Path | None, node: str) -> tuple[str, dict[str, Any]]:
    """What a parameter file sets for a node, and where that stands, for messages.

    Args:
        path: the file; the installed one by default.
        node: its name.

    Raises:
        ConfigError: the file cannot be read, or has something else than `ros__parameters` of nodes.
    """
    file = config_dir() / PARAMS_FILE if path is None else path
    sections = read_config(file, _ParamsFile).root
    found = [sections[name].parameters for name in (_ALL_NODES, node, f"/{node}") if name in sections]
    return f"{file}: {node}", {key: value for parameters in found for key, value in parameters.items()}
