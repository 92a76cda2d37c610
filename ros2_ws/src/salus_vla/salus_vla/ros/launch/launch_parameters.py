"""ROS parameters in launch files: how their text gets a type, and the files that carry them to a node."""

from pathlib import Path

import yaml

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.substitution import Scope, expand, is_literal, parse, to_bool

Scalar = bool | int | float | str
Value = Scalar | list[bool] | list[int] | list[float] | list[str]

_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


def typed_value(text: str, type_name: str, scope: Scope) -> Value:
    """Gives the text of `<param value="...">` its value, by launch's rules.

    Text without substitutions is read as YAML once; the result of a substitution is read as YAML after it was
    expanded (so quotes around a substitution do not keep a string: `type="str"` does).

    Raises:
        LaunchError: the text does not fit the type, or is not a scalar or a list of equal scalars.
    """
    if type_name in _SCALARS:
        return _scalar(expand(parse(text), scope), type_name)
    value = _yaml(text)
    if isinstance(value, list):
        item_type = type_name.removeprefix("list_of_") if type_name != "yaml" else ""
        return _uniform([_item(entry, item_type, scope) for entry in value], item_type, text)
    if type_name != "yaml":
        raise LaunchError(f"'{text}' is not a list, type is {type_name}")
    if isinstance(value, str):
        template = parse(value)
        expanded = expand(template, scope)
        value = expanded if is_literal(template) else _strict_yaml(expanded)
    return _allowed(value, text)


def global_value(text: str, scope: Scope) -> Scalar:
    """Gives the text of `<set_parameter value="...">` its value.

    Raises:
        LaunchError: the value is not a scalar; launch writes lists here in a form that nodes cannot read.
    """
    expanded = expand(parse(text), scope)
    value = _strict_yaml(expanded)
    if not isinstance(value, bool | int | float | str) or value == "":
        raise LaunchError(f"set_parameter takes a bool, int, float or non-empty string, not '{expanded}'")
    return value


class ParameterFiles:
    """Writes inline parameters to files in one folder, in the form that a node's `--params-file` reads."""

    def __init__(self, folder: Path) -> None:
        """Uses `folder`, which the caller removes when the nodes have ended."""
        self._folder = folder
        self._count = 0

    def write(self, name: str, value: Value) -> Path:
        """Writes one parameter, for whatever node reads it, and returns the file."""
        self._count += 1
        path = self._folder / f"launch_params_{self._count}.yaml"
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": {name: value}}}), encoding="utf-8")
        return path


def _yaml(text: str, *, strict: bool = False) -> object:
    """Reads YAML; text that is not YAML stays text (such as '@x'), unless `strict`."""
    if not text:
        return text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if strict:
            raise LaunchError(f"'{text}' is not YAML (type=\"str\" keeps any text): {error}") from error
        return text


def _strict_yaml(text: str) -> object:
    return _yaml(text, strict=True)


def _scalar(text: str, type_name: str) -> Scalar:
    try:
        if type_name == "bool":
            return to_bool(text)
        if type_name == "int":
            return int(text)
        return float(text) if type_name == "float" else text
    except (ValueError, LaunchError) as error:
        raise LaunchError(f"'{text}' is not a {type_name}") from error


def _item(entry: object, item_type: str, scope: Scope) -> object:
    if not isinstance(entry, str):
        return entry
    template = parse(entry)
    text = expand(template, scope)
    if is_literal(template):
        return text
    return _scalar(text, item_type) if item_type else _strict_yaml(text)


def _uniform(items: list[object], item_type: str, text: str) -> Value:
    expected = _SCALARS[item_type] if item_type else next((type(item) for item in items), str)
    if expected not in _SCALARS.values() or any(type(item) is not expected for item in items):
        raise LaunchError(f"'{text}' is not a list of {item_type or 'bools, ints, floats or strings of one type'}")
    return items  # type: ignore[return-value]


def _allowed(value: object, text: str) -> Value:
    if isinstance(value, list):
        return _uniform(value, "", text)
    if isinstance(value, bool | int | float | str):
        return value
    raise LaunchError(f"'{text}' is neither a scalar nor a list of scalars (type=\"str\" keeps any text)")
