"""Launch arguments: `name:=value` on the command line, and the arguments that a launch file declares."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.launch_document import Element, read_launch_file
from salus_vla.ros.launch.substitution import Scope, expand, parse

MAX_INCLUDES = 16


@dataclass(frozen=True)
class Argument:
    """One declared `<arg>`; `default` is the text as written, None for a required argument."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]
    conditional: bool


def parse_arguments(words: Iterable[str]) -> dict[str, str]:
    """Read `name:=value` words; of two with one name the last wins, as in `ros2 launch`.

    Raises:
        LaunchError: a word does not have this form.
    """
    values: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name or not value:
            raise LaunchError(f"malformed launch argument '{word}', expected name:=value")
        values[name] = value
    return values


def to_argument(element: Element, *, conditional: bool = False) -> Argument:
    """Read an `<arg>` declaration.

    Raises:
        LaunchError: a literal default is not one of the choices.
    """
    default = element.attributes.get("default")
    choices = tuple(choice.attributes["value"] for choice in element.named("choice"))
    if choices and default is not None and "$(" not in default and default not in choices:
        raise element.error(f"default '{default}' is not one of the choices: {', '.join(choices)}")
    conditional = conditional or bool({"if", "unless"} & element.attributes.keys())
    description = element.attributes.get("description", "")
    return Argument(element.attributes["name"], default, description, choices, conditional)


def declared_arguments(root: Element, scope: Scope) -> list[Argument]:
    """List the arguments that a launch file and the files it includes declare, the first of each name.

    An include whose file name depends on launch arguments is skipped, as `ros2 launch --show-args` does.

    Raises:
        LaunchError: an included file is not a valid launch file.
    """
    found: dict[str, Argument] = {}
    for argument in _declared(root, scope, conditional=False, depth=0):
        found.setdefault(argument.name, argument)
    return list(found.values())


def _declared(element: Element, scope: Scope, *, conditional: bool, depth: int) -> Iterator[Argument]:
    for child in element.children:
        if child.tag == "arg":
            yield to_argument(child, conditional=conditional)
            continue
        inner = conditional or bool({"if", "unless"} & child.attributes.keys())
        if child.tag == "group":
            yield from _declared(child, scope, conditional=inner, depth=depth)
        elif child.tag == "include":
            # The file's own folder, and no launch configurations: those are not known yet.
            local = Scope({}, scope.environment, child.file.absolute().parent)
            try:
                path = Path(expand(parse(child.attributes["file"]), local))
            except LaunchError:
                continue
            if depth >= MAX_INCLUDES:
                raise child.error(f"includes nested more than {MAX_INCLUDES} deep")
            if path.is_file():
                yield from _declared(read_launch_file(path), scope, conditional=inner, depth=depth + 1)


def format_arguments(path: Path, scope: Scope) -> str:
    """Describe the arguments of a launch file in the layout of `ros2 launch --show-args`.

    Raises:
        LaunchError: the launch file is not valid.
    """
    arguments = declared_arguments(read_launch_file(path), scope)
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    for argument in arguments:
        lines += ["", f"    '{argument.name}':{'*' if argument.conditional else ''}"]
        lines.append(f"        {_described(argument)}")
        if argument.default is not None:
            lines.append(f"        (default: '{argument.default}')")
    if not arguments:
        lines += ["", "  No arguments."]
    elif any(argument.conditional for argument in arguments):
        lines += ["", "* argument(s) which are only used if specific conditions occur"]
    return "\n".join(lines)


def _described(argument: Argument) -> str:
    if not argument.choices:
        return argument.description or "no description given"
    choices = list(argument.choices)
    if not argument.description:
        return f"One of: {choices}"
    return f"{argument.description.rstrip('.')}. Valid choices are: {choices}"
