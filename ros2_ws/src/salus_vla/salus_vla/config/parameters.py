"""Parameters as frozen dataclasses: one place for name, default, unit, range and description of each.

Pure: a node declares them (`ros/adapters/node_parameters.py`), a rollout reads the same ones from the same file
(`policy_settings.py`). A parameter that is set but that nobody knows is an error: a key in a YAML file that nobody
reads looks like a setting and is none (a lesson of the first prototype).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from salus_vla.contract.errors import ConfigError

PARAMETER_FORMAT: Final = "param_format"  # fact beside the texts of `parameter_texts`; bags from before have none


def parameter(
    default: Any,
    description: str,
    *,
    name: str | None = None,
    bounds: tuple[float, float] | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A dataclass field that is a ROS parameter.

    Args:
        default: also gives the type: bool, int, float, str, or a tuple of str.
        description: with its unit.
        name: ROS name where it has dots; the field's name otherwise.
        bounds: smallest and largest value allowed.
        choices: allowed strings.
    """
    metadata = {"description": description, "name": name, "bounds": bounds, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def parameter_names(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """ROS name -> field of a parameter dataclass."""
    return {field.metadata["name"] or field.name: field for field in dataclasses.fields(cls)}


def checked_parameters[T](node: str, cls: type[T], given: Mapping[str, Any]) -> T:
    """A parameter dataclass of what was set, by ROS name; the rest has its default.

    Raises:
        ConfigError: an unknown parameter was set, a value has the wrong type or lies outside its range; names `node`.
    """
    known = parameter_names(cls)
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise ConfigError(f"{node}: unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}")
    values = {
        field.name: _checked(f"{node}: parameter '{name}'", given[name], field)
        for name, field in known.items()
        if name in given
    }
    return cls(**values)


def parameter_texts(parameters: Any) -> dict[str, str]:
    """The parameters of a dataclass by ROS name, each as JSON: what bags keep as provenance."""
    names = parameter_names(type(parameters))
    return {name: json.dumps(getattr(parameters, field.name)) for name, field in names.items()}


def _checked(what: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    wanted = type(field.default)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is tuple:
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{what} is {value!r}, expected a list of strings")
        return tuple(value)
    if type(value) is not wanted:
        raise ConfigError(f"{what} is {value!r} ({type(value).__name__}), expected {wanted.__name__}")
    bounds, choices = field.metadata["bounds"], field.metadata["choices"]
    if bounds and not bounds[0] <= value <= bounds[1]:
        raise ConfigError(f"{what} is {value}, expected {bounds[0]} to {bounds[1]} ({field.metadata['description']})")
    if choices and value not in choices:
        raise ConfigError(f"{what} is {value!r}, expected one of {', '.join(choices)}")
    return value
