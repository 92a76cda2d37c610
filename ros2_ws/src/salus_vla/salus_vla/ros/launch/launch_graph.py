"""Evaluate a launch file into the list of processes to start, without starting any of them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.commandline import split_words
from salus_vla.ros.launch.launch_arguments import declared_arguments, to_argument
from salus_vla.ros.launch.launch_document import Element, read_launch_file
from salus_vla.ros.launch.launch_parameters import ParameterFiles, global_value, typed_value
from salus_vla.ros.launch.packages import find_executable
from salus_vla.ros.launch.substitution import Scope, expand, parse, to_condition

_NODE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the graph, ready to start."""

    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    required: bool = False


def build_graph(path: Path, arguments: Mapping[str, str], parameter_folder: Path) -> list[ProcessSpec]:
    """Evaluates `path` with `arguments`; inline parameters are written to files in `parameter_folder`.

    Raises:
        LaunchError: the file is not valid, an argument is not declared or a required one is missing, or a package,
            executable, parameter file or environment variable does not exist.
    """
    root = read_launch_file(path)
    scope = Scope(dict(arguments), dict(os.environ))
    declared = [argument.name for argument in declared_arguments(root)]
    unknown = sorted(arguments.keys() - set(declared))
    if unknown:
        raise LaunchError(f"{path} has no argument {', '.join(unknown)}; declared: {', '.join(declared) or 'none'}")
    graph = _Graph(ParameterFiles(parameter_folder))
    graph.visit_children(root, scope)
    if not graph.processes:
        raise LaunchError(f"{path} starts no process with these arguments")
    return graph.processes


class _Graph:
    """Visits actions in the order of the file, as launch does."""

    def __init__(self, files: ParameterFiles) -> None:
        self.processes: list[ProcessSpec] = []
        self._files = files

    def visit_children(self, element: Element, scope: Scope) -> None:
        for child in element.children:
            try:
                enabled = self._enabled(child, scope)
            except LaunchError as error:
                raise child.error(error) from error
            if not enabled:
                continue
            if child.tag == "group":
                self.visit_children(child, scope.copy())
            else:
                try:
                    self._visit_action(child, scope)
                except LaunchError as error:
                    raise child.error(error) from error

    @staticmethod
    def _enabled(element: Element, scope: Scope) -> bool:
        if "if" in element.attributes:
            return to_condition(expand(parse(element.attributes["if"]), scope))
        if "unless" in element.attributes:
            return not to_condition(expand(parse(element.attributes["unless"]), scope))
        return True

    def _visit_action(self, element: Element, scope: Scope) -> None:
        if element.tag == "arg":
            _declare(element, scope)
        elif element.tag == "node":
            self._add_node(element, scope)
        else:
            name = expand(parse(element.attributes["name"]), scope)
            if element.tag == "set_parameter":
                self._set_parameter(name, element, scope)
            elif element.tag == "let":
                scope.variables[name] = expand(parse(element.attributes["value"]), scope)
            else:
                scope.environment[name] = expand(parse(element.attributes["value"]), scope)

    @staticmethod
    def _set_parameter(name: str, element: Element, scope: Scope) -> None:
        if scope.parameters_inherited:
            # launch keeps one list for both scopes, so the value would leak out of the group there.
            raise LaunchError("set_parameter in a group below another set_parameter is ambiguous: use one level")
        scope.global_parameters.append((name, global_value(element.attributes["value"], scope)))

    def _add_node(self, element: Element, scope: Scope) -> None:
        texts = {name: expand(parse(text), scope) for name, text in element.attributes.items() if name in _NODE_TEXTS}
        executable = find_executable(texts["pkg"], texts["exec"], scope.environment)
        command = [str(executable), *split_words(element.attributes.get("args", ""), scope)]
        command.append("--ros-args")
        if "name" in texts:
            if not _NODE_NAME.fullmatch(texts["name"]):
                raise LaunchError(f"invalid node name '{texts['name']}'")
            command += ["-r", f"__node:={texts['name']}"]
        for name, value in scope.global_parameters:
            command += ["-p", f"{name}:={value}"]
        for param in element.named("param"):
            command += ["--params-file", str(self._parameter_file(param, scope))]
        for remap in element.named("remap"):
            ends = [expand(parse(remap.attributes[end]), scope) for end in ("from", "to")]
            command += ["-r", ":=".join(ends)]
        label = f"{executable.name}-{len(self.processes) + 1}"
        required = "on_exit" in element.attributes
        self.processes.append(ProcessSpec(label, tuple(command), dict(scope.environment), required))

    def _parameter_file(self, element: Element, scope: Scope) -> Path:
        attributes = element.attributes
        try:
            if "from" in attributes:
                path = Path(expand(parse(attributes["from"]), scope))
                if not path.is_file():
                    raise LaunchError(f"parameter file {path} does not exist")
                return path
            name = expand(parse(attributes["name"]), scope)
            value = typed_value(attributes["value"], attributes.get("type", "yaml"), scope)
            return self._files.write(name, value)
        except LaunchError as error:
            raise element.error(error) from error


_NODE_TEXTS = frozenset({"pkg", "exec", "name"})


def _declare(element: Element, scope: Scope) -> None:
    argument = to_argument(element)
    if argument.name not in scope.variables:
        if argument.default is None:
            described = f" ({argument.description})" if argument.description else ""
            raise LaunchError(f"required argument '{argument.name}'{described} not given")
        scope.variables[argument.name] = expand(parse(argument.default), scope)
    value = scope.variables[argument.name]
    if argument.choices and value not in argument.choices:
        raise LaunchError(f"argument {argument.name}:={value} is not one of the choices: {', '.join(argument.choices)}")
