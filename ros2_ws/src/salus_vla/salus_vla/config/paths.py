"""Where SALUS finds its configuration and keeps its caches; how a config file becomes a typed object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from salus_vla.contract.errors import ConfigError

CONFIG_ENV = "SALUS_CONFIG_DIR"
CACHE_ENV = "SALUS_CACHE_DIR"
CONTRACT_FILE = "contract.yaml"
DEFAULT_PREDICTOR, NO_PREDICTOR = "builtin", "none"
_PREDICTOR = "compact_predictor"  # of the ensemble models/compact
_INTERVENTION = "compact_intervention"  # of that predictor
DEFAULT_MANIFOLD = "builtin"
_MANIFOLD = "compact_manifold"  # likewise


def _in_checkout() -> Path | None:
    # resolve() follows the links of `colcon build --symlink-install` back into the source tree.
    for parent in Path(__file__).resolve().parents:
        if (parent / "config" / CONTRACT_FILE).is_file():
            return parent / "config"
    return None


def _in_share() -> Path | None:
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    except ImportError:
        return None
    try:
        folder = Path(get_package_share_directory("salus_vla")) / "config"
    except PackageNotFoundError:
        return None
    return folder if (folder / CONTRACT_FILE).is_file() else None


def config_dir() -> Path:
    """Folder of contract.yaml: $SALUS_CONFIG_DIR, else config/ of the checkout, else share/salus_vla/config.

    Raises:
        ConfigError: there is no such folder, or $SALUS_CONFIG_DIR names one without contract.yaml.
    """
    chosen = os.environ.get(CONFIG_ENV)
    if chosen:
        folder = Path(chosen).expanduser()
        if not (folder / CONTRACT_FILE).is_file():
            raise ConfigError(f"${CONFIG_ENV}={chosen}: expected a folder with {CONTRACT_FILE}")
        return folder
    found = _in_checkout() or _in_share()
    if found is None:
        raise ConfigError(
            f"no {CONTRACT_FILE}: set ${CONFIG_ENV} to the folder that has it "
            f"(looked above {Path(__file__).resolve().parent} and in share/salus_vla/config)"
        )
    return found


def models_dir() -> Path:
    """Folder of the ensembles that come with SALUS: models/ of the checkout, else share/salus_vla/models.

    Raises:
        ConfigError: there is none.
    """
    found = _in_checkout() or _in_share()
    if found is None or not (found.parent / "models").is_dir():
        raise ConfigError(
            f"the models that come with SALUS are missing (looked above {Path(__file__).resolve().parent} and in "
            "share/salus_vla/models); give --model"
        )
    return found.parent / "models"


def predictor_folder(name: str) -> Path:
    """Folder of a failure predictor: `builtin` is the one of the ensemble that comes with SALUS, else a path.

    Raises:
        ConfigError: the models that come with SALUS are missing.
    """
    return models_dir() / _PREDICTOR if name == DEFAULT_PREDICTOR else Path(name).expanduser()


def intervention_folder(name: str) -> Path:
    """Folder of what interventions are chosen with: `builtin` is that of the predictor that comes with SALUS.

    Raises:
        ConfigError: the models that come with SALUS are missing.
    """
    return models_dir() / _INTERVENTION if name == DEFAULT_PREDICTOR else Path(name).expanduser()


def manifold_folder(name: str) -> Path:
    """Folder of an action manifold: `builtin` is the one of the ensemble that comes with SALUS, else a path.

    Raises:
        ConfigError: the models that come with SALUS are missing.
    """
    return models_dir() / _MANIFOLD if name == DEFAULT_MANIFOLD else Path(name).expanduser()


def cache_dir() -> Path:
    """Folder for files that can be computed again: $SALUS_CACHE_DIR, $XDG_CACHE_HOME/salus or ~/.cache/salus."""
    chosen = os.environ.get(CACHE_ENV)
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "salus"


class _UniqueKeys(yaml.SafeLoader):
    """YAML's own data types, and no key twice: nobody would read the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML does it; YAMLError for a key that appears twice."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if isinstance(key, yaml.ScalarNode) and name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value!r} appears twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    loader = _UniqueKeys(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_config[ModelT: BaseModel](path: Path, model: type[ModelT]) -> ModelT:
    """Reads a YAML file into a pydantic model.

    Args:
        path: the YAML file.
        model: the model that describes it; keys it does not know are refused when it forbids extras.

    Raises:
        ConfigError: the file is missing, is not YAML, has a key twice, or a value is wrong; names file, key and what
            was expected.
    """
    try:
        raw = _yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also bytes that are no text, a date that is none
        raise ConfigError(f"{path}: is not valid YAML ({error})") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"]) or "(top level)"
            lines.append(f"{path}: {key}: {item['msg']} (got {item['input']!r:.80})")
        raise ConfigError("\n".join(lines)) from error
