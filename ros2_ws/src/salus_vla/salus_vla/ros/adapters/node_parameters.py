"""Node parameters: declares the dataclasses of `salus_vla.config.parameters` and reads what was set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from salus_vla.config.parameters import checked_parameters, parameter_names
from salus_vla.contract.errors import ConfigError
from salus_vla.ros.adapters.subscribe import ClockGuardedNode

_PARAMS_FILE = "params_file"
_BUILTIN = {"use_sim_time", "start_type_description_service", _PARAMS_FILE}  # of every node


def make_node(name: str) -> Node:
    """A node that holds everything given on its command line and in its parameter files."""
    return ClockGuardedNode(name, automatically_declare_parameters_from_overrides=True)


def read_parameters[T](node: Node, cls: type[T]) -> T:
    """Declares the parameters of a dataclass, read-only, and reads what was set.

    Raises:
        ConfigError: an unknown parameter was set, a value has the wrong type or lies outside its range.
    """
    return NodeParameters(node, cls).read()


class NodeParameters[T]:
    """The parameters of a node, which a lifecycle node reads anew whenever it is configured."""

    def __init__(self, node: Node, cls: type[T], settable: Callable[[], bool] | None = None) -> None:
        """Declares them with what was set.

        Args:
            node: gets the parameters.
            cls: their dataclass.
            settable: whether they may be set now; without it they are read-only.

        Raises:
            ConfigError: an unknown parameter was set, a value has the wrong type or lies outside its range.
        """
        self._node, self._cls, self._settable = node, cls, settable
        sim_time = node.get_parameter("use_sim_time").value
        if not isinstance(sim_time, bool):  # rclpy logs it, and goes on with the time of the wall
            raise ConfigError(f"{node.get_name()}: parameter 'use_sim_time' is {sim_time!r}, expected true or false")
        _check_params_file(node)
        parameters = self.read()
        given = self._given()
        for name, field in parameter_names(cls).items():
            value = getattr(parameters, field.name)
            ros_value = list(value) if isinstance(value, tuple) else value
            if name in given:
                node.undeclare_parameter(name)
            node.declare_parameter(name, ros_value, _descriptor(field, settable is None), ignore_override=True)
        if settable is not None:
            node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> T:
        """What is set now.

        Raises:
            ConfigError: as above.
        """
        return checked_parameters(self._node.get_name(), self._cls, self._given())

    def _given(self) -> dict[str, Any]:
        # With an empty prefix rclpy gives Parameter objects, whatever its annotation says.
        items: dict[str, Any] = {name: item.value for name, item in self._node.get_parameters_by_prefix("").items()}  # type: ignore[union-attr]
        return {name: value for name, value in items.items() if name not in _BUILTIN}

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        ours = {parameter.name: parameter.value for parameter in parameters if parameter.name not in _BUILTIN}
        if not ours:
            return SetParametersResult(successful=True)
        if self._settable is not None and not self._settable():
            reason = "can be set while the node is unconfigured only: clean it up first"
            return SetParametersResult(successful=False, reason=f"{', '.join(ours)}: {reason}")
        try:
            checked_parameters(self._node.get_name(), self._cls, {**self._given(), **ours})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _check_params_file(node: Node) -> None:
    """Raises ConfigError for a parameter file that is not there: `ros2 launch` leaves it out without a word."""
    path = node.get_parameter(_PARAMS_FILE).value if node.has_parameter(_PARAMS_FILE) else None
    if path is not None and not (isinstance(path, str) and Path(path).is_file()):
        raise ConfigError(
            f"{node.get_name()}: parameter '{_PARAMS_FILE}' is {path!r}, which is no file: nothing of it was read"
        )


def _descriptor(field: dataclasses.Field[Any], read_only: bool) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=field.metadata["description"], read_only=read_only)
    descriptor.dynamic_typing = isinstance(field.default, tuple)  # an empty list has no type; `_on_set` checks it
    bounds = field.metadata["bounds"]
    if bounds and isinstance(field.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)]
    elif bounds:
        descriptor.integer_range = [IntegerRange(from_value=int(bounds[0]), to_value=int(bounds[1]), step=0)]
    if field.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(field.metadata["choices"])
    return descriptor
