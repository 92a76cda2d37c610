"""`salus manifold train|evaluate|execute|info`: the action manifold, from failure tables."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import at_least, named
from salus_vla.cli.printing import print_facts, print_figures, say
from salus_vla.config.paths import DEFAULT_MANIFOLD, DEFAULT_PREDICTOR, manifold_folder, predictor_folder
from salus_vla.config.policy_options import DEFAULT_MODEL
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.safety.intervention.modes import OFF

_TRAIN = """\
Fits an action manifold on the successes of failure tables (`salus dataset failures`), on their training seeds, and
finds its level on successes of their calibration seeds. It is of the ensemble that made the episodes, and of no other.
"""
_EVALUATE = """\
Judges a manifold on the test seeds of failure tables: does its distance tell that a failure is near, beside other
densities, without the chunk, and beside the clock; which share of successes and of chunks bent at random is inside.
"""
_EXECUTE = """\
Makes episodes in process; each that succeeds is made again, bit for bit until a decision at which its plan is bent at
random, and followed for half a second. Says how many of the bends that the manifold calls safe succeed, beside all.
"""
_INFO = """\
Shows what a manifold is of, what it was fitted on, and where its level is.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `manifold` with its commands; each sets `run`, a function of the parsed arguments."""
    manifold = subparsers.add_parser("manifold", help=SUMMARIES["manifold"])
    commands = manifold.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser("train", help="fit a manifold", description=_TRAIN, formatter_class=raw)
    train.add_argument("tables", metavar="F.parquet", type=Path, nargs="+", help="failure tables of one ensemble")
    train.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder of the manifold")
    train.add_argument("--seed", metavar="N", type=int, default=0, help="of the draw of points (default: 0)")
    train.add_argument(
        "--share",
        metavar="S",
        type=float,
        default=0.95,
        help="share of the decisions of successful calibration episodes that are inside (default: 0.95)",
    )
    train.set_defaults(run=run_train)
    evaluate = commands.add_parser(
        "evaluate", help="judge it beside others", description=_EVALUATE, formatter_class=raw
    )
    evaluate.add_argument("tables", metavar="F.parquet", type=Path, nargs="+", help="failure tables of one ensemble")
    evaluate.add_argument(
        "--manifold", metavar="DIR", default=DEFAULT_MANIFOLD, help=f"folder, or {DEFAULT_MANIFOLD} (default)"
    )
    evaluate.add_argument("--out", metavar="FILE.md", type=named(".md"), help="write the tables as Markdown")
    evaluate.add_argument("--json", metavar="FILE.json", type=named(".json"), help="write every number")
    evaluate.set_defaults(run=run_evaluate)
    execute = commands.add_parser(
        "execute", help="follow bent plans, and see", description=_EXECUTE, formatter_class=raw
    )
    execute.add_argument("--episodes", metavar="N", type=at_least(1), required=True, help="episodes without a bend")
    execute.add_argument("--seed", metavar="S", type=at_least(0), default=0, help="of the first one (default: 0)")
    execute.add_argument(
        "--profile", metavar="NAME", default=DEFAULT_PROFILE, help=f"of the scenes (default: {DEFAULT_PROFILE})"
    )
    execute.add_argument(
        "--tries", metavar="K", type=at_least(1, 100), default=2, help="bends of each that succeeds (default: 2)"
    )
    execute.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"ensemble, of which the manifold is (default: {DEFAULT_MODEL})"
    )
    execute.add_argument(
        "--manifold", metavar="DIR", default=DEFAULT_MANIFOLD, help=f"folder, or {DEFAULT_MANIFOLD} (default)"
    )
    execute.add_argument(
        "--predictor",
        metavar="DIR",
        default=DEFAULT_PREDICTOR,
        help=f"has the basis of the hidden states: folder, or {DEFAULT_PREDICTOR} (default)",
    )
    execute.add_argument("--out", metavar="FILE.md", type=named(".md"), help="write the table as Markdown")
    execute.add_argument("--json", metavar="FILE.json", type=named(".json"), help="write every bend")
    execute.set_defaults(run=run_execute)
    info = commands.add_parser("info", help="show what a manifold is", description=_INFO, formatter_class=raw)
    info.add_argument(
        "manifold", metavar="DIR", nargs="?", default=DEFAULT_MANIFOLD, help=f"folder (default: {DEFAULT_MANIFOLD})"
    )
    info.set_defaults(run=run_info)


def run_train(arguments: argparse.Namespace) -> int:
    """Fits a manifold and writes it to `arguments.out`.

    Raises:
        DatasetError: a table cannot be read.
        TrainingError: there is nothing to learn from.
        ConfigError: the share is not supported by the number of calibration decisions.
        ModelError: the folder exists, or cannot be written.
    """
    from salus_vla.learning.manifold.train_manifold import train_manifold

    made = train_manifold(arguments.tables, arguments.out, seed=arguments.seed, share=arguments.share, say=say)
    Console().print(escape(f"{arguments.out}: {made}"), soft_wrap=True)
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Evaluates on `arguments.tables` and prints or writes the result.

    Raises:
        DatasetError: a table cannot be read.
        ModelError: the manifold cannot be read, or is of another ensemble or basis.
        TrainingError: there is nothing to learn from, or to test on.
        RecordingError: a file cannot be written.
    """
    from salus_vla.data.failures.failure_table import read_tables
    from salus_vla.learning.manifold.manifold_evaluation import evaluate_manifold
    from salus_vla.learning.manifold.manifold_report import manifold_tables, write_evaluation
    from salus_vla.learning.manifold.manifold_samples import make_manifold_samples
    from salus_vla.safety.manifold.manifold_file import load_manifold

    manifold = load_manifold(manifold_folder(arguments.manifold))
    say("read the tables")
    table = read_tables(arguments.tables)
    manifold.require(table.source)
    manifold.require_basis(table.basis)
    found = evaluate_manifold(make_manifold_samples(table), manifold, say=say)
    command = shlex.join(["salus", *sys.argv[1:]])
    for file in (arguments.out, arguments.json):
        if file is not None:
            write_evaluation(file, found, command)
    print_figures(Console(), manifold_tables(found))
    return 0


def run_execute(arguments: argparse.Namespace) -> int:
    """Follows bent plans and prints or writes what came of it.

    Raises:
        ModelError: policy, manifold or predictor cannot be read, or are of different ensembles.
        ConfigError: there is no such profile.
        TrainingError: no episode succeeded.
        RecordingError: a file cannot be written.
    """
    from salus_vla.config.policy_settings import read_settings, replaced
    from salus_vla.learning.manifold.executed_bends import execute_bends, groups_of
    from salus_vla.learning.manifold.manifold_report import bend_table, write_bends
    from salus_vla.safety.manifold.manifold_file import load_manifold
    from salus_vla.safety.prediction.predictor_file import load_predictor

    settings = replaced(
        read_settings(), policy="ensemble", members=tuple(arguments.model.split(",")), intervention=OFF, disturb=False
    )
    bends, succeeded, made = execute_bends(
        settings,
        load_manifold(manifold_folder(arguments.manifold)),
        load_predictor(predictor_folder(arguments.predictor)).basis,
        profile=arguments.profile,
        seeds=range(arguments.seed, arguments.seed + arguments.episodes),
        tries=arguments.tries,
        say=say,
    )
    groups = groups_of(bends)
    table = bend_table(groups, succeeded, made)
    command = shlex.join(["salus", *sys.argv[1:]])
    for file in (arguments.out, arguments.json):
        if file is not None:
            write_bends(file, groups, bends, table, command)
    print_figures(Console(), [table])
    return 0 if made == arguments.episodes else 130  # Ctrl-C


def run_info(arguments: argparse.Namespace) -> int:
    """Prints what a manifold is.

    Raises:
        ModelError: it cannot be read.
    """
    from salus_vla.safety.manifold.manifold_file import load_manifold, read_card

    folder = manifold_folder(arguments.manifold)
    manifold = load_manifold(folder)
    known = manifold.known
    facts = [
        ("manifold", f"{folder}, {manifold.digest}"),
        ("of the ensemble", f"members {manifold.ensemble}; VLM {','.join(manifold.ensemble.vlms)}"),
        ("knows", f"{len(known.points)} points in {known.points.shape[1]} directions, {known.neighbours} neighbours"),
        ("level", f"{manifold.level:.4f}, holds {manifold.share:.0%} of {len(manifold.calibration)} decisions"),
        *((key.replace("_", " "), str(value)) for key, value in read_card(folder).items()),
    ]
    print_facts(Console(), facts)
    return 0
