"""Node parameters as frozen dataclasses: one place for name, default, unit, range and description of each.

A parameter that is set but that the node does not know is an error: a key in a YAML file that nobody reads looks like a
setting and is none (a lesson of the first prototype).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from salus_vla.errors import ConfigError
from salus_vla.nodes.subscribe import ClockGuardedNode

_BUILTIN = {"use_sim_time", "start_type_description_service"}  # of every node


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


def make_node(name: str) -> Node:
    """A node that holds everything given on its command line and in its parameter files."""
    return ClockGuardedNode(name, automatically_declare_parameters_from_overrides=True)


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


def read_parameters[T](node: Node, cls: type[T]) -> T:
    """Declares the parameters of a dataclass and reads what was set.

    Raises:
        ConfigError: an unknown parameter was set, a value has the wrong type or lies outside its range.
    """
    known = parameter_names(cls)
    # With an empty prefix rclpy gives Parameter objects, whatever its annotation says.
    given: dict[str, Any] = {name: item.value for name, item in node.get_parameters_by_prefix("").items()}  # type: ignore[union-attr]
    ours = {name: value for name, value in given.items() if name not in _BUILTIN}
    parameters = checked_parameters(node.get_name(), cls, ours)
    for name, field in known.items():
        value = getattr(parameters, field.name)
        ros_value = list(value) if isinstance(value, tuple) else value
        if name in given:
            node.undeclare_parameter(name)
        node.declare_parameter(name, ros_value, _descriptor(field), ignore_override=True)
    return parameters


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


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=field.metadata["description"], read_only=True)
    bounds = field.metadata["bounds"]
    if bounds and isinstance(field.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)]
    elif bounds:
        descriptor.integer_range = [IntegerRange(from_value=int(bounds[0]), to_value=int(bounds[1]), step=0)]
    if field.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(field.metadata["choices"])
    return descriptor
