"""Options that several commands have: one wording, one check."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from salus_vla.contract import DEFAULT_TASK
from salus_vla.errors import RecordingError
from salus_vla.policy.registry import BUILTIN_TINY, POLICIES
from salus_vla.profiles import DEFAULT_PROFILE

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def at_least(smallest: int) -> type[int]:
    """An argparse type: whole numbers from this one on."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is below {smallest}")
        return value

    return whole_number  # type: ignore[return-value]  # argparse calls it and shows its name


def add_episode_options(parser: argparse.ArgumentParser) -> None:
    """Adds which episodes are made, in which scene, by which policy; without defaults, a resumed run has its own."""
    add = parser.add_argument
    add("--episodes", metavar="N", type=at_least(1), required=True, help="episodes of the whole run")
    add("--seed", metavar="S", type=at_least(0), help="seed of episode 0; episode n has S + n (default: 0)")
    add(
        "--profile",
        metavar="NAME",
        help=f"how a seed changes the scene, a name of `profiles` in contract.yaml (default: {DEFAULT_PROFILE})",
    )
    add("--policy", choices=POLICIES, help="what produces the actions (default: ensemble)")
    add(
        "--model",
        metavar="MODEL",
        help="model folder, member folders or Hub names separated by commas, or builtin:compact, the trained ensemble "
        f"(default: {BUILTIN_TINY}, untrained)",
    )
    add("--device", help="device of the ensemble: cpu, cuda:0, ... (default: cpu)")
    add("--task", metavar="TEXT", help=f"instruction (default: {DEFAULT_TASK!r})")
    add("--max-decisions", metavar="N", type=at_least(1), help="decisions before TIMEOUT (default: the scene's, 200)")


def add_run_options(parser: argparse.ArgumentParser, resumed: str) -> None:
    """Adds where the run goes; `resumed` says what --resume takes without --run-id."""
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, default=Path("runs"), help="folder that holds the runs (default: runs)")
    add("--run-id", metavar="NAME", help="name of the run's folder (default: made from the date)")
    add("--resume", action="store_true", help=f"continue the run --run-id, or {resumed}")


def check_run_id(run_id: str) -> None:
    """Raises RecordingError unless it is a plain name of a folder."""
    if not _RUN_ID.fullmatch(run_id):
        raise RecordingError(f"--run-id {run_id!r}: expected letters, digits and . _ - only, a letter or digit first")
