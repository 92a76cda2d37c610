"""`salus replay BAG`: plays a bag into the graph, or lets a policy decide on it again and compares."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import (
    add_episode_number,
    at_least,
    check_is_folder,
    check_is_no_run,
    number_above,
    some_text,
)
from salus_vla.config.parameters import PARAMETER_FORMAT
from salus_vla.config.paths import DEFAULT_PREDICTOR, NO_PREDICTOR
from salus_vla.config.policy_options import DEFAULT_MODEL
from salus_vla.contract import DEFAULT_TASK, DISCOVERY_S
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.run_info import bags_of
from salus_vla.data.replay.comparison import Comparison, compare
from salus_vla.data.replay.schedule import COMMANDS, PlayedTopic, Schedule
from salus_vla.ros.environment.domains import private_graph

_DESCRIPTION = """\
Plays a bag into the graph: every message with its recorded QoS, /clock among them, at the pace of the recording. It
runs on a ROS_DOMAIN_ID of its own unless ROS_DOMAIN_ID is set, and refuses a domain in which somebody else publishes
one of its topics. What would command an arm is left out unless --commands is given.

With --recompute nothing is played: the recorded cameras, joints and clock are given to the policy's node once more, in
lockstep and in a private ROS domain, and each field of the new safety signals is compared with the recorded one. Where
a failure predictor spoke, it foresees once more from the recorded signals, joints and commands, and is compared, too.

With --decide the policy decides on a bag that has cameras and joints but no decisions, such as that of a robot which a
person drove, and BAG2 becomes a bag with everything of the first and the policy's safety signals.
"""
_EPILOG = """\
exit codes: 0 played or decided, or every decision and prediction is the same bit for bit; 1 an error, or some differ;
2 wrong arguments; 130 Ctrl-C
"""
_HELP_S = 20.0  # wall time for ros2 to say whether it has a player
# What differs between two loads of the same policy (where it lies does not matter, its hashes do), or is chosen here.
_NOT_COMPARED = re.compile(r"pid|host|load_s|member_\d+|param\.(autostart|pacing|model\.(members|devices))")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `replay`."""
    parser = subparsers.add_parser(
        "replay",
        help=SUMMARIES["replay"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("path", metavar="BAG", type=Path, help="folder of a bag; with --recompute also that of a run")
    add("--rate", metavar="R", type=number_above(0.0), default=1.0, help="recorded seconds per second (default: 1)")
    add("--loop", action="store_true", help="begin again at the end; the clock then jumps back")
    add(
        "--start-offset",
        metavar="S",
        type=number_above(0.0, or_equal=True),
        default=0.0,
        help="leave out the first S seconds",
    )
    add(
        "--topics",
        metavar="TOPIC",
        nargs="+",
        help="play these only, and /clock (default: all but those of --commands)",
    )
    add(
        "--commands",
        action="store_true",
        help=f"play {' and '.join(COMMANDS)} too: an arm or a simulator that listens obeys them",
    )
    add(
        "--delay",
        metavar="S",
        type=number_above(0.0, or_equal=True),
        default=0.0,
        help=f"wait longer than the {DISCOVERY_S:g} s in which subscribers find the topics (default: 0)",
    )
    add(
        "--builtin",
        action="store_true",
        help="use the built-in player even where `ros2 bag` is installed (with --start-offset it always is)",
    )
    add("--recompute", action="store_true", help="decide on the recorded observations again and compare")
    add("--decide", action="store_true", help="decide on a bag without decisions and write one with them")
    add("--out", metavar="BAG2", type=Path, help="for --decide: folder of the new bag")
    add("--task", metavar="TEXT", type=some_text, help=f"for --decide, where BAG has none (default: {DEFAULT_TASK!r})")
    add("--seed", metavar="S", type=at_least(0), help="for --decide, likewise: of the policy's noise (default: 0)")
    add_episode_number(parser, "play, or decide on,")
    add(
        "--model",
        metavar="MODEL",
        help="for --recompute and --decide: as in `salus collect` (default: the recorded one, and for --decide "
        f"{DEFAULT_MODEL})",
    )
    add(
        "--predictor",
        metavar="P",
        help=f"for --recompute: {DEFAULT_PREDICTOR}, a folder, or {NO_PREDICTOR} (default: the recorded one)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plays or recomputes.

    Raises:
        SalusError: the bag cannot be read, the policy cannot be loaded, or the domain is in use by a graph.
    """
    for option in ("out", "task", "seed"):
        if getattr(arguments, option) is not None and not arguments.decide:
            raise RecordingError(f"--{option}: only --decide uses it")
    if arguments.decide:
        return _decide(arguments)
    if arguments.recompute:
        check_is_folder(arguments.path)
        return _recompute(arguments.path, arguments.model, arguments.predictor, arguments.episode)
    for option, use in (
        ("model", "--recompute and --decide use a model"),
        ("predictor", "--recompute uses a predictor"),
    ):
        if getattr(arguments, option) is not None:
            raise RecordingError(f"--{option}: only {use}; without it the bag is played as it is")
    return _play(arguments)


# -- playing -----------------------------------------------------------------------------------------------------------


def _play(arguments: argparse.Namespace) -> int:
    console = Console()
    check_is_no_run(arguments.path)
    schedule = Schedule(
        arguments.path,
        rate=arguments.rate,
        start_offset_s=arguments.start_offset,
        topics=arguments.topics,
        commands=arguments.commands,
        episode=arguments.episode,
    )
    with private_graph(os.environ, joins=True):
        console.print(f"[dim]to look at the topics: export ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}[/dim]")
        from salus_vla.ros.clients.bag_player import check_alone, play

        if schedule.left_out:
            words = f"{' and '.join(schedule.left_out)} would command an arm and are left out; --commands plays them"
            console.print(words, markup=False, soft_wrap=True)
        # rosbag2's player loses what was latched before the offset.
        part = arguments.start_offset > 0.0 or arguments.episode is not None
        ros2 = None if arguments.builtin or part else find_rosbag2()
        if ros2 is not None:
            check_alone(schedule.topics)
            sys.stdout.flush()
            os.execv(ros2, rosbag2_command(ros2, arguments, schedule))

        def skipped(topic: PlayedTopic) -> None:
            console.print(f"{topic.name} is left out: {topic.type} is not installed", markup=False, soft_wrap=True)

        def begin() -> None:
            console.print(f"playing {schedule.duration_s:.1f} s of {escape(str(arguments.path))}", soft_wrap=True)

        count = play(schedule, loop=arguments.loop, delay_s=arguments.delay, on_begin=begin, on_skipped=skipped)
        console.print(f"{count} messages on {len(schedule.topics)} topics")
    return 0


def find_rosbag2() -> str | None:
    """The `ros2` program where it has `ros2 bag play`; None elsewhere: ros2cli comes without rosbag2, too."""
    ros2 = shutil.which("ros2")
    if ros2 is None:
        return None
    try:
        result = subprocess.run([ros2, "bag", "play", "--help"], capture_output=True, timeout=_HELP_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ros2 if result.returncode == 0 else None


def rosbag2_command(ros2: str, arguments: argparse.Namespace, schedule: Schedule) -> list[str]:
    """The command of rosbag2's own player for the same replay."""
    command = [ros2, "bag", "play", str(arguments.path), "--rate", f"{arguments.rate:g}"]
    command += ["--start-offset", f"{arguments.start_offset:g}", "--delay", f"{DISCOVERY_S + arguments.delay:g}"]
    if arguments.loop:
        command.append("--loop")
    if arguments.topics is not None or schedule.left_out:
        command += ["--topics", *(topic.name for topic in schedule.topics)]
    return command


# -- recomputing -------------------------------------------------------------------------------------------------------


def _decide(arguments: argparse.Namespace) -> int:
    """A policy decides on what nobody decided on."""
    console, bag, out = Console(), arguments.path, arguments.out
    if out is None or arguments.recompute or arguments.predictor is not None:
        raise RecordingError("--decide: needs --out BAG2, and goes neither with --recompute nor with --predictor")
    check_is_no_run(bag)
    from salus_vla.data.bags.message_types import MessageTypes
    from salus_vla.data.replay.decided_bag import check_is_new, write_decided
    from salus_vla.ros.clients.recompute import decide_first

    check_is_new(out)  # before a model is loaded
    task, seed = arguments.task or DEFAULT_TASK, arguments.seed or 0
    with console.status(f"{escape(str(bag))}: loading the policy") as status:

        def show(count: int) -> None:
            status.update(f"{escape(str(bag))}: decision {count}")

        decided = decide_first(bag, arguments.model or DEFAULT_MODEL, task, seed, show, arguments.episode)
        made = write_decided(bag, out, decided.added, decided.facts, MessageTypes())
    console.print(f"{escape(str(made))}: {decided.decisions} decisions added", soft_wrap=True, highlight=False)
    return 0


def _recompute(path: Path, model: str | None, predictor_name: str | None, episode: int | None) -> int:
    console = Console()
    different = 0
    for bag in bags_of(path):
        from salus_vla.data.bags.foreign_bag import node_facts
        from salus_vla.data.replay.recorded_inputs import FACTS, read_story
        from salus_vla.data.replay.repeated_predictions import chosen_predictor, foresee_again
        from salus_vla.ros.clients.recompute import decide_again

        recorded, provenance = read_story(bag, episode).decisions, node_facts(bag)
        predictor = chosen_predictor(bag, provenance, predictor_name)  # what is wrong with it shows first
        with console.status(f"{escape(str(bag))}: loading the policy") as status:
            words = f"{escape(str(bag))}: decision {{}} of {len(recorded)}"
            repeated = decide_again(bag, model, lambda count, words=words: status.update(words.format(count)), episode)  # type: ignore[misc]
        result = compare(recorded, repeated.decisions)
        before = {key.removeprefix(FACTS): value for key, value in provenance.items() if key.startswith(FACTS)}
        _print_result(console, bag, "decisions", result, changed_facts(before, repeated.facts))
        different += not result.equal
        if predictor is not None:
            foreseen = foresee_again(bag, predictor)
            same = foreseen.recorded == foreseen.now
            facts = [] if same else [("predictor", foreseen.recorded, foreseen.now)]
            _print_result(console, bag, "predictions", foreseen.comparison, facts)
            different += not foreseen.comparison.equal
    return int(different > 0)


def changed_facts(before: dict[str, str], now: dict[str, str]) -> list[tuple[str, str, str]]:
    """What the policy's node said of itself in both runs, where that differs: name, before, now."""
    names = sorted(name for name in before.keys() & now.keys() if not _NOT_COMPARED.fullmatch(name))
    return [(name, before[name], now[name]) for name in names if _value(before, name) != _value(now, name)]


def _value(facts: dict[str, str], name: str) -> object:
    """A fact as it is; a parameter as its value, which bags from before wrote in another form."""
    text = facts[name]
    if not name.startswith("param."):
        return text
    try:
        value = json.loads(text) if facts.get(PARAMETER_FORMAT) == "json" else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value


def _print_result(
    console: Console, bag: Path, what: str, result: Comparison, facts: list[tuple[str, str, str]]
) -> None:
    if result.equal:
        console.print(f"{escape(str(bag))}: {result.compared} {what}, all equal bit for bit", soft_wrap=True)
        return
    console.print(
        f"[red]{escape(str(bag))}: {result.compared} {what} compared, "
        f"{len(result.missing)} not made again, {len(result.extra)} that were not recorded[/red]",
        soft_wrap=True,
    )
    for title, stamps in (("not made again", result.missing), ("not recorded", result.extra)):
        if stamps:
            shown = ", ".join(f"{stamp * 1e-9:.2f}" for stamp in stamps[:10])
            console.print(f"{title}: stamps {shown}{' ...' if len(stamps) > 10 else ''} s", soft_wrap=True)
    if result.differences:
        table = Table(title=f"{what.capitalize()} that differ")
        table.add_column("field")
        for column in ("decisions", "largest", "first in decision"):
            table.add_column(column, justify="right")
        for item in result.differences:
            table.add_row(item.field, f"{item.count} of {result.compared}", f"{item.largest:.3g}", str(item.first))
        console.print(table)
    if facts:
        table = Table(title="Policy" if what == "decisions" else "Predictor")
        for column in ("fact", "recorded", "now"):
            table.add_column(column, overflow="fold")
        for row in facts:
            table.add_row(*map(escape, row))
        console.print(table)
