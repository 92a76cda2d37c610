"""Every command in the documents can be typed: its options, launch arguments, modules and targets exist."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from salus_vla.cli.main import build_parser
from salus_vla.ros.launch.launch_arguments import declared_arguments
from salus_vla.ros.launch.launch_document import read_launch_file

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# Words that stand for something in the documents.
STANDS_FOR = {"N": "1", "...": "x"}


def blocks(document: Path) -> Iterator[str]:
    """The shell commands of a document, with continued lines joined."""
    text = document.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language == "bash":
            yield re.sub(r"\\\n\s*", " ", block)


def commands(document: Path) -> Iterator[list[str]]:
    """Each simple command, as words; what stands before it (`for ...; do`, `source x &&`) is another."""
    for block in blocks(document):
        for line in block.splitlines():
            reader = shlex.shlex(line, posix=True, punctuation_chars=True)
            reader.whitespace_split = True
            words: list[str] = []
            for token in [*reader, ";"]:
                if token in ("do", "then") or set(token) <= set(";&|()<>"):
                    if words:
                        yield words
                    words = []
                else:
                    words.append(token)


FOUND = [(document, words) for document in DOCUMENTS for words in commands(document)]


def found(program: str) -> list[tuple[str, list[str]]]:
    """Commands of a program, with a name for the test."""
    return [
        (f"{document.relative_to(ROOT)}: {shlex.join(words)}", words[1:])
        for document, words in FOUND
        if words[0] == program
    ]


SALUS, PYTHON, MAKE = found("salus"), found("python"), found("make")
LAUNCH = [(name, words[2:]) for name, words in found("ros2") if words[:2] == ["launch", "salus_vla"]]


def test_there_are_commands() -> None:
    assert min(len(SALUS), len(PYTHON), len(MAKE), len(LAUNCH)) > 1
    assert len(SALUS) > 60


def parsed(words: list[str]) -> object:
    """0 where the command line can be read, `--help` among them."""
    try:
        build_parser().parse_args(words)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize(("name", "words"), SALUS, ids=[name for name, _ in SALUS])
def test_salus_takes_it(name: str, words: list[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = parsed([STANDS_FOR.get(word, word) for word in words])
    assert code == 0, said.getvalue()
    if words[0] == "launch":
        check_launch(words[1:])


@pytest.mark.parametrize(("name", "words"), LAUNCH, ids=[name for name, _ in LAUNCH])
def test_the_launch_file_declares_it(name: str, words: list[str]) -> None:
    check_launch(words)


def check_launch(words: list[str]) -> None:
    path = ROOT / "launch" / words[0]
    declared = {argument.name for argument in declared_arguments(read_launch_file(path))}
    assert {word.partition(":=")[0] for word in words[1:]} <= declared


@pytest.mark.parametrize(("name", "words"), PYTHON, ids=[name for name, _ in PYTHON])
def test_the_module_or_script_is_there(name: str, words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
    else:
        assert (ROOT / words[0]).is_file()


@pytest.mark.parametrize(("name", "words"), MAKE, ids=[name for name, _ in MAKE])
def test_the_target_is_there(name: str, words: list[str]) -> None:
    assert re.search(rf"^{words[0]}:.* ## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError):
        test_salus_takes_it("", ["collect", "--episodes", "1", "--no-such-option"])
    with pytest.raises(AssertionError):
        check_launch(["salus.launch.xml", "no_such:=1"])
