"""`salus intervention train|evaluate|info`: what interventions are chosen with."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import at_least, number_above
from salus_vla.cli.printing import print_facts, print_figures, say
from salus_vla.config.paths import DEFAULT_PREDICTOR, intervention_folder, predictor_folder
from salus_vla.contract.errors import RecordingError

_TRAIN = """\
Learns what each motion does to the probability of failure, from failure tables of `salus rollout --intervention random`
(`salus dataset failures --basis TABLE`), and from tables without interventions when a try is hopeless. What is made
belongs to one predictor and, by it, to one ensemble.
"""
_EVALUATE = """\
Says what motions and approaches did that were drawn at random (`salus rollout --intervention random_approach` and
`random`): successes and physical failures with each, and what it gained over the plan.
"""
_INFO = """\
Shows what interventions are chosen with: motions, what they were learned from, and how failure and time are weighed.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `intervention` with its commands; each sets `run`, a function of the parsed arguments."""
    intervention = subparsers.add_parser("intervention", help=SUMMARIES["intervention"])
    commands = intervention.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser("train", help="learn effects", description=_TRAIN, formatter_class=raw)
    train.add_argument("tables", metavar="RANDOM.parquet", type=Path, nargs="+", help="tables with drawn motions")
    train.add_argument(
        "--successes", metavar="F.parquet", type=Path, nargs="+", required=True, help="tables without interventions"
    )
    train.add_argument(
        "--predictor", metavar="DIR", default=DEFAULT_PREDICTOR, help=f"folder, or {DEFAULT_PREDICTOR} (default)"
    )
    train.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder")
    train.add_argument(
        "--failure-cost",
        metavar="SECONDS",
        type=number_above(0.0),
        default=30.0,
        help="task time that one failure is worth: less is faster, more is safer (default: 30)",
    )
    train.add_argument(
        "--retreats",
        metavar="N",
        type=at_least(0),
        default=0,
        help="of an episode, each behind a closing on nothing, back along the way already travelled (default: 0)",
    )
    train.add_argument(
        "--hand-over-share",
        metavar="A",
        type=float,
        default=0.015,
        help="share of successes that may be handed over (default: 0.015)",
    )
    train.add_argument("--seed", metavar="N", type=int, default=0, help="of the bootstrap (default: 0)")
    train.set_defaults(run=run_train)
    evaluate = commands.add_parser(
        "evaluate", help="what drawn motions and approaches did", description=_EVALUATE, formatter_class=raw
    )
    evaluate.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="runs in which something was drawn")
    evaluate.add_argument("--json", metavar="FILE", type=Path, help="write every number to this file")
    evaluate.set_defaults(run=run_evaluate)
    info = commands.add_parser("info", help="show what they are chosen with", description=_INFO, formatter_class=raw)
    info.add_argument(
        "folder", metavar="DIR", nargs="?", default=DEFAULT_PREDICTOR, help=f"folder (default: {DEFAULT_PREDICTOR})"
    )
    info.set_defaults(run=run_info)


def run_train(arguments: argparse.Namespace) -> int:
    """Learns effects and writes them to `arguments.out`.

    Raises:
        SalusError: see `train_intervention`.
    """
    from salus_vla.learning.intervention.train_intervention import train_intervention

    made = train_intervention(
        arguments.tables,
        arguments.successes,
        predictor_folder(arguments.predictor),
        arguments.out,
        failure_cost_s=arguments.failure_cost,
        retreats=arguments.retreats,
        hand_over_share=arguments.hand_over_share,
        seed=arguments.seed,
        say=say,
    )
    Console().print(escape(f"{arguments.out}: {made}"), soft_wrap=True)
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Prints what drawn motions and approaches did.

    Raises:
        RecordingError: a run cannot be read, or nothing was drawn in any.
    """
    from salus_vla.data.episodes import open_run
    from salus_vla.learning.intervention.drawn_trial import trial_draws, trial_rows
    from salus_vla.learning.intervention.trial_report import TRIAL_TEXT, trial_tables, write_trial

    rows = trial_rows(trial_draws(open_run(run) for run in arguments.runs))
    if not rows:
        raise RecordingError(
            f"{', '.join(map(str, arguments.runs))}: nothing was drawn at random; record with "
            "`salus rollout --intervention random_approach` or `random`"
        )
    console = Console()
    print_figures(console, trial_tables(rows))
    console.print(escape(TRIAL_TEXT.strip().replace("\n", " ")))
    if arguments.json is not None:
        write_trial(arguments.json, rows, shlex.join(["salus", *sys.argv[1:]]))
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Prints what interventions are chosen with.

    Raises:
        ModelError: it cannot be read.
    """
    from salus_vla.safety.intervention.intervention_file import load_intervention

    folder = intervention_folder(arguments.folder)
    model = load_intervention(folder)
    settings = model.settings
    facts = [
        ("interventions", f"{folder}, {model.effects.digest}"),
        ("of the predictor", model.effects.predictor),
        ("motions", ", ".join(model.effects.candidates)),
        ("one failure is worth", f"{settings.failure_cost_s:g} s of task time"),
        ("retreats", f"{settings.retreats} of an episode"),
        ("inertia", f"{settings.inertia:g} of failure, at least {settings.shortest} decisions"),
        *((key.replace("_", " "), str(value)) for key, value in model.about.items()),
    ]
    print_facts(Console(), facts)
    return 0
