"""Files that somebody else wrote: they are refused by name, and nothing in them is run, fetched or blown up."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import salus_vla
from salus_vla.config.paths import read_config
from salus_vla.contract.errors import ConfigError, LaunchError, RecordingError
from salus_vla.data.bags.bag_metadata import METADATA_FILE, from_yaml
from salus_vla.data.bags.run_info import read_bag
from salus_vla.ros.launch.launch_document import parse_launch_text
from salus_vla.ros.launch.launch_parameters import typed_value
from salus_vla.ros.launch.substitution import Scope

PACKAGE = Path(salus_vla.__file__).resolve().parent
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
METADATA = """\
rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  duration: {{nanoseconds: 1}}
  message_count: 0
  topics_with_message_count: []
  custom_data: {custom_data}
"""


def hostile_yaml(target: Path) -> dict[str, str]:
    return {
        "a call": f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{target}]]",
        "an object": f"!!python/object/new:os.system ['touch {target}']",
        "a date that is none": "2001-99-99",
        "deep nesting": "[" * 1000,
        "an endless list": "&a [*a]",
        "a bomb of aliases": BOMB,
        "no text": "\x00",
    }


CASES = sorted(hostile_yaml(Path()))


class _Config(BaseModel):
    a: int


@pytest.mark.parametrize("case", CASES)
def test_hostile_bag_metadata_is_refused(tmp_path: Path, case: str) -> None:
    text = hostile_yaml(tmp_path / "exploded")[case]
    with pytest.raises(yaml.YAMLError):
        from_yaml(text)
    (tmp_path / METADATA_FILE).write_text(text)
    with pytest.raises(RecordingError, match=r"metadata\.yaml: is not the metadata of a rosbag2 bag"):
        read_bag(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_bomb_in_the_provenance_is_refused_and_plain_provenance_is_not(tmp_path: Path) -> None:
    file = tmp_path / METADATA_FILE
    file.write_text(METADATA.format(custom_data="{git: abc}"))
    assert read_bag(tmp_path).custom_data == {"git": "abc"}
    file.write_text(BOMB + METADATA.format(custom_data="{git: *a11}"))
    with pytest.raises(RecordingError, match="more than"):
        read_bag(tmp_path)


@pytest.mark.parametrize("case", sorted({*CASES} - {"a bomb of aliases"}))  # it is the user's own file
def test_hostile_configuration_is_refused(tmp_path: Path, case: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(hostile_yaml(tmp_path / "exploded")[case])
    with pytest.raises(ConfigError, match=r"mine\.yaml: "):
        read_config(file, _Config)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("case", ["a call", "an object"])
def test_hostile_launch_values_are_only_text(tmp_path: Path, case: str) -> None:
    text = hostile_yaml(tmp_path / "exploded")[case].replace("'", "")
    assert typed_value(text, "yaml", Scope({}, {}, tmp_path)) == text
    assert not (tmp_path / "exploded").exists()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="&*a![]{}:,-?|> \n\t'\"0#%", max_size=60))
def test_any_text_gives_data_or_a_yaml_error(text: str) -> None:
    with suppress(yaml.YAMLError):
        from_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE launch [<!ENTITY x SYSTEM "file:///etc/passwd">]><launch><let name="a" value="&x;"/></launch>',
        '<!DOCTYPE launch SYSTEM "http://127.0.0.1:9/launch.dtd"><launch/>',
        '<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;">]><launch><let name="a" value="&b;"/></launch>',
    ],
)
def test_a_launch_file_with_a_document_type_is_refused(text: str) -> None:
    with pytest.raises(LaunchError, match=r"sent\.xml:1: document type declarations are refused"):
        parse_launch_text(text.encode(), Path("sent.xml"))


ALLOWED = {"yaml.safe_load", "yaml.safe_dump", "yaml.dump", "yaml.SafeDumper", "yaml.YAMLError"}
ALLOWED |= {"yaml.SafeLoader", "yaml.MappingNode", "yaml.ScalarNode"}  # the same, with keys that may not repeat
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "lxml", "xmlrpc"}
XML = {"ros/launch/launch_document.py"}  # refuses document types


def test_there_is_no_other_parser_in_the_package() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                root = module.split(".")[0]
                if root in FORBIDDEN_MODULES or (root == "xml" and name not in XML):
                    found.append(f"{name}: import {module}")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                text = f"{node.value.id}.{node.attr}"
                unsafe = node.value.id == "yaml" and text not in ALLOWED
                if unsafe or text in {"torch.load", "pickle.loads"}:
                    found.append(f"{name}: {text}")
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "trust_remote_code"}:
                found += [f"{name}: {node.arg}"] if getattr(node.value, "value", None) is not False else []
            if isinstance(node, ast.Name) and node.id in {"eval", "exec"}:
                found.append(f"{name}: {node.id}")
    assert found == []
