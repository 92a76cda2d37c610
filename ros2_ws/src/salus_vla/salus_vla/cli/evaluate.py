"""`salus evaluate`: success and failure rates, shift detection and failure prediction of runs."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import add_assumed_options, assumed_of, at_least, named
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract.errors import ConfigError
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.evaluation import FIRST_DECISIONS, Evaluation, Options, evaluate
from salus_vla.learning.evaluation.evaluation_report import write_report
from salus_vla.learning.evaluation.paired import paired_rows
from salus_vla.learning.evaluation.paired_report import PAIRED_TEXT, paired_tables, write_paired
from salus_vla.learning.evaluation.tables import Table, sections

_DESCRIPTION = f"""\
Says how episodes ended and what the safety signals knew of it. A RUN is a folder of `salus rollout` or `salus collect`;
give any number, of several profiles and several models, ensembles and their single members.

  outcomes              success and physical failures with 95 % Wilson intervals, by profile and over all shifts
  members               those of an ensemble that were run by themselves, beside it
  shift detection       AUROC of each signal, each shifted profile against the reference, over the first
                        {FIRST_DECISIONS} decisions and over the whole episode
  disagreement          how far the members disagree in each profile
  failure prediction    AUROC of each signal up to 1 s before the event, failed against succeeded episodes

With --paired BASE RUN, once for each profile, instead: the same seeds with two policies, what the second avoids and
what it causes, exact McNemar tests, bootstrap intervals, and the time of what both deliver.
"""
_EPILOG = """\
Runs with seeds from 900000 on are refused: these are reserved for acceptance, and nothing may be tuned on them.

examples:
  for profile in eval dark far_cube camera_moved; do
    salus rollout --model models/mine --profile $profile --episodes 200 --seed 5000 --no-images --run-id $profile
  done
  salus evaluate runs/eval runs/dark runs/far_cube runs/camera_moved --out results.md --figure results.png

exit codes: 0 evaluated, 1 a run is damaged, reserved or does not go with the others, 2 wrong arguments
"""
_SUFFIXES = (".md", ".json")
_PIPE_WIDTH = 200  # of the tables where nothing says how wide a line may be


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help=SUMMARIES["evaluate"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", type=Path, nargs="*", help="folders of runs")
    add(
        "--paired",
        metavar=("BASE", "RUN"),
        type=Path,
        nargs=2,
        action="append",
        default=[],
        help="compare two runs of one profile seed by seed; may be given several times",
    )
    add(
        "--out",
        metavar="FILE",
        type=named(*_SUFFIXES),
        action="append",
        default=[],
        help="write the report: Markdown (.md) or every number (.json); may be given twice",
    )
    add("--figure", metavar="FILE", type=named(".png"), help="draw outcomes and shift detection (.png)")
    add(
        "--reference",
        metavar="PROFILE",
        default=DEFAULT_PROFILE,
        help=f"profile that shifts are distinguished from (default: {DEFAULT_PROFILE})",
    )
    add(
        "--first",
        metavar="N",
        type=at_least(1),
        default=FIRST_DECISIONS,
        help=f"decisions of the first of the two windows of shift detection (default: {FIRST_DECISIONS})",
    )
    add("--acceptance", action="store_true", help="also evaluate runs with seeds that are reserved for acceptance")
    add_assumed_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates `arguments.runs`, prints tables, and writes what was asked for.

    Raises:
        ConfigError: the runs do not go together or have reserved seeds, or a file cannot be written there.
        RecordingError: a run cannot be read or is damaged, or a file cannot be written.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    files = [*arguments.out, *([arguments.figure] if arguments.figure else [])]
    for file in files:
        if not file.parent.is_dir():  # before an hour of reading
            raise ConfigError(f"{file}: cannot be written: there is no folder {file.parent}")
    if bool(arguments.runs) == bool(arguments.paired):
        raise ConfigError("give runs, or --paired BASE RUN, and not both")
    if arguments.paired:
        if arguments.figure:
            raise ConfigError("--figure: there is none of --paired")
        return _run_paired(arguments, console)
    options = Options(arguments.reference, arguments.first, arguments.acceptance, assumed_of(arguments))
    columns = (TextColumn("episodes read"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        evaluation = evaluate(
            arguments.runs,
            options,
            started=lambda total: progress.update(bar, total=total),
            advanced=lambda: progress.advance(bar),
        )
    # Before anything is printed: the reader of a pipe may close it early.
    for file in arguments.out:
        write_report(file, evaluation, _command(arguments))
    if arguments.figure:
        from salus_vla.learning.evaluation.evaluation_figure import plot_evaluation  # matplotlib: a second

        plot_evaluation(arguments.figure, evaluation)
    _print(console, evaluation)
    for file in files:
        console.print(f"written: {escape(str(file))}", soft_wrap=True, highlight=False)
    return 0


def _run_paired(arguments: argparse.Namespace, console: Console) -> int:
    paths = list(dict.fromkeys(path for pair in arguments.paired for path in pair))
    opened = dict(
        zip(paths, open_runs(paths, acceptance=arguments.acceptance, assumed=assumed_of(arguments)), strict=True)
    )
    rows = paired_rows((opened[base], opened[other]) for base, other in arguments.paired)
    for file in arguments.out:
        write_paired(file, rows, _command(arguments))
    for table in paired_tables(rows):
        console.print(f"\n[bold]{escape(table.title)}[/bold]", soft_wrap=True, highlight=False)
        console.print(_rich(table))
    console.print(" ".join(PAIRED_TEXT.split()), style="dim", highlight=False)
    for file in arguments.out:
        console.print(f"written: {escape(str(file))}", soft_wrap=True, highlight=False)
    return 0


def _print(console: Console, evaluation: Evaluation) -> None:
    for section in sections(evaluation):
        console.print()
        console.rule(f"[bold]{escape(section.title)}[/bold]", align="left")
        for text in section.text:
            console.print(escape(" ".join(text.split())), style="dim", highlight=False)
        for table in section.tables:
            console.print(f"\n[bold]{escape(table.title)}[/bold]", soft_wrap=True, highlight=False)
            for part in _parts(table, console.width):
                console.print(_rich(part))
    console.print()
    for note in evaluation.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True, highlight=False)


def _rich(table: Table) -> RichTable:
    result = RichTable(show_lines=True)
    for number, name in enumerate(table.head):
        result.add_column(escape(name), justify="right" if number else "left", no_wrap=True)
    for row in table.rows:
        result.add_row(*map(escape, row))
    return result


def _parts(table: Table, width: int) -> list[Table]:
    """The same below each other where it is too wide, each with the first column."""
    widths = [
        max(len(line) for row in (table.head, *table.rows) for line in row[index].split("\n")) + 3
        for index in range(len(table.head))
    ]
    chosen: list[list[int]] = [[]]
    for index in range(1, len(widths)):
        if chosen[-1] and widths[0] + sum(widths[i] for i in chosen[-1]) + widths[index] + 1 > width:
            chosen.append([])
        chosen[-1].append(index)
    return [
        Table(table.title, _picked(table.head, part), tuple(_picked(row, part) for row in table.rows))
        for part in chosen
    ]


def _picked(row: tuple[str, ...], indices: list[int]) -> tuple[str, ...]:
    return (row[0], *(row[index] for index in indices))


def _command(arguments: argparse.Namespace) -> str:
    """As it was typed, for the report."""
    parts = ["salus", "evaluate", *map(str, arguments.runs)]
    for base, other in arguments.paired:
        parts += ["--paired", str(base), str(other)]
    if arguments.reference != DEFAULT_PROFILE:
        parts += ["--reference", arguments.reference]
    if arguments.first != FIRST_DECISIONS:
        parts += ["--first", str(arguments.first)]
    if arguments.assume_outcome:
        parts += ["--assume-outcome", arguments.assume_outcome]
    if arguments.acceptance:
        parts.append("--acceptance")
    for file in arguments.out:
        parts += ["--out", str(file)]
    if arguments.figure:
        parts += ["--figure", str(arguments.figure)]
    return shlex.join(parts)
