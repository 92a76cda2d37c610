"""Every parameter of every node and every key of contract.yaml: a wrong value is an error that names it."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hostile import VALUES, at, damaged, edited, places, without
from salus_vla.config.parameters import checked_parameters, parameter_names
from salus_vla.config.params_file import PARAMS_FILE, check_params_file
from salus_vla.config.paths import CONTRACT_FILE, config_dir
from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract.errors import ConfigError
from salus_vla.ros import nodes


def dataclasses_of_parameters() -> list[type[Any]]:
    """Every class called ...Parameters in the package of the nodes."""
    modules = [import_module(f"{nodes.__name__}.{module.name}") for module in iter_modules(nodes.__path__)]
    found = {cls for module in modules for cls in vars(module).values() if isinstance(cls, type) and is_dataclass(cls)}
    return sorted((cls for cls in found if cls.__name__.endswith("Parameters")), key=lambda cls: cls.__name__)


PARAMETERS = dataclasses_of_parameters()


# What a parameter can be on a command line or in a file: rcl knows these types.
ROS_VALUES = (
    st.sampled_from((None, b"\x00", [], [True], [1], [1.5], ["a"], ["", "\u202e"], ""))
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.lists(st.text(max_size=10), max_size=4)
)


@pytest.mark.parametrize("cls", PARAMETERS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_parameter_is_what_was_set_or_an_error_that_names_it(cls: type[Any], data: st.DataObject) -> None:
    known = parameter_names(cls)
    name = data.draw(st.sampled_from(sorted(known)))
    field, value = known[name], data.draw(ROS_VALUES)
    try:
        taken = getattr(checked_parameters("a_node", cls, {name: value}), field.name)
    except ConfigError as error:
        words = str(error)
        assert words.startswith(f"a_node: parameter '{name}' is ")
        assert "expected" in words
        return
    assert type(taken) is type(field.default)
    assert list(taken) == value if isinstance(taken, tuple) else taken == value
    low, high = field.metadata["bounds"] or (-math.inf, math.inf)
    assert not isinstance(taken, int | float) or low <= taken <= high
    assert taken in (field.metadata["choices"] or (taken,))


@pytest.mark.parametrize("cls", PARAMETERS)
@settings(max_examples=50, deadline=None)
@given(name=st.text(max_size=20))
def test_a_parameter_that_no_node_reads_is_an_error(cls: type[Any], name: str) -> None:
    if name in parameter_names(cls):
        return
    with pytest.raises(ConfigError, match=r"a_node: unknown parameter .* known are"):
        checked_parameters("a_node", cls, {name: 1})


def test_there_are_parameters_for_every_section_of_the_shipped_file() -> None:
    sections = yaml.safe_load((config_dir() / PARAMS_FILE).read_text()).values()
    names = [parameter_names(cls).keys() for cls in PARAMETERS]
    assert all(any(section["ros__parameters"].keys() <= known for known in names) for section in sections)


# -- parameter files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{vla_ensembel: {ros__parameters: {model.dtype: fp32}}}", "vla_ensembel: no node has this name"),
        ("{episode: {parameters: {seed: 1}}}", "episode.ros__parameters: Field required"),
        ("{episode: {ros__parameters: {seed: 1}, sed: 2}}", "episode.sed: Extra inputs are not permitted"),
        ("{episode: {ros__parameters: [seed]}}", "episode.ros__parameters: Input should be a valid dictionary"),
        ("{robot: {episode: {ros__parameters: {seed: 1}}}}", "robot.ros__parameters: Field required"),
        ("{episode: {ros__parameters: {}}, episode: {ros__parameters: {}}}", "'episode' appears twice"),
        ("- episode", "(top level)"),
        ("", "(top level)"),
        ("episode: {ros__parameters: {seed: 1}\n", "is not valid YAML"),
    ],
)  # fmt: skip
def test_a_section_that_no_node_reads_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        check_params_file(path)
    assert f"{path}: " in str(error.value)
    assert words in str(error.value)


def test_sections_of_nodes_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{/episode: {ros__parameters: {seed: 1}}, /**: {ros__parameters: {use_sim_time: false}}}")
    check_params_file(path)
    check_params_file(config_dir() / PARAMS_FILE)


# -- contract.yaml -----------------------------------------------------------------------------------------------------

TREE = yaml.safe_load((config_dir() / CONTRACT_FILE).read_text(encoding="utf-8"))
PLACES = sorted(places(TREE), key=str)
NUMBERS = [path for path in PLACES if isinstance(at(TREE, path), int | float)]
SECTIONS = [path for path in PLACES if isinstance(at(TREE, path), dict) and path != ("profiles",)]


def refusal(tree: Any) -> str:
    """Key and words of each error; `read_config` puts the file before them (tests/config/test_scene.py)."""
    with pytest.raises(ValidationError) as error:
        Scene.model_validate(tree)
    return "\n".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.value.errors())


def alike(value: Any, other: Any) -> bool:
    numbers = type(value) in (int, float, str) and isinstance(other, int | float)  # pydantic reads numbers in text
    return numbers or isinstance(value, type(other))


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=st.sampled_from(VALUES))
def test_a_value_of_another_kind_is_refused_with_its_section(path: tuple[Any, ...], value: Any) -> None:
    left_out = path[0] == "profiles" and value in (None, {})  # a profile lists what it changes
    assume(not alike(value, at(TREE, path)) and not left_out)
    assert path[0] in refusal(edited(TREE, path, value))


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(NUMBERS), value=st.sampled_from((float("nan"), float("inf"), -float("inf"), "x", "nan")))
def test_a_number_is_finite(path: tuple[Any, ...], value: Any) -> None:
    assert ".".join(map(str, path)) in refusal(edited(TREE, path, value))


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(SECTIONS), name=st.text(min_size=1, max_size=9))
def test_a_key_that_nobody_reads_is_refused(path: tuple[Any, ...], name: str) -> None:
    assume(name not in at(TREE, path))
    assert f"{'.'.join(map(str, path))}.{name}: " in refusal(edited(TREE, (*path, name), 1.0))


@pytest.mark.parametrize("path", [path for path in PLACES if path[0] != "profiles"], ids=str)
def test_a_value_that_is_missing_is_refused(path: tuple[Any, ...]) -> None:
    assert path[0] in refusal(without(TREE, path))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged((config_dir() / CONTRACT_FILE).read_bytes()))
def test_a_damaged_file_is_a_scene_or_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CONTRACT_FILE
    path.write_bytes(content)
    try:
        load_scene(path)
    except ConfigError as error:
        words = str(error)
    else:
        words = str(path)
    assert str(path) in words


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("rates", "frame_dt"), 0.04, "rates: Value error, frame_dt must be 0.02"),
        (("rates", "frames_per_decision"), 10, "rates: Value error, frames_per_decision must be 5"),
        (("rates", "physics_dt", "mujoco"), 1e-9, "rates.physics_dt.mujoco: "),
        (("objects", "red_cube", "mass"), True, "mass: expected numbers or text, not true or false"),
        (("objects", "red_cube", "rgba"), [True, 0, 0, 1], "rgba: expected numbers or text, not true or false"),
    ],
)
def test_what_would_silently_be_something_else_is_refused(path: tuple[str, ...], value: Any, words: str) -> None:
    assert words in refusal(edited(TREE, path, value))


def test_a_key_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / CONTRACT_FILE
    content = (config_dir() / CONTRACT_FILE).read_text(encoding="utf-8")
    path.write_text(f"{content}\nrates: {{}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{content.count(chr(10)) + 2}: the key 'rates' appears twice"):
        load_scene(path)
