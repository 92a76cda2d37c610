"""`salus collect`: starts the whole graph, shows how far it is, and ends with a table of the run."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from salus_vla.cli.bag import print_run
from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.graph_process import TAIL, end_graph, output_lines, start_graph
from salus_vla.cli.launch import LAUNCH_FILE, find_launch_file, launch_command
from salus_vla.cli.options import (
    CUT_TASK_HELP,
    add_episode_options,
    add_intervention_option,
    add_run_options,
    check_run_id,
    some_text,
)
from salus_vla.config.params_file import check_params_file
from salus_vla.config.paths import DEFAULT_PREDICTOR, NO_PREDICTOR
from salus_vla.config.policy_options import BUILTIN_COMPACT, MODES
from salus_vla.config.policy_settings import SETTINGS, PolicySettings, read_settings
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.config.scene import load_scene
from salus_vla.contract import DEFAULT_TASK
from salus_vla.contract.errors import RecordingError, SalusError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_folder import RUN_FILE
from salus_vla.data.bags.run_info import read_run
from salus_vla.processes import ending_signals
from salus_vla.ros.environment.claims import claimed_run
from salus_vla.ros.environment.domains import private_graph
from salus_vla.ros.environment.preflight import DOMAIN, LOG_DIR
from salus_vla.simulation.isaac.host.installation import find_install

_DESCRIPTION = """\
Starts simulator, policy, recorder and episodes as ROS 2 processes, records one rosbag2 bag per episode, and ends with a
table of the run. Ctrl-C ends the graph and closes every bag; --resume continues later.
"""
_EPILOG = """\
The graph runs on a ROS_DOMAIN_ID of its own, on this machine only, unless ROS_DOMAIN_ID and
ROS_AUTOMATIC_DISCOVERY_RANGE are set. Its output goes to graph.log in the run's folder; -v shows it as well.

exit codes: 0 every episode recorded, 1 the graph failed (the reason is printed), 2 wrong arguments, 130 Ctrl-C
"""
_DIED = re.compile(r"\[[\w-]+\] error: (.+)")
_FAILED = re.compile(r"\[ERROR\] \[[\d.]+\] \[episode\]: (.+)")
# What a run is made with, beside the policy's settings; a resumed run keeps it. 0 decisions stand for the scene's.
_DEFAULTS = {
    "seed": "0",
    "sim": "mujoco",
    "profile": DEFAULT_PROFILE,
    "task": DEFAULT_TASK,
    "pacing": "lockstep",
    "max_decisions": "0",
}
GRAPH_LOG = "graph.log"
ROS_LOG = "ros_log"  # folder of the nodes' own logs
_DISK_FULL = 1_000_000  # bytes free; less than a tenth of a second of images


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `collect`."""
    parser = subparsers.add_parser(
        "collect",
        help=SUMMARIES["collect"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_episode_options(parser)
    add = parser.add_argument
    add("--sim", choices=("mujoco", "isaac", "external"), help="simulator (default: mujoco)")
    add(
        "--disturb",
        action="store_const",
        const="true",
        help="disturb what is commanded, so that demonstrations show how to recover",
    )
    add("--cut-task", action="store_const", const="true", help=CUT_TASK_HELP)
    add(
        "--devices",
        metavar="LIST",
        type=some_text,
        help="spread the members over several instead, for example cuda:0,cuda:1",
    )
    add("--mode", choices=MODES, help="how the ensemble runs (default: auto)")
    add_intervention_option(parser)
    add(
        "--predictor",
        metavar="DIR",
        type=some_text,
        help=f"failure predictor: {DEFAULT_PREDICTOR}, a folder, or {NO_PREDICTOR} (default: {DEFAULT_PREDICTOR} for "
        f"{BUILTIN_COMPACT}, of which it is, {NO_PREDICTOR} for everything else)",
    )
    add("--pacing", choices=("lockstep", "realtime"), help="default: lockstep, as fast as it goes")
    add_run_options(parser, "the newest run in --out")
    add("--params-file", metavar="YAML", type=Path, help="parameters of the nodes (default: the installed salus.yaml)")
    add("-v", "--verbose", action="store_true", help="show the output of the nodes as well")
    parser.set_defaults(run=run, makes=True)


def run(arguments: argparse.Namespace) -> int:
    """Collects the run.

    Raises:
        SalusError: the run cannot be resumed, the profile is unknown, a section of the parameter file has no node, or
            the simulator cannot be started from here.
    """
    out = arguments.out.expanduser().resolve()
    run_id = _newest_run(out) if arguments.resume and not arguments.run_id else arguments.run_id
    run_id = run_id or datetime.now().strftime("run_%Y%m%d_%H%M%S")
    check_run_id(run_id)
    folder = out / run_id
    if folder.exists() and not arguments.resume:
        raise RecordingError(f"{folder}: exists already; give --resume to continue it, or another --run-id")
    stored = read_run(folder).record.arguments if arguments.resume else {}
    file = arguments.params_file.expanduser() if arguments.params_file is not None else None
    if file is not None:
        check_params_file(file)
    base = read_settings(file)
    settings = _settings(arguments, stored, base)
    if settings["sim"] == "isaac":
        find_install(os.environ)  # said here before a graph starts; the node checks the rest
    if file is None:  # such a file may name another contract.yaml; the simulator then checks alone
        load_scene().profile(settings["profile"])
    settings[SETTINGS] = _policy_settings(base, settings, stored)
    if arguments.resume and _completed(folder) >= arguments.episodes:
        Console().print(f"{folder} already has {arguments.episodes} complete episodes or more; nothing to do")
        return 0
    command = launch_command(find_launch_file(LAUNCH_FILE), _launch_arguments(arguments, settings, out, run_id))
    console = Console()
    started = time.monotonic()
    environment = dict(os.environ)
    if settings["sim"] == "external":  # it runs already, in the domain that the user has set or in ROS's own
        environment[DOMAIN] = environment.get(DOMAIN) or "0"
    log_dir = environment.get(LOG_DIR)
    with claimed_run(folder), private_graph(environment):
        log = _new_log(out, run_id, folder)
        ros_log = out / f".{run_id}.{ROS_LOG}"
        environment[LOG_DIR] = log_dir or str(ros_log)
        console.print(f"[dim]to look at the topics: export ROS_DOMAIN_ID={environment['ROS_DOMAIN_ID']}[/dim]")
        graph = start_graph(command, environment, log)
        try:
            with _graceful_stop(graph) as interrupted:
                # Takes a second, in which the graph starts already.
                from salus_vla.ros.clients.collect_progress import RunProgress

                progress = RunProgress(console, arguments.episodes, environment, log if arguments.verbose else None)
                progress.follow(graph)
        finally:
            end_graph(graph)
            log = _keep(log, folder, GRAPH_LOG)
            if ros_log.is_dir():
                _keep(ros_log, folder, ROS_LOG)
    if (folder / RUN_FILE).is_file():
        console.print()
        print_run(console, read_run(folder), provenance=False)
    console.print(
        f"took {time.monotonic() - started:.0f} s; output of the nodes in {log}", soft_wrap=True, highlight=False
    )
    if interrupted.is_set:
        console.print("interrupted; continue with --resume")
        return 130
    # `ros2 launch` ends with 0 also when a node that the graph needs has failed, so the episodes count as well.
    if graph.returncode != 0 or _completed(folder) < arguments.episodes:
        console.print(f"[red]the graph failed (exit code {graph.returncode})[/red]; the end of its output:")
        lines = output_lines(log)
        console.print("\n".join(lines[-TAIL:]), markup=False, highlight=False, soft_wrap=True)
        if (free := shutil.disk_usage(out).free) < _DISK_FULL:  # the nodes' own message may have found no room either
            console.print(
                f"{out}: the disk is full, {free} bytes are left", markup=False, highlight=False, soft_wrap=True
            )
        if (reason := reason_of_failure(lines)) is not None:
            print(f"salus: error: {reason}", file=sys.stderr)
        return 1
    return 0


def reason_of_failure(lines: Sequence[str]) -> str | None:
    """Why a run ended: what the first node that could not start said, else the episode node; from their output."""
    died = [match[1] for line in lines if (match := _DIED.match(line))]
    failed = [match[1] for line in lines if (match := _FAILED.search(line))]
    return died[0] if died else failed[-1] if failed else None


class _Flag:
    """Set by the signal handler."""

    is_set = False


@contextmanager
def _graceful_stop(graph: subprocess.Popen[bytes]) -> Iterator[_Flag]:
    """SIGINT, SIGTERM and SIGHUP go on to the graph, which closes its bags; a second one does not kill us meanwhile."""
    flag = _Flag()

    def stop(number: int, _: object) -> None:
        flag.is_set = True
        if graph.poll() is None:
            graph.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, stop) for number in ending_signals()}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(arguments: argparse.Namespace, stored: Mapping[str, str], base: PolicySettings) -> dict[str, str]:
    """What the run is made with: what was given, else what the resumed run was made with, else the parameter file's.

    Raises:
        SalusError: given and stored differ; one run must not mix two.
    """
    settings = {}
    of_policy = {
        "policy": base.policy,
        "disturb": str(base.disturb).lower(),
        "cameras": ",".join(base.cameras),
        "cut_task": str(base.cut_task).lower(),
        "model": ",".join(base.members),
        "device": base.device,
        "devices": ",".join(base.devices),
        "mode": base.mode,
        "intervention": base.intervention,
    }
    predictor = {"predictor": _default_predictor(of_policy, arguments, stored)}
    for name, default in {**_DEFAULTS, **of_policy, **predictor}.items():
        given = getattr(arguments, name)
        before = stored.get(name)
        if given is not None and before is not None and str(given) != before:
            option = "--" + name.replace("_", "-")
            raise SalusError(f"{option} {given}: the run was made with {before!r}; leave it out, or start another run")
        settings[name] = str(given) if given is not None else before or default
    return settings


def _default_predictor(of_policy: Mapping[str, str], arguments: argparse.Namespace, stored: Mapping[str, str]) -> str:
    """The one that comes with SALUS, for the ensemble that comes with it; a resumed run from before had none."""
    policy, model = (getattr(arguments, name) or stored.get(name) or of_policy[name] for name in ("policy", "model"))
    fits = not stored and (policy, model) == ("ensemble", BUILTIN_COMPACT)
    return DEFAULT_PREDICTOR if fits else NO_PREDICTOR


def _policy_settings(base: PolicySettings, settings: Mapping[str, str], stored: Mapping[str, str]) -> str:
    """What the policy's node is made with, of the parameter file and the launch arguments, as JSON.

    Raises:
        SalusError: a resumed run was made with something else; one run must not mix two.
    """
    made = replace(
        base,
        policy=settings["policy"],
        members=(settings["model"],),
        device=settings["device"],
        devices=tuple(device for device in [settings["devices"]] if device),
        mode=settings["mode"],
        disturb=settings["disturb"] == "true",
        intervention=settings["intervention"],
        intervention_predictor=settings["predictor"],
        cameras=tuple(part for part in [settings["cameras"]] if part),
        cut_task=settings["cut_task"] == "true",
    ).to_json()
    # Read and written again: a run from before a parameter was there has its default.
    if SETTINGS in stored and PolicySettings.from_json(stored[SETTINGS], f"{RUN_FILE}: {SETTINGS}").to_json() != made:
        raise SalusError(f"--params-file: the run was made with the parameters {stored[SETTINGS]}, now they are {made}")
    return made


def _completed(folder: Path) -> int:
    """Episodes of a run that were not aborted; 0 while there is no run."""
    if not (folder / RUN_FILE).is_file():
        return 0
    return sum(entry.outcome != Outcome.ABORTED.name for entry in read_run(folder).record.episodes)


def _launch_arguments(
    arguments: argparse.Namespace, settings: Mapping[str, str], out: Path, run_id: str
) -> dict[str, str]:
    values = {
        **{name: value for name, value in settings.items() if name != SETTINGS},
        "episodes": str(arguments.episodes),
        "out": str(out),
        "run_id": run_id,
        "resume": str(arguments.resume).lower(),
        "arguments": json.dumps(dict(settings)),
    }
    if arguments.params_file is not None:
        values["params_file"] = str(arguments.params_file.expanduser().resolve())
    return {name: value for name, value in values.items() if value}  # `name:=` alone is malformed for ros2 launch


def _newest_run(out: Path) -> str:
    runs = sorted(out.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime)
    if not runs:
        raise RecordingError(f"--resume: {out} holds no run")
    return runs[-1].parent.name


def _new_log(out: Path, run_id: str, folder: Path) -> Path:
    """The log of the graph, beside the run until its folder exists; one that a killed process left is kept."""
    path = out / f".{run_id}.{GRAPH_LOG}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size:
            _keep(path, folder if folder.is_dir() else out, GRAPH_LOG if folder.is_dir() else path.name)
        path.touch()
    except OSError as error:
        raise RecordingError(f"--out {out}: cannot be written ({error.strerror})") from error
    return path


def _keep(made: Path, folder: Path, name: str) -> Path:
    """Moves a log into the run's folder; a resumed run keeps its earlier ones."""
    if not folder.is_dir():
        return made
    kept = folder / name
    number = 0
    while kept.exists():
        number += 1
        kept = folder / f"{number}.{name}"
    made.rename(kept)
    return kept
