"""Read a launch XML file into elements with line numbers, and check them against the supported subset."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch import substitution

MAX_DEPTH = 32

_CONDITION = frozenset({"if", "unless"})
_ACTIONS = frozenset({"arg", "group", "let", "set_env", "set_parameter", "node"})


@dataclass(frozen=True)
class _Rule:
    """What one tag takes."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()


def _rule(required: str = "", optional: frozenset[str] = frozenset(), children: str = "") -> _Rule:
    return _Rule(frozenset(required.split()), optional, frozenset(children.split()))


_RULES: dict[str, _Rule] = {
    "launch": _Rule(children=_ACTIONS),
    "group": _Rule(optional=_CONDITION, children=_ACTIONS),
    "arg": _rule("name", _CONDITION | {"default", "description"}, "choice"),
    "let": _rule("name value", _CONDITION),
    "set_env": _rule("name value", _CONDITION),
    "set_parameter": _rule("name value", _CONDITION),
    "node": _rule("pkg exec", _CONDITION | {"output", "on_exit", "name", "args"}, "param remap"),
    "choice": _rule("value"),
    "param": _rule("", frozenset({"name", "value", "type", "from"})),
    "remap": _rule("from to"),
}
# Attributes that launch reads as plain text or numbers, without substitutions.
_PLAIN = {
    ("arg", "name"),
    ("arg", "description"),
    ("choice", "value"),
    ("param", "type"),
    ("node", "on_exit"),
}
# All three show everything here: this runner keeps no log files, where launch sends the stdout of "log" (its default).
_OUTPUTS = frozenset({"screen", "log", "both"})
_PARAM_TYPES = frozenset(
    {"str", "bool", "int", "float", "yaml", "list_of_str", "list_of_bool", "list_of_int", "list_of_float"},
)


@dataclass
class Element:
    """One checked XML element."""

    tag: str
    attributes: dict[str, str]
    file: Path
    line: int
    children: list["Element"] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The place of the element, for messages."""
        return f"{self.file}:{self.line}: <{self.tag}>"

    def error(self, problem: object) -> LaunchError:
        """Returns an error that says where in the launch file it is; one that says so already stays as it is."""
        located = str(problem).startswith(f"{self.file}:")
        return LaunchError(str(problem) if located else f"{self.where}: {problem}")

    def named(self, tag: str) -> Iterator["Element"]:
        """Iterate over the children with this tag."""
        return (child for child in self.children if child.tag == tag)


def read_launch_file(path: Path) -> Element:
    """Reads and checks a launch file.

    Raises:
        LaunchError: the file cannot be read, is not well-formed XML, or goes beyond the supported subset.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot read launch file {path}: {error}") from error
    return parse_launch_text(data, path)


def parse_launch_text(data: bytes, path: Path) -> Element:
    """Checks the text of a launch file; `path` is for messages only.

    Raises:
        LaunchError: the text is not well-formed XML, or goes beyond the supported subset.
    """
    root = _Builder(path).build(data)
    if root.tag != "launch":
        raise root.error("the root of a launch file must be <launch>")
    _check(root)
    return root


class _Builder:
    """Turns expat's events into elements."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: list[Element] = []
        self._root: Element | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        # Without a document type there are no entities to expand, hence no entity bombs and no outside files.
        self._parser.StartDoctypeDeclHandler = self._doctype

    def _error(self, problem: str) -> LaunchError:
        return LaunchError(f"{self._path}:{self._parser.CurrentLineNumber}: {problem}")

    def build(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise LaunchError(f"{self._path}:{error.lineno}: not well-formed XML: {error}") from error
        except (ValueError, LookupError) as error:
            raise LaunchError(f"{self._path}: text encoding not supported: {error}") from error
        if self._root is None:
            raise LaunchError(f"{self._path}: no element")
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, self._path, self._parser.CurrentLineNumber)
        if len(self._open) >= MAX_DEPTH:
            raise self._error(f"elements nested more than {MAX_DEPTH} deep")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _tag: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if text.strip():
            raise self._error(f"text between tags: '{text.strip()}'")

    def _doctype(self, *_declaration: object) -> None:
        raise self._error("document type declarations are refused")


def _check(element: Element) -> None:
    rule = _RULES[element.tag]
    allowed = rule.required | rule.optional
    for name in element.attributes:
        if name not in allowed:
            raise element.error(f"unknown attribute '{name}'; supported: {_listing(allowed)}")
    missing = rule.required - element.attributes.keys()
    if missing:
        raise element.error(f"missing attribute {_listing(missing)}")
    _check_values(element)
    for child in element.children:
        if child.tag not in rule.children:
            raise child.error(f"unknown tag in <{element.tag}>; supported: {_listing(rule.children) or 'none'}")
        _check(child)


def _check_values(element: Element) -> None:
    attributes = element.attributes
    for name, text in attributes.items():
        if (element.tag, name) not in _PLAIN:
            try:
                substitution.parse(text)
            except LaunchError as error:
                raise element.error(f"{name}: {error}") from error
    if "if" in attributes and "unless" in attributes:
        raise element.error("'if' and 'unless' cannot be used together")
    if attributes.get("on_exit", "shutdown") != "shutdown":
        raise element.error(f"on_exit must be 'shutdown', not '{attributes['on_exit']}'")
    if attributes.get("output", "log") not in _OUTPUTS:
        raise element.error(f"output must be one of {_listing(_OUTPUTS)}, not '{attributes['output']}'")
    if element.tag == "param":
        _check_param(element)


def _check_param(element: Element) -> None:
    names = element.attributes.keys()
    if names not in ({"name", "value"}, {"name", "value", "type"}, {"from"}):
        raise element.error("takes either name, value and optionally type, or from")
    if element.attributes.get("type", "str") not in _PARAM_TYPES:
        raise element.error(f"type must be one of {_listing(_PARAM_TYPES)}, not '{element.attributes['type']}'")


def _listing(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
