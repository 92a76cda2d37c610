"""`salus model init|fit-reference`: builds an untrained ensemble, fits its reference for `activation_novelty`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import at_least, check_can_be_folder
from salus_vla.config.policy_options import MANIFEST
from salus_vla.contract.errors import ModelError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import Episode, Part
from salus_vla.policies.base import Policy
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.init.vlm_sizes import SIZES

_INIT = """\
Builds real LeRobot SmolVLA policies from local configuration and a locally trained tokenizer, without a network:
members with action experts of their own over one VLM. Same size, members and seed give the same weights.
They are not trained; their actions spread around the home pose.
"""
_FIT = """\
Fits the reference that the signal activation_novelty is measured against: where the action expert's hidden state lies
on successful episodes. Every recorded observation of these episodes is given to the ensemble again, with the noise of
its seed and decision; mean and shrunk covariance of the states go into MODEL/novelty_reference.safetensors. Whoever
loads MODEL from then on gives the signal; fitting again replaces the reference.

Takes the finished episodes of the runs with outcome SUCCESS, at least 10 decisions in all; a useful reference has
several times as many decisions as the expert is wide (48 in a tiny model, 720 in a full one).

examples:
  salus model fit-reference models/mine runs/20260101-120000
  salus model fit-reference models/mine runs/a runs/b --device cuda:0
  salus model fit-reference models/untrained runs/a --outcome TIMEOUT    # to try it out, there is no SUCCESS yet
"""
_OUTCOMES = tuple(outcome.name for outcome in Outcome if outcome is not Outcome.RUNNING)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `model` with its commands."""
    model = subparsers.add_parser("model", help=SUMMARIES["model"])
    commands = model.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    init = commands.add_parser("init", help="build an untrained ensemble", description=_INIT, formatter_class=raw)
    init.add_argument("folder", metavar="DIR", type=Path, help="new folder of the model")
    init.add_argument(
        "--size", choices=tuple(SIZES), default="tiny", help="tiny: 0.35 M parameters; compact: 6 M; full: 450 M"
    )
    init.add_argument("--members", metavar="K", type=at_least(1, 255), default=5, help="number of members (default: 5)")
    init.add_argument("--seed", metavar="S", type=at_least(0), default=0, help="seed of all weights (default: 0)")
    init.set_defaults(run=run_init, makes=True)
    fit = commands.add_parser(
        "fit-reference",
        help="fit the reference of activation_novelty from recorded episodes",
        description=_FIT,
        formatter_class=raw,
    )
    fit.add_argument("model", metavar="MODEL", type=Path, help="folder of the model, made by `salus model init`")
    fit.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, made by `salus collect`")
    fit.add_argument(
        "--outcome",
        metavar="NAME",
        action="append",
        choices=_OUTCOMES,
        help=f"take episodes with this outcome instead, may be repeated: {', '.join(_OUTCOMES)} (default: SUCCESS)",
    )
    fit.add_argument("--device", default="cpu", help="where the ensemble runs: cpu, cuda:0, ... (default: cpu)")
    fit.add_argument(
        "--noise-samples",
        metavar="S",
        type=at_least(1, 64),
        default=2,
        help="as model.noise_samples of the node that will use the reference (default: 2)",
    )
    fit.set_defaults(run=run_fit_reference)


def run_init(arguments: argparse.Namespace) -> int:
    """Builds the model and prints its members.

    Raises:
        SalusError: the folder is in use or cannot be one, or the number of members is below one.
    """
    check_can_be_folder(arguments.folder)
    from salus_vla.policies.smolvla.init.model_init import init_model  # torch and lerobot: seconds

    for folder in init_model(arguments.folder, size=arguments.size, members=arguments.members, seed=arguments.seed):
        print(folder)
    return 0


def run_fit_reference(arguments: argparse.Namespace) -> int:
    """Fits and stores the reference of `arguments.model`, prints what it was fitted on and where it is.

    Raises:
        ModelError: no such model or no such episodes, too few decisions, or the model does not load.
        RecordingError: a run or a bag cannot be read.
    """
    console = Console()
    folder: Path = arguments.model
    if not (folder / MANIFEST).is_file():
        raise ModelError(f"{folder}: is not a model folder: {MANIFEST} is missing; `salus model init` makes one")
    outcomes = tuple(dict.fromkeys(arguments.outcome or (Outcome.SUCCESS.name,)))
    chosen = _choose(arguments.runs, outcomes)

    from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy  # torch and lerobot: seconds
    from salus_vla.signals import novelty

    # Without the model's folder: a reference that is there already is replaced, whatever it was fitted with.
    policy = EnsemblePolicy(
        expand_members([str(folder)]), device=arguments.device, noise_samples=arguments.noise_samples
    )
    states = _states(console, policy, chosen)
    reference = novelty.fit_reference(states)
    runs = tuple(dict.fromkeys(episode.run for episode in chosen))
    hashes = novelty.model_hashes(policy.provenance())
    info = novelty.ReferenceInfo(hashes, arguments.noise_samples, len(states), len(chosen), runs)
    file = novelty.save_reference(reference, folder, info)
    distances = np.array([reference.distance(state) for state in states])
    console.print(
        f"fitted on {len(states)} decisions of dimension {states.shape[1]} from {len(chosen)} episodes "
        f"({_counts(episode.summary.outcome.name for episode in chosen)}), runs: {escape(', '.join(runs))}\n"
        f"activation_novelty of these decisions: median {np.median(distances):.3g}, "
        f"99 % below {np.quantile(distances, 0.99):.3g}\n"
        f"stored in {escape(str(file))}",
        soft_wrap=True,
        highlight=False,
    )
    return 0


def _choose(runs: Sequence[Path], outcomes: Sequence[str]) -> list[Episode]:
    """The finished episodes with these outcomes; a run that is named twice counts once."""
    chosen: list[Episode] = []
    found: Counter[str] = Counter()
    for path in dict.fromkeys(run.resolve() for run in runs):
        for episode in open_run(path).episodes:
            outcome = episode.summary.outcome.name
            found[outcome] += 1
            if outcome in outcomes:
                chosen.append(episode)
    if not chosen:
        where = ", ".join(map(str, runs))
        raise ModelError(
            f"no finished episode with outcome {' or '.join(outcomes)} in {where}: found "
            f"{_counts(found.elements()) or 'no finished episode at all'}"
        )
    return chosen


def _states(console: Console, policy: Policy, chosen: Sequence[Episode]) -> FloatArray:
    """The expert's pooled state of every decision of the episodes, shape (n, E)."""
    from salus_vla.policies.activations import expert_states

    states: list[FloatArray] = []
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("decisions", total=sum(episode.summary.decisions + 1 for episode in chosen))
        for episode in chosen:
            recording = episode.open()
            recording.require(Part.IMAGES)
            for state in expert_states(policy, episode.seed, recording.observations()):
                states.append(state)
                progress.advance(bar)
    if not states:
        raise ModelError(f"the {len(chosen)} episodes hold no decision: nothing to fit on")
    return np.array(states)


def _counts(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())
