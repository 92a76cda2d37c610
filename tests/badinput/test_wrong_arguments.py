"""Every option and every path of every command: a wrong one ends with 1 or 2 and a line that names it."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salus_vla.cli.main import build_parser, main

Words = tuple[str, ...]


def leaves(parser: argparse.ArgumentParser, words: Words = ()) -> Iterator[tuple[Words, argparse.ArgumentParser]]:
    """The commands that do something, `("bag", "info")`, with their parsers."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*words, name))
    if not groups:
        yield words, parser


PARSERS = dict(leaves(build_parser()))
OPTIONS = [
    (words, action)
    for words, parser in PARSERS.items()
    for action in parser._actions
    if action.option_strings and action.nargs is None and action.type is not Path
]
CHECKED = [(words, action) for words, action in OPTIONS if action.type is not None or action.choices is not None]
HOSTILE = (
    st.sampled_from(("", " ", "nan", "inf", "-1", "1e400", "0x10", "1_0", "\u0663", "9" * 5000, "\n", "[/b]", "a,,b"))
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(max_size=20)
)  # fmt: skip


def least(words: Words, given: str = "") -> list[str]:
    """The command with what it cannot do without, except the option that is given anyhow."""
    arguments = list(words)
    for action in PARSERS[words]._actions:
        if action.option_strings and action.required and action.option_strings[-1] != given:
            arguments += [action.option_strings[-1], "1.parquet" if "parquet" in str(action.metavar) else "1"]
        elif not action.option_strings and action.nargs != "*":
            arguments.append(next(iter(action.choices)) if action.choices else "x.png")
    for group in PARSERS[words]._mutually_exclusive_groups:
        if group.required:
            arguments += [group._group_actions[0].option_strings[-1], "1"]
    return arguments


def parsed(arguments: list[str]) -> tuple[argparse.Namespace | None, str]:
    """What a command line gives, or None and the words about it."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            return build_parser().parse_args(arguments), ""
        except SystemExit as end:
            return None, said.getvalue() if end.code == 2 else f"ended with {end.code}"


@pytest.mark.parametrize("words", PARSERS, ids=" ".join)
def test_a_command_takes_the_least_it_needs(words: Words) -> None:
    assert parsed(least(words)) != (None, "")
    assert parsed(least(words))[0] is not None


@pytest.mark.parametrize(
    ("words", "action"), CHECKED, ids=[f"{' '.join(words)} {action.option_strings[-1]}" for words, action in CHECKED]
)
@settings(max_examples=15, deadline=None)
@given(text=HOSTILE)
@example(text="")
@example(text="nan")
@example(text="9" * 30)
def test_an_option_is_checked_or_named(words: Words, action: argparse.Action, text: str) -> None:
    option = action.option_strings[-1]
    found, said = parsed([*least(words, option), f"{option}={text}"])
    if found is None:
        assert f"argument {'/'.join(action.option_strings)}: " in said
        return
    value: Any = getattr(found, action.dest)
    assert action.choices is None or value in action.choices
    if action.type not in (int, float):  # these are checked where they are used, with the others of the command
        assert not isinstance(value, int) or abs(value) < 2**31
        assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, str) or value.strip()


@pytest.mark.parametrize("words", PARSERS, ids=" ".join)
def test_text_in_another_encoding_is_refused(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*least(words), "\udcff"])
    assert end.value.code == 2
    assert r"argument '\udcff': expected text in UTF-8" in capsys.readouterr().err


# Command lines with a path at {}; nothing is started where the path is no good.
PATHS = (
    "collect --episodes 1 --policy hold --out {}",
    "collect --episodes 1 --policy hold --out OUT --params-file {}",
    "collect --episodes 1 --policy hold --out {} --resume",
    "rollout --episodes 1 --policy hold --out {}",
    "rollout --episodes 1 --policy hold --out {} --resume",
    "launch --builtin --print {}",
    "bag info {}",
    "bag recover {}",
    "bag picture {} OUT.png",
    "bag export {} --csv OUT",
    "dataset export {} --out OUT",
    "dataset info {}",
    "evaluate {}",
    "report {}",
    "replay {}",
    "view {} --save OUT.rrd",
    "model fit-reference {} OUT",
    "model fit-reference MODEL {}",
)
BAD_PATHS = {"too long": "x" * 300, "below a file": "FILE/x", "a file": "FILE", "deep": "no/such/" * 40, "": "no_such"}


@pytest.mark.parametrize("kind", BAD_PATHS)
@pytest.mark.parametrize("line", PATHS)
def test_a_path_that_is_no_good_is_one_line(
    line: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind in ("deep", "") and "--out {}" in line and "--resume" not in line:
        return  # a folder that can be made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("text")
    (tmp_path / "MODEL").mkdir()
    (tmp_path / "MODEL" / "salus_model.json").write_text('{"members": ["a"]}')
    assert main(line.format(BAD_PATHS[kind]).split()) == 1
    (words,) = capsys.readouterr().err.splitlines()
    assert words.startswith("salus: error: ")
    assert Path(BAD_PATHS[kind]).name[:20] in words
