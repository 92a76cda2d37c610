"""Parses `salus` and runs one of its commands; errors become one line and an exit code.

Exit codes: 0 done, 1 an error that was explained, 2 wrong arguments, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

from salus_vla import __version__
from salus_vla.cli import completion
from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.display import drop, outlived_display
from salus_vla.contract.errors import SalusError

_COMPLETION = "completion"
_DESCRIPTION = """\
SALUS watches a vision-language-action policy drive a robot arm, says how unsure it is, and records everything.
"""


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of a command line; a command sets `run`, which takes the parsed arguments and returns the exit code.

    Args:
        words: the command line. Only its command has options, so that a line starts in a quarter of the time; without
            words every command has.
    """
    parser = argparse.ArgumentParser(prog="salus", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"salus {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = next((word for word in words or () if not word.startswith("-")), None)
    whole = words is None or asked == _COMPLETION
    for name, summary in SUMMARIES.items():
        if name == _COMPLETION:
            completion.add_parser(commands, parser)
        elif whole or name == asked:
            import_module(f"salus_vla.cli.{name.replace('-', '_')}").add_parser(commands)
        else:
            commands.add_parser(name, help=summary)
    parser.set_defaults(makes=False)  # whether what is made outlives a display that fails
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `salus` and returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser(words)
    for word in words:
        if not _is_text(word):
            parser.error(f"argument {word!r}: expected text in UTF-8")
    arguments = parser.parse_args(words)
    try:
        with outlived_display() if arguments.makes else nullcontext():
            code = int(arguments.run(arguments))
        sys.stdout.flush()  # a full disk may show only now
        return code
    except SalusError as error:
        print(f"salus: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        drop(sys.stdout)
        return 1
    except OSError as error:
        # A name that is too long or a disk that fails may show at any look at a path, a full device at any output.
        where = error.filename if error.filename is not None else "a file or standard output cannot be written or read"
        print(f"salus: error: {where}: {error.strerror or error}", file=sys.stderr)
        if error.filename is None:
            drop(sys.stdout)
        return 1
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # it has no name of a file; its module takes a second to import
            raise
        print(f"salus: error: weights cannot be written or read: {error}", file=sys.stderr)
        return 1


def _is_text(word: str) -> bool:
    """Whether it can be stored; what the shell gave in another encoding cannot."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
