import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.cli.launch import add_parser, find_launch_file, launch_command
from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch import ProcessSpec, build_graph, format_arguments, parse_arguments
from salus_vla.ros.launch.launch_document import parse_launch_text

Build = Callable[..., list[ProcessSpec]]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Evaluate the body of a launch file against a prefix with the package `demo` and its executable `show`."""
    prefix = tmp_path / "prefix"
    (prefix / "share" / "demo").mkdir(parents=True)
    (prefix / "lib" / "demo").mkdir(parents=True)
    (prefix / "lib" / "demo" / "show").write_text("#!/bin/sh\n")
    (prefix / "lib" / "demo" / "show").chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))

    def build_body(body: str, **arguments: str) -> list[ProcessSpec]:
        path = tmp_path / "t.launch.xml"
        path.write_text(f"<launch>\n{body}\n</launch>")
        (tmp_path / "params").mkdir(exist_ok=True)
        return build_graph(path, arguments, tmp_path / "params")

    return build_body


def tail(spec: ProcessSpec) -> list[object]:
    """Return the arguments of a command, with the contents in place of the names of parameter files."""
    words: list[object] = list(spec.command[1:])
    for index, word in enumerate(words[:-1]):
        if word == "--params-file":
            words[index + 1] = yaml.safe_load(Path(str(words[index + 1])).read_text())
    return words


def test_command_of_a_node(build: Build, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("/**: {ros__parameters: {x: 1}}\n")
    (spec,) = build(
        """
        <arg name="rate" default="30"/><arg name="folder"/>
        <set_parameter name="use_sim_time" value="true"/>
        <set_env name="RATE" value="$(var rate)"/>
        <node pkg="demo" exec="show" name="camera" args="--fast $(var rate)x" output="screen">
          <param name="rate" value="$(var rate)"/>
          <param from="$(var folder)/more.yaml"/>
          <remap from="in" to="/out"/>
        </node>""",
        folder=str(tmp_path),
    )
    assert spec.label == "show-1"
    assert spec.command[0].endswith("lib/demo/show")
    assert tail(spec) == [
        *["--fast", "30x", "--ros-args", "-r", "__node:=camera", "-p", "use_sim_time:=True"],
        *["--params-file", {"/**": {"ros__parameters": {"rate": 30}}}],
        *["--params-file", {"/**": {"ros__parameters": {"x": 1}}}, "-r", "in:=/out"],
    ]
    assert spec.environment["RATE"] == "30"
    assert not spec.required


def test_a_required_node(build: Build) -> None:
    first, second = build("""
        <node pkg="demo" exec="show" on_exit="shutdown"/><node pkg="demo" exec="show"/>""")
    assert [(spec.label, spec.required) for spec in (first, second)] == [("show-1", True), ("show-2", False)]


def test_scopes(build: Build) -> None:
    inside, outside = build("""
        <arg name="a" default="1"/>
        <group>
          <arg name="b" default="2"/><set_env name="B" value="$(var b)"/><set_parameter name="p" value="3"/>
          <node pkg="demo" exec="show" args="$(var a) $(env B)"/>
        </group>
        <node pkg="demo" exec="show" args="$(var a) $(env B none) $(var b none)"/>""")
    assert tail(inside) == ["1", "2", "--ros-args", "-p", "p:=3"]
    assert tail(outside) == ["1", "none", "none", "--ros-args"]


def test_conditions(build: Build) -> None:
    body = """
        <arg name="on" default="true"/>
        <node pkg="demo" exec="show" args="1" if="$(var on)"/>
        <node pkg="demo" exec="show" args="2" if="$(equals $(var on) 0)"/>
        <group if="$(equals $(var on) 0)"><node pkg="demo" exec="show" args="3"/></group>
        <node pkg="demo" exec="show" args="4" unless="$(var on)"/>"""
    assert [spec.command[1] for spec in build(body)] == ["1"]
    assert [spec.command[1] for spec in build(body, on="0")] == ["2", "3", "4"]
    with pytest.raises(LaunchError, match="'if' and 'unless' cannot be used together"):
        build('<node pkg="demo" exec="show" if="1" unless="0"/>')


def test_arguments_of_the_command_line(build: Build) -> None:
    body = """<arg name="a"/><arg name="mode" default="x"><choice value="x"/><choice value="y"/></arg>
        <node pkg="demo" exec="show" args="$(var a) $(var mode)"/>"""
    assert tail(build(body, a="1", mode="y")[0])[:2] == ["1", "y"]
    with pytest.raises(LaunchError, match="required argument 'a' not given"):
        build(body)
    with pytest.raises(LaunchError, match="mode:=z is not one of the choices: x, y"):
        build(body, a="1", mode="z")
    with pytest.raises(LaunchError, match="has no argument b, c; declared: a, mode"):
        build(body, a="1", b="2", c="3")


def test_argument_words() -> None:
    assert parse_arguments(["a:=1", "b:=x:=y", "a:=2"]) == {"a": "2", "b": "x:=y"}
    for word in ("a", "a=1", ":=1", "a:="):
        with pytest.raises(LaunchError, match="expected name:=value"):
            parse_arguments([word])


def test_show_args(tmp_path: Path) -> None:
    path = tmp_path / "t.launch.xml"
    path.write_text("""<launch>
        <arg name="episodes" default="10" description="How many."/><arg name="need"/>
        <group if="0"><arg name="mode" description="How"><choice value="x"/></arg></group>
        <arg name="inner" default="$(env HOME)"/></launch>""")
    assert format_arguments(path) == (
        "Arguments (pass arguments as '<name>:=<value>'):\n\n"
        "    'episodes':\n        How many.\n        (default: '10')\n\n"
        "    'need':\n        no description given\n\n"
        "    'mode':*\n        How. Valid choices are: ['x']\n\n"
        "    'inner':\n        no description given\n        (default: '$(env HOME)')\n\n"
        "* argument(s) which are only used if specific conditions occur"
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<frob/>", "2: <frob>: unknown tag in <launch>; supported: arg, group, let, node"),
        ('<group if="0">\n<frob/></group>', "3: <frob>: unknown tag in <group>"),
        ('<node pkg="demo" exec="show" required="true"/>', "unknown attribute 'required'; supported: .*on_exit"),
        ('<node pkg="demo"/>', "missing attribute exec"),
        ('<node pkg="demo" exec="show"><param name="p"/></node>', "takes either name, value"),
        ('<node pkg="demo" exec="show"><param name="p" value="1" type="x"/></node>', "type must be one of"),
        ('<node pkg="demo" exec="show"><param from="x" allow_substs="true"/></node>', "unknown attribute"),
        ('<include file="x"/>', "unknown tag in <launch>"),
        ('<node pkg="demo" exec="show" respawn="true"/>', "unknown attribute 'respawn'"),
        ('<node pkg="demo" exec="show"><param from="/gone.yaml"/></node>', "<param>: parameter file /gone.yaml"),
        ('<node pkg="demo" exec="show" on_exit="respawn"/>', "on_exit must be 'shutdown'"),
        ('<node pkg="demo" exec="show" output="file"/>', "output must be one of"),
        ('<node pkg="demo" exec="show" name="bad-name"/>', "invalid node name 'bad-name'"),
        ('<node pkg="demo" exec="gone"/>', "executable 'gone' not found"),
        ('<node pkg="demo" exec="../demo/show"/>', "not found"),
        ('<node pkg="gone" exec="show"/>', "package 'gone' not found; searched"),
        ('<set_env name="a" value="$(var b)"/>', "2: <set_env>: launch configuration 'b' does not exist"),
        ('<set_env name="a" value="$(eval 1)"/>', "2: <set_env>: value: unknown substitution"),
        ('<group if="maybe"/>', "condition must be"),
        ('<arg name="a" default="z"><choice value="x"/></arg>', "not one of the choices"),
        ('<set_parameter name="l" value="[1]"/>', "set_parameter takes"),
        ("<group/>", "starts no process"),
        ("text", "text between tags: 'text'"),
        (
            '<set_parameter name="a" value="1"/><group><set_parameter name="b" value="1"/></group>',
            "ambiguous: use one level",
        ),
    ],
)
def test_refused_with_the_place(build: Build, body: str, problem: str) -> None:
    with pytest.raises(LaunchError, match=problem) as caught:
        build(body)
    assert str(caught.value).count("t.launch.xml:") <= 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"<launch>", ":1: not well-formed XML: no element found"),
        (b"<launch>\n<a></launch>", ":2: not well-formed XML: mismatched tag"),
        (b"", "no element found"),
        (b"<node/>", "root of a launch file must be <launch>"),
        (b"<!DOCTYPE launch [<!ENTITY a 'b'>]><launch>&a;</launch>", ":1: document type declarations are refused"),
        (b"<!DOCTYPE launch SYSTEM 'http://example.invalid/x'><launch/>", "document type declarations"),
        (b"<launch>&a;</launch>", "undefined entity"),
        (b"<?xml version='1.0' encoding='nope'?><launch/>", "unknown encoding"),
        (b"<launch>" + b"<group>" * 40 + b"</group>" * 40 + b"</launch>", "nested more than 32 deep"),
    ],
)
def test_bad_xml(text: bytes, problem: str) -> None:
    with pytest.raises(LaunchError, match=problem):
        parse_launch_text(text, Path("f.launch.xml"))


TAGS = st.sampled_from(["launch", "arg", "node", "group", "let", "include", "param", "remap", "set_parameter", "x"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["name", "value", "pkg", "exec", "if", "file", "from", "type", "default", "respawn", "on_exit"]),
    st.sampled_from(["", "1", "true", "a", "$(var a)", "$(env", "[1", "shutdown", "$(and 1 0)", "/x"]),
    max_size=4,
)


def to_xml(tag: str, attributes: dict[str, str], children: list[str]) -> str:
    words = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<{tag} {words}>{''.join(children)}</{tag}>"


XML = st.recursive(
    st.builds(to_xml, TAGS, ATTRIBUTES, st.just([])),
    lambda inner: st.builds(to_xml, TAGS, ATTRIBUTES, st.lists(inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None)
@given(XML.map(lambda body: f"<launch>{body}</launch>".encode()) | st.binary() | st.text().map(str.encode))
def test_any_text_is_a_graph_or_refused(text: bytes) -> None:
    with contextlib.suppress(LaunchError):
        assert parse_launch_text(text, Path("f.launch.xml")).tag == "launch"


@settings(deadline=None)
@given(st.lists(st.text(max_size=8) | st.tuples(st.text(max_size=3), st.text(max_size=3)).map(":=".join)))
def test_any_argument_words_are_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(LaunchError):
        assert all(name and value for name, value in parse_arguments(words).items())


def test_launch_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch_command(Path("f.launch.xml"), {"a": "1"})[1:] == [
        "-m",
        "salus_vla.ros.launch",
        "f.launch.xml",
        "a:=1",
    ]
    (tmp_path / "ros2").write_text("#!/bin/sh\n")
    (tmp_path / "ros2").chmod(0o755)
    expected = [str(tmp_path / "ros2"), "launch", "--noninteractive", "f.launch.xml", "a:=1"]
    assert launch_command(Path("f.launch.xml"), {"a": "1"}) == expected


def test_find_launch_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "share" / "salus_vla" / "launch"
    folder.mkdir(parents=True)
    (folder / "only_here.launch.xml").write_text("<launch/>")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert find_launch_file("only_here.launch.xml") == folder / "only_here.launch.xml"
    assert find_launch_file(str(folder / "only_here.launch.xml")) == folder / "only_here.launch.xml"
    with pytest.raises(LaunchError, match=r"'gone\.launch\.xml' not found; searched gone\.launch\.xml, .*share"):
        find_launch_file("gone.launch.xml")


@pytest.fixture
def command(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `salus launch` on a small launch file, without ros2 on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    build('<arg name="a" default="1"/><node pkg="demo" exec="show" args="$(var a)"/>')
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())

    def run_command(*words: str) -> int:
        args = parser.parse_args(["launch", *words])
        code: int = args.run(args)
        return code

    return run_command


def test_cli_prints_and_shows(command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "t.launch.xml")
    assert command("--print", path, "a:=x y") == 0
    assert capsys.readouterr().out == f"[show-1] {tmp_path}/prefix/lib/demo/show 'x y' --ros-args\n"
    assert command("--show-args", path) == 0
    assert "    'a':\n" in capsys.readouterr().out


def test_cli_runs(command: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(str(tmp_path / "t.launch.xml")) == 0
    assert "[INFO] [show-1]: process has finished cleanly" in capfd.readouterr().out


def test_cli_becomes_ros2_launch(command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ros2 = tmp_path / "bin" / "ros2"
    ros2.write_text("#!/bin/sh\n")
    ros2.chmod(0o755)
    calls: list[tuple[str, list[str]]] = []

    def execv(path: str, words: list[str]) -> None:
        calls.append((path, words))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    path = str(tmp_path / "t.launch.xml")
    with pytest.raises(SystemExit):
        command("--show-args", path, "a:=2")
    assert calls == [(str(ros2), [str(ros2), "launch", "--show-args", path, "a:=2"])]
    assert command("--builtin", path) == 0
