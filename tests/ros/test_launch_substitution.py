"""The results of the literal cases were taken from `ros2 launch` of Jazzy (launch 3.4.3)."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.commandline import split_words
from salus_vla.ros.launch.launch_parameters import global_value, typed_value
from salus_vla.ros.launch.packages import find_executable
from salus_vla.ros.launch.substitution import Scope, expand, is_literal, parse, to_bool, to_condition


def scope(**variables: str) -> Scope:
    return Scope({"a": "1", "s": "x y", "e": "", "t": "true", **variables}, {"HOME": "/home/me"})


def evaluate(text: str) -> str:
    return expand(parse(text), scope())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain $ 5$ text", "plain $ 5$ text"),
        ("$(var a)$(var s)b", "1x yb"),
        ("$(var nope $(var s))", "x y"),
        ("$(var $(var nope a))", "1"),
        ("$(env HOME)/x", "/home/me/x"),
        ("$(env NOPE '')", ""),
        ("$(env NOPE 'a b')", "a b"),
        ("$(env NOPE \"a 'b'\")", "a 'b'"),
        ("$(env NOPE '$(var s) and $(var nope z)')", "x y and z"),
        ("$(env NOPE it\\'s)", "it's"),
        ("$(env NOPE a\\(b\\))", "a(b)"),
        ("$(env NOPE 'a(b)')", "a(b)"),
        ("$(env NOPE 5$)", "5$"),
        ("\\$(var a)", "$(var a)"),
        ("$$(var a)", "$1"),
        ("a\\nb", "anb"),
        ("trailing\\", "trailing\\"),
        ("$(equals 1 true)", "true"),
        ("$(equals 1.0 1)", "true"),
        ("$(equals a b)", "false"),
        ("$(equals $(var s) 'x y')", "true"),
        ("$(equals '' '')", "true"),
        ("$(and 1 true)", "true"),
        ("$(and 0 true)", "false"),
    ],
)
def test_value(text: str, result: str) -> None:
    assert evaluate(text) == result


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$(var  a)", "exactly one space"),
        ("$(var a )", "exactly one space"),
        ("$(var a", "expected ' ' or '\\)'"),
        ("$(var 'a)", "missing closing '"),
        ("$(env NOPE a'b')", "expected ' ' or '\\)'"),
        ("$(env NOPE a\\nb)", "backslash"),
        ("\\\\$(var a)", "ambiguous"),
        ("$()", "expected the name"),
        ("$(1a)", "expected the name"),
        ("$(eval '1 + 1')", "unknown substitution.*supported: and, env"),
        ("$(command ls)", "unknown substitution"),
        ("$(any 1 0)", "unknown substitution"),
        ("$(var)", "takes 1 to 2 arguments, 0 given"),
        ("$(and 1 1 1)", "takes 2 arguments, 3 given"),
        ("$(var " * 40 + "a" + ")" * 40, "nested too deeply"),
        ("$(var nope)", "launch configuration 'nope' does not exist"),
        ("$(env NOPE)", "environment variable 'NOPE' does not exist"),
        ("$(and maybe 1)", "expected a truth value"),
        ("$(and 1 maybe)", "expected a truth value"),
        ("$(find-pkg-share nope)", "package 'nope' not found; searched nothing"),
        ("$(find-pkg-share ..)", "not found"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(LaunchError, match=problem):
        evaluate(text)


def test_packages_on_the_prefix_path(tmp_path: Path) -> None:
    for prefix in ("first", "second"):
        (tmp_path / prefix / "lib" / "demo").mkdir(parents=True)
    (tmp_path / "second" / "share" / "demo").mkdir(parents=True)
    program = tmp_path / "second" / "lib" / "demo" / "go"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    here = Scope({}, {"AMENT_PREFIX_PATH": f"{tmp_path}/first:{tmp_path}/second"})
    assert expand(parse("$(find-pkg-share demo)"), here) == f"{tmp_path}/second/share/demo"
    assert find_executable("demo", "go", here.environment) == program
    assert expand(parse("$(exec-in-pkg go demo)"), here) == str(program)
    with pytest.raises(LaunchError, match="executable 'gone' not found"):
        expand(parse("$(exec-in-pkg gone demo)"), here)
    with pytest.raises(LaunchError, match=r"'gone' not found in .*second/lib/demo \(there: go\)"):
        find_executable("demo", "gone", here.environment)
    with pytest.raises(LaunchError, match=f"searched {tmp_path}/first, {tmp_path}/second"):
        expand(parse("$(find-pkg-share other)"), here)


@pytest.mark.parametrize(("text", "result"), [("True", True), (" 1 ", True), ("FALSE", False), ("0", False)])
def test_condition(text: str, result: bool) -> None:
    assert to_condition(text) is result


@pytest.mark.parametrize("text", ["", "yes", "on", "2", "'true'"])
def test_no_condition(text: str) -> None:
    with pytest.raises(LaunchError, match="must be true, false, 1 or 0"):
        to_condition(text)


@pytest.mark.parametrize("text", ["", "2", "'true'", "[", "maybe"])
def test_no_bool(text: str) -> None:
    with pytest.raises(LaunchError, match="expected a truth value"):
        to_bool(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a 'b c' $(var s) pre$(var a)post -x", ["a", "b c", "x y", "pre1post", "-x"]),
        ("x  $(var a)  $(var s) ", ["x", "1", "x y"]),
        ("$(var s)", ["x y"]),
        (" $(var a)", ["", "1"]),
        ("'' b", ["", "b"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text, scope()) == words


def test_quotes_around_a_substitution_are_refused() -> None:
    with pytest.raises(LaunchError, match="quotes cannot enclose a substitution"):
        split_words("x '$(var s)'", scope())


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ("1", "yaml", 1),
        ("'1'", "yaml", "1"),
        ("'1'", "str", "'1'"),
        ("1", "str", "1"),
        ("$(var a)", "yaml", 1),
        ("'$(var a)'", "yaml", 1),
        ("$(var a)", "str", "1"),
        ("$(var a)", "float", 1.0),
        ("$(var a)", "bool", True),
        ("1", "int", 1),
        ("on", "yaml", True),
        ("", "yaml", ""),
        ("$(var e)", "yaml", ""),
        ("1.5", "yaml", 1.5),
        ("1e3", "yaml", "1e3"),
        ("$(var s)", "yaml", "x y"),
        ("/a/$(var a)/b", "yaml", "/a/1/b"),
        ("@x", "yaml", "@x"),
        ("[1, 2]", "yaml", [1, 2]),
        ("[$(var a), 2]", "yaml", [1, 2]),
        ("[]", "yaml", []),
        ("['1', '2']", "list_of_str", ["1", "2"]),
        ("['$(var s)', b]", "list_of_str", ["x y", "b"]),
        ("$(equals 1 $(var a))", "yaml", True),
    ],
)
def test_parameter(text: str, type_name: str, value: object) -> None:
    result = typed_value(text, type_name, scope())
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("{a: 1}", "yaml"),
        ("null", "yaml"),
        ("2020-01-01", "yaml"),
        ("a: b", "yaml"),
        ("[1, 2.5]", "yaml"),
        ("[[1], [2]]", "yaml"),
        ("['a', '$(var a)']", "yaml"),
        ("x", "float"),
        ("1.5", "int"),
        ("maybe", "bool"),
        ("[1, 2]", "list_of_float"),
        ("1", "list_of_int"),
    ],
)
def test_parameter_refused(text: str, type_name: str) -> None:
    with pytest.raises(LaunchError):
        typed_value(text, type_name, scope())


def test_parameter_for_all_nodes() -> None:
    assert global_value("true", scope()) is True
    assert global_value("$(and 0 $(var t))", scope()) is False
    for text in ("[1, 2]", "", "{}", "a: [", "$(var s): 1"):
        with pytest.raises(LaunchError):
            global_value(text, scope())


ARGUMENT = st.text("ab1/.-_", min_size=1, max_size=6)
QUOTED = st.text("ab /.-_()", max_size=8).map(lambda text: f"'{text}'")


@st.composite
def expected_results(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a text of the grammar together with what it must evaluate to."""
    text, result = "", ""
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "var", "default", "quoted", "nested", "escape"]))
        word, quoted = draw(ARGUMENT), draw(QUOTED)
        if kind == "text":
            literal = draw(st.text(st.characters(codec="utf-8", exclude_characters="\\$"), max_size=6))
            text, result = text + literal, result + literal
        elif kind == "escape":
            text, result = text + "\\$(x)", result + "$(x)"
        else:
            piece, value = {
                "var": ("$(var s)", "x y"),
                "default": (f"$(env NOPE {word})", word),
                "quoted": (f"$(env NOPE {quoted})", quoted[1:-1]),
                "nested": (f"$(env NOPE {word}$(env NOPE {quoted}))", word + quoted[1:-1]),
            }[kind]
            text, result = text + piece, result + value
    return text, result


@settings(deadline=None)
@given(expected_results())
def test_every_text_of_the_grammar_has_its_value(case: tuple[str, str]) -> None:
    text, result = case
    assert expand(parse(text), scope()) == result


@settings(deadline=None)
@given(st.text(st.sampled_from("$() \\'\"abvarenvif-1")) | st.text())
def test_any_text_evaluates_or_is_refused(text: str) -> None:
    for function in (
        lambda: expand(parse(text), scope()),
        lambda: split_words(text, scope()),
        lambda: typed_value(text, "yaml", scope()),
        lambda: global_value(text, scope()),
    ):
        with contextlib.suppress(LaunchError):
            function()


@settings(deadline=None)
@given(st.text())
def test_text_without_dollar_and_backslash_stays_as_it_is(text: str) -> None:
    text = text.replace("$", "").replace("\\", "")
    assert is_literal(parse(text))
    assert expand(parse(text), scope()) == text


def test_the_content_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.urdf"
    file.write_text("<a b='$(var c)'>\n</a>\n")
    assert evaluate(f"$(file-content {file})") == "<a b='$(var c)'>\n</a>\n"
    with pytest.raises(LaunchError, match=f"cannot read {tmp_path}/gone: "):
        evaluate(f"$(file-content {tmp_path}/gone)")
