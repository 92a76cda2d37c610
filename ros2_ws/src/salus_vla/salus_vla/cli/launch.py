"""`salus launch`: run a launch file with `ros2 launch` where it is installed, else with the built-in runner."""

import argparse
import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from salus_vla.cli.commands import SUMMARIES
from salus_vla.contract.errors import LaunchError
from salus_vla.ros.environment.domains import LAUNCH_DOMAIN, claimed_domain, keep_on_this_machine
from salus_vla.ros.environment.preflight import DOMAIN, prepare
from salus_vla.ros.launch.launch_arguments import format_arguments, parse_arguments
from salus_vla.ros.launch.launch_graph import build_graph
from salus_vla.ros.launch.packages import find_share
from salus_vla.ros.launch.runner import launch

_PACKAGE = "salus_vla"
LAUNCH_FILE = "salus.launch.xml"  # the whole graph


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the `launch` command."""
    parser = subparsers.add_parser("launch", help=SUMMARIES["launch"], description=__doc__)
    parser.add_argument("file", help=f"path of a launch file, or the name of one in share/{_PACKAGE}/launch")
    parser.add_argument("arguments", nargs="*", default=[], metavar="name:=value", help="launch arguments")
    parser.add_argument("-s", "--show-args", action="store_true", help="show the arguments of the launch file and exit")
    parser.add_argument("-p", "--print", action="store_true", help="print the commands of the processes and exit")
    parser.add_argument("--builtin", action="store_true", help="use the built-in runner even where ros2 is installed")
    parser.set_defaults(run=run, makes=True)


def run(args: argparse.Namespace) -> int:
    """Runs the command; replaces this process by `ros2 launch` where that is used.

    Raises:
        LaunchError: the launch file is not found or not valid, or a process could not be started.
        SalusError: our Fast DDS profile cannot be read, ROS would not start with this environment, or another graph has
            the domain.
    """
    path = find_launch_file(args.file)
    arguments = parse_arguments(args.arguments)
    ros2 = None if args.builtin else shutil.which("ros2")
    prepare(os.environ)
    keep_on_this_machine(os.environ)  # the launch file itself cannot know which middleware is used
    starts = not (args.show_args or args.print)
    with _claimed(path, arguments) if starts else contextlib.nullcontext():
        if ros2 is not None:
            options = [flag for flag, wanted in (("--show-args", args.show_args), ("--print", args.print)) if wanted]
            sys.stdout.flush()
            os.execv(ros2, [ros2, "launch", *options, str(path), *_words(arguments)])
        if starts:
            return launch(path, arguments)
    if args.show_args:
        print(format_arguments(path))
        return 0
    with tempfile.TemporaryDirectory(prefix="salus_launch_") as folder:
        for spec in build_graph(path, arguments, Path(folder)):
            print(f"[{spec.label}] {shlex.join(spec.command)}")
    return 0


def _claimed(path: Path, arguments: Mapping[str, str]) -> contextlib.AbstractContextManager[None]:
    """The domain of the whole graph, before a node of it can disturb another; a simulator alone may get company."""
    if path.name != LAUNCH_FILE or arguments.get("graph", "whole") != "whole":
        return contextlib.nullcontext()
    os.environ.setdefault(DOMAIN, str(LAUNCH_DOMAIN))
    return claimed_domain(os.environ)


def launch_command(file: Path, arguments: Mapping[str, str]) -> list[str]:
    """Returns the command that launches `file`, for a program that starts and stops the graph itself with SIGINT."""
    ros2 = shutil.which("ros2")
    if ros2 is not None:
        # Without --noninteractive `ros2 launch` expects the terminal, not itself, to pass SIGINT on to the nodes.
        return [ros2, "launch", "--noninteractive", str(file), *_words(arguments)]
    return [sys.executable, "-m", "salus_vla.ros.launch", str(file), *_words(arguments)]


def find_launch_file(name: str) -> Path:
    """Returns the launch file called `name`: a path, or a file in share/salus_vla/launch or the source tree's launch/.

    Raises:
        LaunchError: there is no such file; the message lists the places searched.
    """
    places = [Path(name)]
    if Path(name).name == name:
        with contextlib.suppress(LaunchError):  # not installed: run from the source tree
            places.append(find_share(_PACKAGE, os.environ) / "launch" / name)
        places += [folder / "launch" / name for folder in Path(__file__).resolve().parents[2:6]]
    for place in places:
        if place.is_file():
            return place
    raise LaunchError(f"launch file '{name}' not found; searched {', '.join(map(str, places))}")


def _words(arguments: Mapping[str, str]) -> list[str]:
    return [f"{name}:={value}" for name, value in arguments.items()]
