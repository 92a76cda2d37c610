"""Evaluate a launch file into the list of processes to start, without starting any of them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.commandline import split_words
from salus_vla.ros.launch.launch_arguments import MAX_INCLUDES, declared_arguments, to_argument
from salus_vla.ros.launch.launch_document import Element, read_launch_file
from salus_vla.ros.launch.launch_parameters import ParameterFiles, global_value, typed_value
from salus_vla.ros.launch.packages import find_executable
from salus_vla.ros.launch.substitution import Scope, expand, parse, to_bool, to_condition

_NODE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"/|(/[A-Za-z_][A-Za-z0-9_]*)+")
DEFAULT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the graph, ready to start."""

    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str | None = None
    required: bool = False
    respawn: bool = False
    respawn_delay: float = 0.0
    sigterm_timeout: float = DEFAULT_TIMEOUT_S
    sigkill_timeout: float = DEFAULT_TIMEOUT_S


def top_scope(path: Path, arguments: Mapping[str, str] | None = None) -> Scope:
    """Return the scope in which a launch file given on the command line starts."""
    return Scope(dict(arguments or {}), dict(os.environ), path.absolute().parent)


def build_graph(path: Path, arguments: Mapping[str, str], parameter_folder: Path) -> list[ProcessSpec]:
    """Evaluate `path` with `arguments`; inline parameters are written to files in `parameter_folder`.

    Raises:
        LaunchError: the file is not valid, an argument is not declared or a required one is missing, or a package,
            executable, parameter file or environment variable does not exist.
    """
    root = read_launch_file(path)
    scope = top_scope(path, arguments)
    declared = [argument.name for argument in declared_arguments(root, scope)]
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
        self._include_depth = 0

    def visit_children(self, element: Element, scope: Scope) -> None:
        for child in element.children:
            try:
                enabled = self._enabled(child, scope)
            except LaunchError as error:
                raise child.error(error) from error
            if not enabled:
                continue
            if child.tag == "group":
                self._visit_group(child, scope)
            elif child.tag == "include":
                self._visit_include(child, scope)
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

    def _visit_group(self, element: Element, scope: Scope) -> None:
        if element.attributes.get("scoped", "true") == "false":
            self.visit_children(element, scope)
            return
        inner = scope.copy()
        self.visit_children(element, inner)
        # Launch restores variables and environment after a group, but not the folder an include has set.
        scope.directory = inner.directory

    def _visit_include(self, element: Element, scope: Scope) -> None:
        try:
            path = Path(expand(parse(element.attributes["file"]), scope))
        except LaunchError as error:
            raise element.error(error) from error
        if self._include_depth >= MAX_INCLUDES:
            raise element.error(f"includes nested more than {MAX_INCLUDES} deep")
        root = read_launch_file(path)
        # As in launch, the folder of the included file stays $(dirname) afterwards, and the arguments given to the
        # file stay set in this scope: put an include in a <group> to keep them apart.
        scope.directory = path.absolute().parent
        known = {argument.name for argument in declared_arguments(root, scope)}
        for child in element.named("arg"):
            try:
                name = expand(parse(child.attributes["name"]), scope)
                scope.variables[name] = expand(parse(child.attributes["value"]), scope)
            except LaunchError as error:
                raise child.error(error) from error
            if name not in known:
                raise child.error(f"{path} has no argument {name}; declared: {', '.join(sorted(known)) or 'none'}")
        self._include_depth += 1
        self.visit_children(root, scope)
        self._include_depth -= 1

    def _visit_action(self, element: Element, scope: Scope) -> None:
        if element.tag == "arg":
            _declare(element, scope)
        elif element.tag == "node":
            self._add_node(element, scope)
        elif element.tag == "executable":
            words = split_words(element.attributes["cmd"], scope)
            if not words or not words[0]:
                raise LaunchError("cmd is empty")
            self._add_process(element, words, element.attributes.get("name"), scope)
        else:
            name = expand(parse(element.attributes["name"]), scope)
            if element.tag == "unset_env":
                scope.environment.pop(name, None)
            elif element.tag == "set_parameter":
                self._set_parameter(name, element, scope)
            else:
                table = scope.variables if element.tag == "let" else scope.environment
                table[name] = expand(parse(element.attributes["value"]), scope)

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
        if "ros_args" in element.attributes:
            command += ["--ros-args", *split_words(element.attributes["ros_args"], scope)]
        command.append("--ros-args")
        node = "/**"
        if "name" in texts:
            if not _NODE_NAME.fullmatch(texts["name"]):
                raise LaunchError(f"invalid node name '{texts['name']}'")
            command += ["-r", f"__node:={texts['name']}"]
        if "namespace" in texts:
            namespace = "/" + texts["namespace"].strip("/")
            if not _NAMESPACE.fullmatch(namespace):
                raise LaunchError(f"invalid namespace '{texts['namespace']}'")
            command += ["-r", f"__ns:={namespace}"]
            if "name" in texts:
                node = f"{namespace.rstrip('/')}/{texts['name']}"
        for name, value in scope.global_parameters:
            command += ["-p", f"{name}:={value}"]
        for param in element.named("param"):
            command += ["--params-file", str(self._parameter_file(param, node, scope))]
        for remap in element.named("remap"):
            ends = [expand(parse(remap.attributes[end]), scope) for end in ("from", "to")]
            command += ["-r", ":=".join(ends)]
        self._add_process(element, command, element.attributes.get("exec_name"), scope)

    def _parameter_file(self, element: Element, node: str, scope: Scope) -> Path:
        attributes = element.attributes
        try:
            if "from" in attributes:
                path = Path(expand(parse(attributes["from"]), scope))
                if not path.is_file():
                    raise LaunchError(f"parameter file {path} does not exist")
                return path
            name = expand(parse(attributes["name"]), scope)
            value = typed_value(attributes["value"], attributes.get("type", "yaml"), scope)
            return self._files.write(name, value, node)
        except LaunchError as error:
            raise element.error(error) from error

    def _add_process(self, element: Element, command: list[str], name: str | None, scope: Scope) -> None:
        attributes = element.attributes
        name = Path(command[0]).name if name is None else expand(parse(name), scope)
        environment = dict(scope.environment)
        for variable in element.named("env"):
            key = expand(parse(variable.attributes["name"]), scope)
            environment[key] = expand(parse(variable.attributes["value"]), scope)
        self.processes.append(
            ProcessSpec(
                label=f"{name}-{len(self.processes) + 1}",
                command=tuple(command),
                environment=environment,
                cwd=expand(parse(attributes["cwd"]), scope) if "cwd" in attributes else None,
                required="on_exit" in attributes,
                respawn=to_bool(expand(parse(attributes.get("respawn", "false")), scope)),
                respawn_delay=float(attributes.get("respawn_delay", 0.0)),
                sigterm_timeout=float(attributes.get("sigterm_timeout", DEFAULT_TIMEOUT_S)),
                sigkill_timeout=float(attributes.get("sigkill_timeout", DEFAULT_TIMEOUT_S)),
            )
        )


_NODE_TEXTS = frozenset({"pkg", "exec", "name", "namespace"})


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
