"""Launch arguments: `name:=value` on the command line, and the arguments that a launch file declares."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.launch_document import Element, read_launch_file


@dataclass(frozen=True)
class Argument:
    """One declared `<arg>`; `default` is the text as written, None for a required argument."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]
    conditional: bool


def parse_arguments(words: Iterable[str]) -> dict[str, str]:
    """Reads `name:=value` words; of two with one name the last wins, as in `ros2 launch`.

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
    """Reads an `<arg>` declaration.

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


def declared_arguments(root: Element) -> list[Argument]:
    """Lists the arguments that a launch file declares, the first of each name."""
    found: dict[str, Argument] = {}
    for argument in _declared(root, conditional=False):
        found.setdefault(argument.name, argument)
    return list(found.values())


def _declared(element: Element, *, conditional: bool) -> Iterator[Argument]:
    for child in element.children:
        if child.tag == "arg":
            yield to_argument(child, conditional=conditional)
            continue
        if child.tag == "group":
            yield from _declared(child, conditional=conditional or bool({"if", "unless"} & child.attributes.keys()))


def format_arguments(path: Path) -> str:
    """Describes the arguments of a launch file in the layout of `ros2 launch --show-args`.

    Raises:
        LaunchError: the launch file is not valid.
    """
    arguments = declared_arguments(read_launch_file(path))
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
