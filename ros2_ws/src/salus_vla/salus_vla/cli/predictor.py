"""`salus predictor train|evaluate|causes|calibrate|info`: the failure predictor, from failure tables."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import at_least, named
from salus_vla.cli.printing import print_facts, print_figures, say
from salus_vla.config.paths import DEFAULT_PREDICTOR, predictor_folder

if TYPE_CHECKING:
    pass

_TRAIN = """\
Trains a failure predictor on failure tables (`salus dataset failures`), on their training and validation seeds, and
calibrates its alarm on successes of their calibration seeds. It is of the ensemble that made the episodes, and of no
other.
"""
_EVALUATE = """\
Answers every question about prediction from failure tables, in one run: will the episode fail, is something about to
happen, does what is held slip; the predictor beside rules of one line, single signals and published detectors; profiles
that were not learned from; alarms, lead times, and whether the promise about false alarms is kept. It trains everything
itself, and reports from test seeds only.
"""
_CAUSES = """\
Says why episodes of failure tables failed: causes told from ground truth by rules, by profile, and what the policy's
signals and states, effort and tracking error showed before, beside successes of the same profile.
"""
_CALIBRATE = """\
Calibrates the alarm of a predictor on successful episodes of RUNs, without training it again: at most a share alpha of
the episodes that succeed will ever alarm, as long as they are like these.
"""
_INFO = """\
Shows what a predictor is of, what it was trained on, and when it alarms.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `predictor` with its commands; each sets `run`, a function of the parsed arguments."""
    predictor = subparsers.add_parser("predictor", help=SUMMARIES["predictor"])
    commands = predictor.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser("train", help="train a predictor", description=_TRAIN, formatter_class=raw)
    train.add_argument("tables", metavar="F.parquet", type=Path, nargs="+", help="failure tables of one ensemble")
    train.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder of the predictor")
    train.add_argument("--seed", metavar="N", type=int, default=0, help="of initial weights and bootstrap (default: 0)")
    _add_alpha(train)
    train.set_defaults(run=run_train, makes=True)
    evaluate = commands.add_parser(
        "evaluate", help="judge it beside others", description=_EVALUATE, formatter_class=raw
    )
    evaluate.add_argument("tables", metavar="F.parquet", type=Path, nargs="+", help="failure tables of one ensemble")
    evaluate.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=3, help="times that ours is trained (default: 3)"
    )
    evaluate.add_argument("--quick", action="store_true", help="without left-out profiles and without fewer inputs")
    evaluate.add_argument("--out", metavar="FILE.md", type=named(".md"), help="write the tables as Markdown")
    evaluate.add_argument("--json", metavar="FILE.json", type=named(".json"), help="write every number")
    evaluate.add_argument("--figure", metavar="FILE.png", type=named(".png"), help="draw the main figures")
    evaluate.set_defaults(run=run_evaluate)
    causes = commands.add_parser("causes", help="say why episodes failed", description=_CAUSES, formatter_class=raw)
    causes.add_argument("tables", metavar="F.parquet", type=Path, nargs="+", help="failure tables of one ensemble")
    causes.add_argument("--out", metavar="FILE.md", type=named(".md"), help="write the tables as Markdown")
    causes.add_argument("--figure", metavar="FILE.png", type=named(".png"), help="draw causes and what was shown")
    causes.set_defaults(run=run_causes)
    calibrate = commands.add_parser(
        "calibrate", help="calibrate the alarm on runs", description=_CALIBRATE, formatter_class=raw
    )
    calibrate.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, or failure tables")
    calibrate.add_argument(
        "--predictor", metavar="DIR", default=DEFAULT_PREDICTOR, help=f"folder, or {DEFAULT_PREDICTOR} (default)"
    )
    calibrate.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="new folder of the calibrated predictor"
    )
    _add_alpha(calibrate)
    calibrate.set_defaults(run=run_calibrate)
    info = commands.add_parser("info", help="show what a predictor is", description=_INFO, formatter_class=raw)
    info.add_argument(
        "predictor", metavar="DIR", nargs="?", default=DEFAULT_PREDICTOR, help=f"folder (default: {DEFAULT_PREDICTOR})"
    )
    info.set_defaults(run=run_info)


def _add_alpha(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha",
        metavar="A",
        type=float,
        default=0.05,
        help="share of successful episodes that may ever alarm (default: 0.05)",
    )


def run_train(arguments: argparse.Namespace) -> int:
    """Trains a predictor and writes it to `arguments.out`.

    Raises:
        DatasetError: a table cannot be read.
        TrainingError: there is nothing to learn from.
        ConfigError: alpha is not supported by the number of calibration episodes.
        ModelError: the folder exists, or cannot be written.
    """
    from salus_vla.learning.prediction.train_predictor import train_predictor

    made = train_predictor(arguments.tables, arguments.out, seed=arguments.seed, alpha=arguments.alpha, say=say)
    Console().print(escape(f"{arguments.out}: {made}"), soft_wrap=True)
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Evaluates on `arguments.tables` and prints, writes or draws the result.

    Raises:
        DatasetError: a table cannot be read.
        TrainingError: there is nothing to learn from, or to test on.
        RecordingError: a file cannot be written.
    """
    from salus_vla.data.failures.failure_table import read_tables
    from salus_vla.learning.prediction.prediction_evaluation import evaluate_prediction
    from salus_vla.learning.prediction.prediction_report import prediction_tables, write_prediction
    from salus_vla.learning.prediction.samples import make_samples

    say("read the tables")
    samples = make_samples(read_tables(arguments.tables))
    found = evaluate_prediction(samples, range(arguments.seeds), say=say, quick=arguments.quick)
    command = shlex.join(["salus", *sys.argv[1:]])
    for file in (arguments.out, arguments.json):
        if file is not None:
            write_prediction(file, found, command)
    if arguments.figure is not None:
        from salus_vla.learning.prediction.prediction_figure import plot_prediction

        plot_prediction(arguments.figure, found)
    print_figures(Console(), prediction_tables(found), names=2)
    return 0


def run_causes(arguments: argparse.Namespace) -> int:
    """Says why the episodes of `arguments.tables` failed.

    Raises:
        DatasetError: a table cannot be read, or has no failure with ground truth.
        RecordingError: a file cannot be written.
    """
    from salus_vla.config.scene import load_scene
    from salus_vla.data.failures.failure_table import read_tables
    from salus_vla.learning.prediction.causes_evaluation import evaluate_causes
    from salus_vla.learning.prediction.causes_report import causes_tables, plot_causes, write_causes
    from salus_vla.learning.prediction.samples import make_samples

    say("read the tables")
    table = read_tables(arguments.tables)
    found = evaluate_causes(table, make_samples(table), load_scene(), say=say)
    if arguments.out is not None:
        write_causes(arguments.out, found, shlex.join(["salus", *sys.argv[1:]]))
    if arguments.figure is not None:
        plot_causes(arguments.figure, found)
    print_figures(Console(), causes_tables(found), names=2)
    return 0


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Calibrates a predictor on runs.

    Raises:
        DatasetError: a run or table cannot be read.
        ModelError: they are of another ensemble than the predictor, or a file cannot be read or written.
        ConfigError: alpha is not supported by the number of successful episodes.
    """
    from salus_vla.learning.prediction.train_predictor import calibrate_predictor

    made = calibrate_predictor(
        predictor_folder(arguments.predictor), arguments.runs, arguments.out, alpha=arguments.alpha, say=say
    )
    Console().print(escape(f"{arguments.out}: {made}"), soft_wrap=True)
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Prints what a predictor is.

    Raises:
        ModelError: it cannot be read.
    """
    from salus_vla.safety.prediction.predictor_file import BAND_FILE, PREDICTOR_FILE, load_predictor, read_about

    folder = predictor_folder(arguments.predictor)
    predictor = load_predictor(folder)
    about = read_about(folder / PREDICTOR_FILE)
    facts = [
        ("predictor", f"{folder}, {predictor.digest}"),
        ("of the ensemble", f"members {predictor.ensemble}; VLM {','.join(predictor.ensemble.vlms)}"),
        *((key.replace("_", " "), str(value)) for key, value in about.items()),
    ]
    if predictor.band is None:
        facts.append(("alarm", "not calibrated: `salus predictor calibrate`"))
    else:
        band, made = predictor.band, read_about(folder / BAND_FILE)
        facts.append(
            (
                "alarm",
                f"alpha {band.alpha:g}, {len(band.peaks)} successful episodes, {band.height:.2f} widths up",
            )
        )
        facts += [(key.replace("_", " "), str(value)) for key, value in made.items()]
    print_facts(Console(), facts)
    return 0
