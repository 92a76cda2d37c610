"""Options that several commands have: one wording, one check."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from salus_vla.config.policy_options import DEFAULT_MODEL, POLICIES
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import DEFAULT_TASK
from salus_vla.contract.errors import ConfigError, RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import Assumed
from salus_vla.data.bags.run_info import is_run
from salus_vla.safety.intervention.candidates import ALWAYS_CHOICES
from salus_vla.safety.intervention.modes import checked_mode

# DDS computes ports from it; Fast DDS ends the process for a larger one.
MOST_DOMAINS = 232
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def at_least(smallest: int, largest: int = 2**31 - 1) -> type[int]:
    """An argparse type: whole numbers from this one on; every number has to end somewhere."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r:.40}: expected a whole number") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is below {smallest}")
        if value > largest:
            raise argparse.ArgumentTypeError(f"{value} is above {largest}")
        return value

    return whole_number  # type: ignore[return-value]  # argparse calls it and shows its name


def number_above(limit: float, *, or_equal: bool = False) -> type[float]:
    """An argparse type: finite numbers above a limit, or from it on."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r:.40}: expected a number") from None
        if not math.isfinite(value) or value < limit or (value == limit and not or_equal):
            raise argparse.ArgumentTypeError(f"{text} is not {'at least' if or_equal else 'above'} {limit:g}")
        return value

    return number  # type: ignore[return-value]  # argparse calls it and shows its name


def named(*suffixes: str) -> type[Path]:
    """An argparse type: files whose names end in one of these."""

    def file(text: str) -> Path:
        if not text.endswith(suffixes):
            raise argparse.ArgumentTypeError(f"{text!r}: expected a name that ends in {' or '.join(suffixes)}")
        return Path(text)

    return file  # type: ignore[return-value]  # argparse calls it


def some_text(text: str) -> str:
    """An argparse type: text that is not empty; a launch argument that is empty would silently be the default."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected some text, got none")
    return text


CAMERAS_HELP = (
    "what the policy calls this robot's cameras: front=camera1,side=camera2,top=camera3 (default: as it says)"
)


def add_domain_option(parser: argparse.ArgumentParser) -> None:
    """Adds which graph to look at; `domains.watched_domain` finds it."""
    parser.add_argument(
        "--domain",
        metavar="N",
        type=at_least(0, MOST_DOMAINS),
        help="ROS domain of the graph (default: $ROS_DOMAIN_ID, else that of the one `salus collect` on this machine)",
    )


def add_episode_options(parser: argparse.ArgumentParser) -> None:
    """Adds which episodes are made, in which scene, by which policy; without defaults, a resumed run has its own."""
    add = parser.add_argument
    add("--episodes", metavar="N", type=at_least(1, 10**6), required=True, help="episodes of the whole run")
    add("--seed", metavar="S", type=at_least(0), help="seed of episode 0; episode n has S + n (default: 0)")
    add(
        "--profile",
        metavar="NAME",
        type=some_text,
        help=f"how a seed changes the scene, a name of `profiles` in contract.yaml (default: {DEFAULT_PROFILE})",
    )
    add("--policy", choices=POLICIES, help="what produces the actions (default: ensemble)")
    add(
        "--model",
        metavar="MODEL",
        type=some_text,
        help="model folder, member folders or Hub names separated by commas, or builtin:tiny, untrained and fast "
        f"(default: {DEFAULT_MODEL}, the trained ensemble)",
    )
    add("--cameras", metavar="LIST", type=some_text, help=CAMERAS_HELP)
    add("--device", type=some_text, help="device of the ensemble: cpu, cuda:0, ... (default: cpu)")
    add("--task", metavar="TEXT", type=some_text, help=f"instruction (default: {DEFAULT_TASK!r})")
    add(
        "--max-decisions",
        metavar="N",
        type=at_least(1, 10**6),
        help="decisions before TIMEOUT (default: the scene's, 200)",
    )


CUT_TASK_HELP = "accept an instruction of which the policy reads only the beginning"


def add_run_options(parser: argparse.ArgumentParser, resumed: str) -> None:
    """Adds where the run goes; `resumed` says what --resume takes without --run-id."""
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, default=Path("runs"), help="folder that holds the runs (default: runs)")
    add("--run-id", metavar="NAME", type=some_text, help="name of the run's folder (default: made from the date)")
    add("--resume", action="store_true", help=f"continue the run --run-id, or {resumed}")


def check_is_folder(path: Path) -> None:
    """Raises RecordingError unless it is a folder; what is in it is told apart later."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise RecordingError(f"{path}: {what}; expected the folder of a run or of a bag")


def check_can_be_folder(path: Path) -> None:
    """Raises ConfigError where a file stands in the way of a new folder, or of one that holds it."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    if not existing.is_dir():
        raise ConfigError(f"{path}: {existing} is a file, expected a folder")


def check_is_no_run(path: Path) -> None:
    """Raises RecordingError for a run where the folder of one bag is wanted."""
    check_is_folder(path)
    if is_run(path):
        raise RecordingError(f"{path}: is a run; give the folder of one of its episodes")


def check_run_id(run_id: str) -> None:
    """Raises RecordingError unless it is a plain name of a folder."""
    if not _RUN_ID.fullmatch(run_id):
        raise RecordingError(f"--run-id {run_id!r}: expected letters, digits and . _ - only, a letter or digit first")


def add_intervention_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--intervention`."""
    parser.add_argument(
        "--intervention",
        metavar="MODE",
        type=_intervention,
        help="what is done about foreseen failures: off, advise (says what it would do) or act; to learn from and to "
        "compare with: random, random:NAME=P,..., random_approach, random_retreat, hand_over, throughout:slow_F, "
        "always:NAME of "
        f"{', '.join(ALWAYS_CHOICES)} (default: off)",
    )


def _intervention(text: str) -> str:
    try:
        return checked_mode(text, ALWAYS_CHOICES)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_assumed_options(parser: argparse.ArgumentParser) -> None:
    """Adds what bags of other recorders may not say; `assumed_of` reads it."""
    known = [outcome.name for outcome in Outcome if outcome is not Outcome.RUNNING]
    parser.add_argument(
        "--assume-outcome",
        metavar="NAME",
        choices=known,
        help="how the episodes ended whose bags do not say it, as those of `ros2 bag record` without /salus/episode: "
        f"{', '.join(known)} (default: it is not known)",
    )
    parser.add_argument(
        "--assume-task",
        metavar="TEXT",
        type=some_text,
        help="likewise the instruction that was followed (default: it is not known)",
    )


def assumed_of(arguments: argparse.Namespace) -> Assumed:
    """What `add_assumed_options` were given."""
    name = arguments.assume_outcome
    return Assumed(Outcome[name] if name is not None else None, arguments.assume_task or "")


def add_episode_number(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds which episode of a bag that holds several; `what` is done with it."""
    parser.add_argument(
        "--episode", metavar="N", type=at_least(0), help=f"{what} episode N only, of a bag that holds several"
    )
