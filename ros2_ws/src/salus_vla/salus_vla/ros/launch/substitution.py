r"""The `$(name argument ...)` substitutions of launch XML: their grammar and what they evaluate to.

Outside of a substitution a backslash takes the next character literally. Arguments are separated by exactly one space;
an argument is a run of text and nested substitutions, or one '...' or "..." string that may hold spaces.
"""

import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.packages import find_executable, find_share

MAX_NESTING = 32
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ESCAPABLE = "()'\"$"


@dataclass(frozen=True)
class Call:
    """One substitution with its arguments, not yet evaluated."""

    name: str
    arguments: "tuple[Template, ...]"


Template = tuple[str | Call, ...]


@dataclass
class Scope:
    """What substitutions see: launch configurations and environment."""

    variables: dict[str, str]
    environment: MutableMapping[str, str]
    global_parameters: list[tuple[str, bool | int | float | str]] = field(default_factory=list)
    parameters_inherited: bool = False

    def copy(self) -> "Scope":
        """Returns a scope whose changes do not reach this one."""
        parameters = list(self.global_parameters)
        return Scope(dict(self.variables), dict(self.environment), parameters, bool(parameters))


def parse(text: str) -> Template:
    """Parses attribute text into literal pieces and substitutions.

    Raises:
        LaunchError: the grammar is broken, or a substitution is unknown or has the wrong number of arguments.
    """
    return _Reader(text).template()


def expand(template: Template, scope: Scope) -> str:
    """Evaluates a parsed text.

    Raises:
        LaunchError: a variable, package or executable does not exist, or a value has a wrong type.
    """
    return "".join(piece if isinstance(piece, str) else _evaluate(piece, scope) for piece in template)


def is_literal(template: Template) -> bool:
    """Tells whether the text has no substitution in it."""
    return all(isinstance(piece, str) for piece in template)


def to_condition(text: str) -> bool:
    """Reads the text of an `if` attribute.

    Raises:
        LaunchError: the text is not true, false, 1 or 0.
    """
    word = text.strip().lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise LaunchError(f"a condition must be true, false, 1 or 0, not '{text}'")


def to_bool(text: str) -> bool:
    """Reads a truth value by launch's rules for typed values: 1, 0 or a YAML boolean.

    Raises:
        LaunchError: the text is none of these.
    """
    if text in ("1", "0"):
        return text == "1"
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    if isinstance(value, bool):
        return value
    raise LaunchError(f"expected a truth value (true, false, 1, 0), not '{text}'")


class _Reader:
    """Recursive-descent reader; one instance per text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def _peek(self, token: str) -> bool:
        return self._text.startswith(token, self._at)

    def _error(self, problem: str) -> LaunchError:
        return LaunchError(f"{problem} at character {self._at + 1} of '{self._text}'")

    def template(self) -> Template:
        pieces: list[str | Call] = []
        literal = ""
        while self._at < len(self._text):
            if self._peek("\\\\$("):
                raise self._error("an escaped backslash before '$(' is ambiguous")
            if self._peek("$("):
                pieces += [literal, self._call("")]
                literal = ""
            elif self._peek("\\") and self._text[self._at + 1 : self._at + 2] not in ("", "\n"):
                literal += self._text[self._at + 1]
                self._at += 2
            else:
                literal += self._text[self._at]
                self._at += 1
        return tuple(piece for piece in (*pieces, literal) if piece != "")

    def _call(self, quote: str) -> Call:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error("substitutions nested too deeply")
        self._at += 2
        match = _IDENTIFIER.match(self._text, self._at)
        if match is None:
            raise self._error("expected the name of a substitution")
        name = match.group()
        self._at = match.end()
        arguments: list[Template] = []
        while self._peek(" "):
            self._at += 1
            arguments.append(self._argument(quote))
        if not self._peek(")"):
            raise self._error(f"expected ' ' or ')' in $({name} ...)")
        self._at += 1
        self._depth -= 1
        known = _FUNCTIONS.get(name)
        if known is None:
            raise LaunchError(f"unknown substitution $({name} ...); supported: {', '.join(sorted(_FUNCTIONS))}")
        if not known[0] <= len(arguments) <= known[1]:
            count = f"{known[0]}" if known[0] == known[1] else f"{known[0]} to {known[1]}"
            raise LaunchError(f"$({name} ...) takes {count} arguments, {len(arguments)} given in '{self._text}'")
        return Call(name, tuple(arguments))

    def _argument(self, quote: str) -> Template:
        # A quoted string cannot hold another quoted argument: launch's grammar has no such production.
        if not quote and (self._peek("'") or self._peek('"')):
            opening = self._text[self._at]
            self._at += 1
            value = self._pieces(opening, stop=opening)
            if not self._peek(opening):
                raise self._error(f"missing closing {opening}")
            self._at += 1
            return value
        value = self._pieces(quote, stop=" ()'\"" if not quote else f" (){quote}")
        if not value:
            raise self._error("expected an argument (exactly one space goes between two)")
        return value

    def _pieces(self, quote: str, stop: str) -> Template:
        pieces: list[str | Call] = []
        literal = ""
        while self._at < len(self._text) and self._text[self._at] not in stop:
            if self._peek("$("):
                pieces += [literal, self._call(quote)]
                literal = ""
                continue
            if self._peek("\\"):
                self._at += 1
                if self._text[self._at : self._at + 1] not in tuple(_ESCAPABLE):
                    raise self._error(f"in a substitution a backslash goes only before one of {_ESCAPABLE}")
            literal += self._text[self._at]
            self._at += 1
        return tuple(piece for piece in (*pieces, literal) if piece != "")


def _evaluate(call: Call, scope: Scope) -> str:
    return _FUNCTIONS[call.name][2](scope, call.arguments)


def _look_up(kind: str, table: Mapping[str, str], scope: Scope, arguments: tuple[Template, ...]) -> str:
    name = expand(arguments[0], scope)
    if name in table:
        return table[name]
    if len(arguments) == 2:
        return expand(arguments[1], scope)
    raise LaunchError(f"{kind} '{name}' does not exist")


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _both(scope: Scope, arguments: tuple[Template, ...]) -> tuple[bool, bool]:
    """Reads both truth values: as in launch, a wrong second one is an error whatever the first one is."""
    return to_bool(expand(arguments[0], scope)), to_bool(expand(arguments[1], scope))


def _file_content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot read {path}: {error}") from error


def _equals(left: str, right: str) -> bool:
    """Compares as launch does: as truth values, else as numbers, else as text."""
    truths = {"true": True, "1": True, "false": False, "0": False}
    if left.lower() in truths and right.lower() in truths:
        return truths[left.lower()] == truths[right.lower()]
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right


_Function = Callable[[Scope, tuple[Template, ...]], str]

# name: (fewest arguments, most arguments, function)
_FUNCTIONS: dict[str, tuple[int, int, _Function]] = {
    "var": (1, 2, lambda s, a: _look_up("launch configuration", s.variables, s, a)),
    "env": (1, 2, lambda s, a: _look_up("environment variable", s.environment, s, a)),
    "exec-in-pkg": (2, 2, lambda s, a: str(find_executable(expand(a[1], s), expand(a[0], s), s.environment))),
    "file-content": (1, 1, lambda s, a: _file_content(expand(a[0], s))),
    "find-pkg-share": (1, 1, lambda s, a: str(find_share(expand(a[0], s), s.environment))),
    "and": (2, 2, lambda s, a: _bool_text(all(_both(s, a)))),
    "equals": (2, 2, lambda s, a: _bool_text(_equals(expand(a[0], s), expand(a[1], s)))),
}
