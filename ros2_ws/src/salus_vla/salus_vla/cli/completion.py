"""`salus completion bash|zsh`: what the shell needs to complete commands, options, choices and paths."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from salus_vla.cli.commands import SUMMARIES

_SHELLS = ("bash", "zsh")
_DESCRIPTION = """\
Prints a script that completes commands, options, their choices and paths. It is made from the options themselves and
does not run `salus`, so that completing is immediate; make it again after an update.
"""
_EPILOG = """\
examples:
  source <(salus completion bash)                                                    # for this shell
  salus completion bash > ~/.local/share/bash-completion/completions/salus           # for every bash from now on
  salus completion zsh > ~/.zfunc/_salus      # with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], root: argparse.ArgumentParser) -> None:
    """Adds `completion`, of all commands that `root` has by the time it runs."""
    parser = subparsers.add_parser(
        "completion",
        help=SUMMARIES["completion"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS, help="shell that reads the script")
    parser.set_defaults(run=lambda arguments: run(root, arguments.shell))


def run(parser: argparse.ArgumentParser, shell: str) -> int:
    """Prints the script."""
    print(script(parser, shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script for `bash` or `zsh` of a parser with all its commands, whose descriptions become short."""
    import shtab  # a tenth of a second, and of no use to the other commands

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        if isinstance(action, argparse._SubParsersAction):
            for command in action._choices_actions:  # shtab would show the first line of a long description
                action.choices[command.dest].description = command.help
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its commands."""
    for action in parser._actions:  # argparse has no public way
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
