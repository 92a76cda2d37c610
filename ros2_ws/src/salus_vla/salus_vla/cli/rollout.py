"""`salus rollout`: episodes without ROS, in parallel, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.narrow_table import Column, narrow_table
from salus_vla.cli.options import (
    CUT_TASK_HELP,
    add_episode_options,
    add_intervention_option,
    add_run_options,
    at_least,
    check_run_id,
    some_text,
)
from salus_vla.cli.rollout_progress import RolloutProgress
from salus_vla.config.policy_settings import read_settings
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import RecordingError, SalusError
from salus_vla.contract.outcomes import ended_as
from salus_vla.control.takeover import CONDITIONS
from salus_vla.data.bags.run_records import RUN_FILE
from salus_vla.data.rollouts.rollout_folder import RolloutFolder
from salus_vla.data.rollouts.rollout_run import roll_out
from salus_vla.data.rollouts.rollout_settings import BASE, RolloutSettings
from salus_vla.data.rollouts.rollout_store import is_rollout_run
from salus_vla.data.rollouts.worker_pool import run_local
from salus_vla.data.rollouts.worker_results import REDONE_AT_MOST, Result

_DESCRIPTION = """\
Makes episodes without ROS: the simulator, policy, limits and task of the graph, many times in parallel. A seed gives
the same episode here and through the graph (`salus collect`), with any number of workers; on another kind of CPU the
last digits of pictures and network differ, and an episode may end otherwise.
"""
_EPILOG = f"""\
One file per finished episode, RUN/episodes/seed_NNNNNN.safetensors; `salus dataset export RUN` turns them into a data
set. Ctrl-C ends the workers, finished episodes stay, --resume makes the others. The episode of a worker that dies is
made again, {REDONE_AT_MOST} times at most.

examples:
  salus rollout --policy expert --episodes 1000 --seed 0 --profile train --workers 16
  salus rollout --policy ensemble --model models/mine --episodes 200 --seed 5000 --no-images
  salus rollout --policy expert --episodes 10000 --ray auto --workers 200    # on a running Ray cluster

exit codes: 0 every episode made, 1 some or all could not be made (the reason is printed), 2 wrong arguments, 130 Ctrl-C
"""
_LOG = "workers.log"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `rollout`."""
    parser = subparsers.add_parser(
        "rollout",
        help=SUMMARIES["rollout"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_episode_options(parser)
    add = parser.add_argument
    add("--disturb", action="store_true", default=None, help="disturb the commands on purpose, for data with recovery")
    add_intervention_option(parser)
    add("--cut-task", action="store_true", default=None, help=CUT_TASK_HELP)
    add(
        "--takeover",
        choices=("expert",),
        help="this policy acts from a condition on until the end; such episodes are counted apart everywhere",
    )
    add(
        "--when",
        metavar="CONDITIONS",
        type=some_text,
        help=f"the conditions, any of {'|'.join(CONDITIONS)} with | between them: the gripper has been closed on "
        "nothing for a second; a grasp is too wide to be straight; at a random decision",
    )
    add(
        "--params-file",
        metavar="YAML",
        type=Path,
        help="parameters of the nodes, of which vla_ensemble's count (default: the installed salus.yaml)",
    )
    add("--no-images", dest="images", action="store_false", default=None, help="store no pictures; much faster")
    add(
        "--workers",
        metavar="W",
        type=at_least(1),
        help="processes, or actors on Ray (default: the CPUs of this machine)",
    )
    add(
        "--ray",
        metavar="ADDRESS",
        help="run the episodes on a Ray cluster (auto or HOST:PORT); local starts one here for this run",
    )
    add_run_options(parser, "the newest rollout in --out")
    parser.set_defaults(run=run, makes=True)


def run(arguments: argparse.Namespace) -> int:
    """Makes the run.

    Raises:
        SalusError: the run cannot be made or resumed with these arguments, or ends early; says why.
    """
    console = Console()
    out = arguments.out.expanduser().resolve()
    folder = _resumed(arguments, out) if arguments.resume else _new(arguments, out)
    try:
        return _run_in(folder, arguments, console)
    finally:
        folder.close()


def _run_in(folder: RolloutFolder, arguments: argparse.Namespace, console: Console) -> int:
    for file in folder.damaged:
        console.print(f"[yellow]{file} is damaged and is made again[/yellow]", soft_wrap=True, highlight=False)
    wanted = range(folder.first_seed, folder.first_seed + arguments.episodes)
    seeds = [seed for seed in wanted if seed not in folder.finished]
    failures: dict[int, str] = {}
    interrupted = False
    if seeds:
        results = _results(folder, arguments, seeds)
        kept = [folder.finished[seed] for seed in wanted if seed in folder.finished]
        with _sigterm_as_ctrl_c(), RolloutProgress(console, len(wanted), kept) as progress:
            try:
                failures = roll_out(folder, results, progress.show)
            except KeyboardInterrupt:
                interrupted = True
    _print_run(console, folder)
    if interrupted:
        console.print("interrupted; continue with --resume")
        return 130
    for seed, message in sorted(failures.items()):
        console.print(f"[red]seed {seed} could not be made:[/red] {message}", soft_wrap=True, highlight=False)
    return 1 if failures else 0


def _results(
    folder: RolloutFolder, arguments: argparse.Namespace, seeds: Sequence[int]
) -> Generator[Result, None, None]:
    workers = min(arguments.workers or os.cpu_count() or 1, len(seeds))
    if arguments.ray is not None:
        # Ray and mujoco take a while to import, and not everybody has Ray.
        from salus_vla.data.rollouts.ray_backend import run_on_ray

        return run_on_ray(folder.settings, seeds, workers, arguments.ray)
    return run_local(folder.settings, seeds, workers, folder.path / _LOG)


def _new(arguments: argparse.Namespace, out: Path) -> RolloutFolder:
    run_id = arguments.run_id or datetime.now().strftime("rollout_%Y%m%d_%H%M%S")
    check_run_id(run_id)
    if (out / run_id).exists():
        raise RecordingError(f"{out / run_id}: exists already; give --resume to continue it, or another --run-id")
    settings = RolloutSettings.of(read_settings(arguments.params_file), **_given(arguments))
    load_scene().profile(settings.profile)
    if arguments.ray in (None, "local"):
        _prepare(settings)
    return RolloutFolder.create(out, run_id, settings, arguments.seed or 0)


def _resumed(arguments: argparse.Namespace, out: Path) -> RolloutFolder:
    folder = RolloutFolder.resume(out / arguments.run_id if arguments.run_id else _newest_run(out))
    try:
        if arguments.ray in (None, "local"):
            _prepare(folder.settings)
        _same("--seed", arguments.seed, folder.first_seed)
        for name, value in _given(arguments).items():
            _same("--" + name.replace("_", "-"), value, getattr(folder.settings, name))
        if arguments.params_file is not None:
            given = replace(folder.settings, base=read_settings(arguments.params_file)).policy_settings
            _same(f"--params-file {arguments.params_file}:", given.to_json(), folder.settings.policy_settings.to_json())
    except SalusError:
        folder.close()
        raise
    return folder


def _prepare(settings: RolloutSettings) -> None:
    """Before there is a folder: what cannot work here leaves none."""
    from salus_vla.data.rollouts.episode_maker import prepare_machine  # mujoco: not for a wrong argument

    prepare_machine(settings)


def _same(option: str, given: object, before: object) -> None:
    if given is not None and given != before:
        raise SalusError(f"{option} {given}: the run was made with {before!r}; leave it out, or start another run")


def _given(arguments: argparse.Namespace) -> dict[str, str | bool | int]:
    """The settings that are among the arguments."""
    names = [item.name for item in fields(RolloutSettings) if item.name != BASE]
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _newest_run(out: Path) -> Path:
    runs = [file for file in out.glob(f"*/{RUN_FILE}") if is_rollout_run(file.parent)]
    if not runs:
        raise RecordingError(f"--resume: {out} holds no run of `salus rollout`")
    return max(runs, key=lambda file: file.stat().st_mtime).parent


def _print_run(console: Console, folder: RolloutFolder) -> None:
    episodes = folder.finished.values()
    rows = []
    ended: dict[str, list[int]] = {}
    for episode in sorted(episodes, key=lambda item: (item.taken_over_ns is not None, item.outcome)):
        name = ended_as(episode.outcome, taken_over=episode.taken_over_ns is not None)
        ended.setdefault(name, []).append(episode.decisions)
    for name, decisions in ended.items():
        share = len(decisions) / len(episodes)
        rows.append((name, str(len(decisions)), f"{share:.1%}", f"{sum(decisions) / len(decisions):.1f}"))
    if rows:
        columns = Column("outcome"), Column("episodes"), Column("share", rank=1), Column("decisions (mean)", rank=2)
        console.print(narrow_table(columns, rows, console.width))
    console.print(f"finished episodes: {len(episodes)}, in {folder.path}", soft_wrap=True, highlight=False)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """`kill` ends a run as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
