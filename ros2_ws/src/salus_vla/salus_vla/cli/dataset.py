"""`salus dataset export|info|failures`: recorded runs as a LeRobotDataset, what is in one, and the failure table."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import CUT_TASK_HELP, add_assumed_options, assumed_of, at_least, named
from salus_vla.cli.printing import print_facts
from salus_vla.config.policy_options import DEFAULT_MODEL
from salus_vla.contract import DEFAULT_TASK
from salus_vla.contract.outcomes import Outcome

_EXPORT = """\
Makes a LeRobotDataset v3 of recorded episodes, which LeRobot's loader and lerobot-train read:

  observation.images.front, side, top   uint8 RGB
  observation.state                     7 arm joints [rad] and the gripper width [m], as measured
  action                                absolute targets of the same, for the end of the decision's 100 ms
  task, and for each episode in meta/episodes: salus/outcome, seed, profile, policy, run, episode

A RUN is a folder of `salus collect` (bags) or of `salus rollout`; they may be mixed. Each recorded episode becomes one
of the data set, with one frame for each decision; the terminal observation is left out, because no action follows it.
Only episodes with a wanted outcome that lack nothing are taken; aborted and unfinished ones never. What was left out is
said.

Images are stored as PNG, bit for bit; --video stores them with LeRobot's encoder (AV1) in about a sixth of the space:
of 256 x 256 renders each frame keeps 30 dB PSNR and a mean absolute error below 4 of 255.
--image-size resizes as SmolVLA does: a policy trained on it sees the same as at run time to half a grey value.

The same runs, options and package versions give the same bytes in every file.

examples:
  salus dataset export runs/demo --out data/demo
  salus dataset export runs/a runs/b --out data/small --image-size 128 --action planned
  lerobot-train --dataset.repo_id=salus/demo --dataset.root=data/demo --policy.type=smolvla ...
"""
_INFO = """\
Shows what is in a LeRobotDataset v3: episodes, frames, features, outcomes, seeds, profiles, size on disk.
"""
_FAILURES = """\
Makes the failure table of runs: what a failure predictor is trained on, a row for each decision, without pictures. It
holds the safety signals, the policy's hidden states, joints and commands at 50 Hz, how the episode ended, when grasps
went wrong, and, from ground truth, where the cube was in the hand. The columns are described in
salus_vla/data/failures/failure_table.py; pandas, polars and DuckDB read the file.

Episodes that were aborted or taken over are left out. A RUN is a folder of `salus collect` or `salus rollout`; all must
be of one ensemble. No file is larger than 20 MB: a larger table becomes several, F-00.parquet and so on.
"""
_ACTIONS = ("commanded", "planned")
_EXAMPLES = 5  # episodes that are not complete and named


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `dataset` with its commands; each sets `run`, which takes the parsed arguments and returns the exit code."""
    dataset = subparsers.add_parser("dataset", help=SUMMARIES["dataset"])
    commands = dataset.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    export = commands.add_parser(
        "export", help="make a LeRobotDataset of runs", description=_EXPORT, formatter_class=raw
    )
    export.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs")
    export.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder of the data set")
    export.add_argument(
        "--repo-id",
        metavar="NAME",
        help="name that LeRobot asks for beside the folder (default: salus/ and DIR's name)",
    )
    export.add_argument(
        "--image-size", metavar="S", type=int, help="side of the stored images [px] (default: as recorded)"
    )
    export.add_argument("--video", action="store_true", help="store videos instead of PNGs; loses detail")
    export.add_argument(
        "--action",
        choices=_ACTIONS,
        default=_ACTIONS[0],
        help="commanded: what the arm was told (default); planned: what the policy wanted, without disturbances",
    )
    export.add_argument(
        "--ground-truth",
        action="store_true",
        help="store where the cube was as ground_truth.red_cube: no policy reads it, `salus train` learns from it",
    )
    export.add_argument(
        "--states",
        action="store_true",
        help="store the policy's hidden states as policy.expert_state and policy.prefix_parts; no policy reads them",
    )
    export.add_argument(
        "--outcomes",
        metavar="NAMES",
        type=_outcomes,
        default=(Outcome.SUCCESS,),
        help="take episodes with these outcomes, with commas between them (default: SUCCESS)",
    )
    export.add_argument(
        "--surplus",
        action="store_true",
        help="take episodes with more messages than one graph publishes, too: something else published beside it",
    )
    export.add_argument(
        "--only",
        metavar="POLICY",
        choices=("expert",),
        help="only what this policy did: whole episodes of its own, and of others from its takeover on (recoveries)",
    )
    export.add_argument(
        "--weights",
        metavar="X,Y,...",
        type=_weights,
        default=(),
        help="how often `salus train` takes the frames of each RUN, in their order (default: all alike)",
    )
    add_assumed_options(export)
    export.add_argument("--cut-task", action="store_true", help=CUT_TASK_HELP)
    export.add_argument(
        "--model",
        metavar="MODEL",
        default=DEFAULT_MODEL,
        help=f"policy whose tokenizer says how much of an instruction is read (default: {DEFAULT_MODEL})",
    )
    export.add_argument(
        "--workers", metavar="W", type=at_least(1), help="processes that read and encode (default: one for each core)"
    )
    export.set_defaults(run=run_export, makes=True)
    failures = commands.add_parser(
        "failures", help="make the failure table of runs", description=_FAILURES, formatter_class=raw
    )
    failures.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs")
    failures.add_argument("--out", metavar="F.parquet", type=named(".parquet"), required=True, help="file to make")
    failures.add_argument(
        "--basis",
        metavar="F.parquet",
        type=Path,
        help="take the basis of the hidden states of this table (default: found on the training seeds of these runs)",
    )
    add_assumed_options(failures)
    failures.set_defaults(run=run_failures, makes=True)
    info = commands.add_parser("info", help="show what is in a data set", description=_INFO, formatter_class=raw)
    info.add_argument("path", metavar="DIR", type=Path, help="folder of a data set")
    info.set_defaults(run=run_info)


def run_export(arguments: argparse.Namespace) -> int:
    """Exports `arguments.runs` to `arguments.out` and prints what was made of what.

    Raises:
        DatasetError: an argument is wrong, episodes do not agree, or the folder cannot be written.
        RecordingError: a run cannot be read.
    """
    from salus_vla.data.lerobot.dataset_export import export
    from salus_vla.data.lerobot.prepare import Options

    console = Console()
    out: Path = arguments.out
    repo_id = arguments.repo_id or f"salus/{out.resolve().name}"
    columns = (TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        made = export(
            arguments.runs,
            out,
            repo_id=repo_id,
            options=Options(
                arguments.action,
                arguments.image_size,
                arguments.video,
                arguments.ground_truth,
                arguments.only or "",
                arguments.states,
            ),
            outcomes=arguments.outcomes,
            weights=arguments.weights,
            check_task=lambda task: _check_task(task, arguments.model, cut=arguments.cut_task),
            surplus=arguments.surplus,
            assumed=assumed_of(arguments),
            workers=arguments.workers,
            on_episode=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(made.left_out.items()))
    console.print(
        f"{escape(str(made.path))}: {made.episodes} episodes, {made.frames} frames"
        + (f"; left out: {left_out}" if left_out else ""),
        soft_wrap=True,
    )
    for item in made.incomplete[:_EXAMPLES]:
        console.print(escape(f"not complete: {item.source.name} of {item.source.run}: {item.reason}"), soft_wrap=True)
    if len(made.incomplete) > _EXAMPLES:
        console.print(f"not complete: {len(made.incomplete) - _EXAMPLES} more")
    command = ["lerobot-train", f"--dataset.repo_id={repo_id}", f"--dataset.root={made.path}"]
    console.print(escape(shlex.join(command)), soft_wrap=True, highlight=False)
    return 0


def _check_task(task: str, model: str, *, cut: bool) -> None:
    if task == DEFAULT_TASK and model == DEFAULT_MODEL:
        return
    from salus_vla.policies.registry import expand_members
    from salus_vla.policies.smolvla.loading.instruction import InstructionReader  # transformers: seconds

    InstructionReader.of_member(expand_members([model])[0], cut=cut).check(task)


def run_info(arguments: argparse.Namespace) -> int:
    """Prints what is in the data set `arguments.path`.

    Raises:
        DatasetError: it is no data set, or its metadata are damaged.
    """
    from salus_vla.data.lerobot.dataset_info import read_info

    console = Console()
    found = read_info(arguments.path)
    facts = [
        ("data set", f"{found.path}, LeRobotDataset {found.version}, {found.size / 2**20:.1f} MiB"),
        ("robot", found.robot_type or "-"),
        ("episodes", str(len(found.episodes))),
        ("frames", f"{found.frames} at {found.fps} Hz, {found.frames / found.fps:.1f} s"),
        ("tasks", _counts(task for episode in found.episodes for task in episode.tasks)),
        ("outcomes", _counts(episode.outcome for episode in found.episodes)),
        ("profiles", _counts(episode.profile for episode in found.episodes)),
        ("seeds", _range([episode.seed for episode in found.episodes if episode.seed is not None])),
    ]
    recoveries = sum(bool(episode.recovery) for episode in found.episodes)
    if recoveries:
        facts.append(("recoveries", f"{recoveries} episodes begin where another policy had brought the robot"))
    weights = [episode.weight for episode in found.episodes if episode.weight is not None]
    if len(set(weights)) > 1:
        facts.append(("weights", _counts(f"of {weight:g}" for weight in weights)))
    print_facts(console, facts)
    features = Table(title="Features")
    for column in ("key", "type", "shape"):
        features.add_column(column, overflow="fold")
    for key, feature in found.features.items():
        features.add_row(escape(key), escape(feature.dtype), " x ".join(map(str, feature.shape)))
    console.print(features)
    return 0


def run_failures(arguments: argparse.Namespace) -> int:
    """Makes the failure table of `arguments.runs`.

    Raises:
        DatasetError: the runs do not go together, or the file cannot be written.
        RecordingError: a run cannot be read.
    """
    from salus_vla.data.failures.make_table import make_failure_table  # pyarrow: half a second

    console = Console()
    columns = (TextColumn("episodes"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        made = make_failure_table(
            arguments.runs,
            arguments.out,
            basis=arguments.basis,
            assumed=assumed_of(arguments),
            on_episode=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(made.left_out.items()))
    size = sum(file.stat().st_size for file in made.files) / 1e6
    files = ", ".join(map(str, made.files))
    console.print(
        escape(f"{files}: {made.episodes} episodes, {made.decisions} decisions, {size:.1f} MB")
        + (f"; left out: {left_out}" if left_out else ""),
        soft_wrap=True,
    )
    return 0


def _counts(values: Iterable[str | None]) -> str:
    counted = Counter(value for value in values if value is not None)
    return ", ".join(f"{count} {name}" for name, count in counted.most_common()) or "-"


def _range(seeds: list[int]) -> str:
    distinct = set(seeds)
    return f"{min(distinct)} to {max(distinct)}, {len(distinct)} different" if distinct else "-"


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers with commas between them") from None


def _outcomes(text: str) -> tuple[Outcome, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    known = [outcome.name for outcome in Outcome if outcome not in (Outcome.RUNNING, Outcome.ABORTED)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)!r}: expected one of {', '.join(known)}")
    return tuple(Outcome[name] for name in names)
