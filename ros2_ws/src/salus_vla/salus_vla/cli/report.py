"""`salus report`: a run as HTML pages."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import add_assumed_options, assumed_of

_DESCRIPTION = """\
Writes a run of `salus collect` or `salus rollout` as HTML pages that need no network: index.html of the run (outcomes
with 95 % Wilson intervals, episodes with filters, signals by outcome, joint margins, throughput, gaps, provenance), and
a page for each episode (cameras, the twelve signals, commanded and measured joints, latency, gaps), linked from it.
"""
_EPILOG = """\
The pages hold copies of what was recorded, all pictures included: about 1 MB for an episode of 10 s. Move or send the
folder as a whole. Writing it again replaces the pages.

Runs with seeds from 900000 on are refused: these are reserved for acceptance, and nothing may be tuned on them.

exit codes: 0 written, 1 the run is damaged or reserved, or the folder cannot be written, 2 wrong arguments
"""
_FOLDER = "report"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `report`."""
    parser = subparsers.add_parser(
        "report",
        help=SUMMARIES["report"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("path", metavar="RUN", type=Path, help="folder of a run")
    add("--out", metavar="FOLDER", type=Path, help=f"folder for the pages (default: RUN/{_FOLDER})")
    add("--open", action="store_true", help="open the page of the run in the browser")
    add("--acceptance", action="store_true", help="also show a run with seeds that are reserved for acceptance")
    add_assumed_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the report of `arguments.path`.

    Raises:
        ConfigError: the run has reserved seeds.
        RecordingError: the run cannot be read or is damaged, or a page cannot be written.
    """
    from salus_vla.learning.evaluation.evaluated_runs import open_runs  # rosbags, pillow: half a second
    from salus_vla.views.report.write_report import write_run

    console = Console()
    (opened,) = open_runs([arguments.path], acceptance=arguments.acceptance, assumed=assumed_of(arguments))
    columns = (TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(opened.episodes))
        folder = arguments.out or arguments.path / _FOLDER
        index = write_run(opened, folder, advanced=lambda: progress.advance(bar))
    console.print(f"written: {escape(str(index))}", soft_wrap=True, highlight=False)
    if arguments.open:
        webbrowser.open(index.resolve().as_uri())
    return 0
