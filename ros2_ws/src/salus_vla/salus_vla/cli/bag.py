"""`salus bag info|recover|picture PATH`, `salus bag export PATH...`."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.narrow_table import Column, narrow_table
from salus_vla.cli.options import add_episode_number, check_is_folder, check_is_no_run, named
from salus_vla.cli.printing import print_facts
from salus_vla.contract import EPISODE, FAILURE_PREDICTION, INTERVENTION, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.recover_bag import Recovered, recover
from salus_vla.data.bags.run_info import BagInfo, RunInfo, bags_of, is_run, read_bag, read_run
from salus_vla.data.recording import RecordedEvent

if TYPE_CHECKING:
    from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode

SURPLUS = "{} messages more than were due: somebody else published beside this graph"
_INFO = """\
Shows what is in a bag (topics, types, counts, rates, gaps, duration, outcome, largest risk, first alarm, events, seed,
provenance) or in a run (its episodes, alarms against outcomes, what was interrupted, provenance). Works for bags of
`ros2 bag record` too; those have no audit.

Rates (Hz, and what is due) are messages per second of sim time. A gap is an interval longer than 1.5 periods of the
topic's rate. A count in red is above what one publisher sends at that rate.
"""
_RECOVER = """\
Makes a normal bag of one that was interrupted (power cut, kill -9, full disk): every message that reached the disk
is kept, its index and metadata.yaml are written, and it is marked as recovered. The interrupted bag is not touched.

PATH is a run (everything interrupted in it is recovered and listed in run.json) or the folder of one bag.
Killing the recorder loses at most the last 0.5 s of messages: 0.25 s are held back, an unfinished chunk of 0.04 s, and
what the recorder was behind.
"""
_PICTURE = """\
Draws one episode as a picture: rows of images of the three cameras, what was foreseen where a failure predictor spoke,
and the twelve safety signals over the same time, with a dashed line where the event was.
"""
_EXPORT = """\
Writes signals.*, joint_states.* and joint_command.* of bags and runs: one row per message, with its stamp [s] and the
run, episode, seed and outcome it belongs to. Nothing but the format is changed: what is NaN in the bag is NaN there.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `bag` with its commands; each sets `run`, which takes the parsed arguments and returns the exit code."""
    bag = subparsers.add_parser("bag", help=SUMMARIES["bag"])
    commands = bag.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary, text, run in (
        ("info", "show what is in a bag or a run", _INFO, run_info),
        ("recover", "make a normal bag of an interrupted one", _RECOVER, run_recover),
        ("picture", "draw an episode: three cameras and the signals over time", _PICTURE, run_picture),
    ):
        command = commands.add_parser(
            name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_argument("path", metavar="PATH", type=Path, help="folder of a run or of a bag")
        if run is run_picture:
            command.add_argument("output", metavar="FILE", type=named(".png", ".svg"), help="PNG or SVG to write")
            add_episode_number(command, "draw")
        command.set_defaults(run=run)
    export = commands.add_parser("export", help="write signals and joints as CSV or Parquet", description=_EXPORT)
    export.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="folders of runs or of bags")
    kinds = export.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--csv", metavar="DIR", type=Path, help="folder for CSV files")
    kinds.add_argument("--parquet", metavar="DIR", type=Path, help="folder for Parquet files")
    add_episode_number(export, "export")
    export.set_defaults(run=run_export)


def run_info(arguments: argparse.Namespace) -> int:
    """Prints what is in `arguments.path`.

    Raises:
        RecordingError: it is neither a run nor a finished bag.
    """
    console = Console()
    check_is_folder(arguments.path)
    if is_run(arguments.path):
        print_run(console, read_run(arguments.path))
    else:
        _print_bag(console, read_bag(arguments.path))
    return 0


def run_recover(arguments: argparse.Namespace) -> int:
    """Recovers `arguments.path` and prints what was made.

    Raises:
        RecordingError: there is nothing to recover, or the disk refuses.
    """
    console = Console()
    recovered = recover(arguments.path)
    if not recovered:
        console.print(f"{escape(str(arguments.path))}: nothing to recover", soft_wrap=True)
    for item in recovered:
        console.print(escape(_recovered_line(item)), soft_wrap=True)
    return 0


def run_picture(arguments: argparse.Namespace) -> int:
    """Draws `arguments.path` into `arguments.output`.

    Raises:
        RecordingError: it is not a bag of an episode, or the picture cannot be written.
    """
    check_is_no_run(arguments.path)
    from salus_vla.views.report.episode_figure import plot_episode  # matplotlib: a second

    plot_episode(arguments.path, arguments.output, arguments.episode)
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Writes the tables of `arguments.paths`.

    Raises:
        RecordingError: a bag cannot be read, or a file exists already or cannot be written.
    """
    for path in arguments.paths:
        check_is_folder(path)
    from salus_vla.data.bags.table_export import export_tables  # pyarrow: half a second

    console = Console()
    folder = arguments.csv or arguments.parquet
    bags = [bag for path in arguments.paths for bag in bags_of(path)]
    with console.status("") as status:
        rows = export_tables(
            bags,
            folder,
            "csv" if arguments.csv else "parquet",
            lambda bag: status.update(f"reading {escape(str(bag))}"),
            arguments.episode,
        )
    for file, count in rows.items():
        console.print(f"{escape(str(file))}: {count} rows", soft_wrap=True, highlight=False)
    return 0


def _recovered_line(item: Recovered) -> str:
    outcome = f", outcome {item.entry.outcome}, {item.entry.gaps} gaps" if item.entry else ""
    return f"{item.path}: {item.messages} messages recovered from {item.source}{outcome}"


def _print_bag(console: Console, bag: BagInfo) -> None:
    facts = [("bag", str(bag.path)), ("storage", f"{bag.storage}, {_size(bag.size)}")]
    if bag.record:
        episode = bag.record.episode
        facts += [
            ("episode", f"{episode.number} of run {bag.record.run_id}"),
            ("outcome", _outcome(episode.outcome, episode.detail) + (" (recovered)" if episode.recovered else "")),
            ("seed", str(episode.seed)),
            ("decisions", str(episode.decisions)),
            ("duration", f"{episode.duration_s:.2f} s of sim time"),
            ("gaps", str(episode.gaps)),
        ]
        if episode.surplus:
            facts.append(("surplus", SURPLUS.format(episode.surplus)))
    else:
        facts += [*_said(bag), ("duration", f"{bag.duration_s:.2f} s")]
    facts.append(("messages", str(bag.messages)))
    facts += _risk(bag)
    facts += _motions(bag)
    for event in _events(bag):
        facts.append((f"at {event.stamp_ns * 1e-9:.2f} s", f"{event.kind}: {event.text}"))
    print_facts(console, facts)
    rows = [
        (
            escape(topic.name),
            escape(topic.type.replace("/msg/", "/")),
            f"[red]{topic.count}[/red]" if topic.surplus else str(topic.count),
            _number(topic.rate_hz),
            _number(topic.expected_hz),
            f"[red]{topic.gaps}[/red]" if topic.gaps else _number(topic.gaps),
            _number(topic.missing),
        )
        for topic in bag.topics
    ]
    console.print(narrow_table(_TOPIC_COLUMNS, rows, console.width, "Topics", plain=True))
    print_facts(console, sorted(bag.custom_data.items()), "Provenance")


def _risk(bag: BagInfo) -> list[tuple[str, str]]:
    """What a failure predictor foresaw."""
    if not _holds(bag, FAILURE_PREDICTION):
        return []
    from salus_vla.cli.bag_alarms import facts_of_bag  # rosbags: a third of a second

    return facts_of_bag(bag)


def _motions(bag: BagInfo) -> list[tuple[str, str]]:
    """Decisions by motion."""
    if not _holds(bag, INTERVENTION):
        return []
    from salus_vla.cli.bag_motions import motions_of_bag  # rosbags: a third of a second

    return motions_of_bag(bag)


def _said(bag: BagInfo) -> list[tuple[str, str]]:
    """What /salus/episode says of the episode in a bag without an audit: another recorder's, or a converted one."""
    if not _holds(bag, EPISODE):
        return []
    from salus_vla.data.bags.recorded_observations import episodes_in, read_episode

    facts: list[tuple[str, str]] = []
    try:
        numbers = episodes_in(bag.path)
        for number in numbers:
            found = read_episode(bag.path, number)
            if len(numbers) > 1:
                facts.append((f"episode {number}", f"{found.outcome.name}, seed {found.seed}, task: {found.task}"))
            else:
                facts += [("outcome", found.outcome.name), ("seed", str(found.seed)), ("task", found.task)]
    except RecordingError as error:  # everything else is shown
        facts.append(("episode", str(error).removeprefix(f"{bag.path}: ")))
    return facts


def _holds(bag: BagInfo, topic: Topic) -> bool:
    return any(item.name == topic.name and item.count for item in bag.topics)


def _events(bag: BagInfo) -> list[RecordedEvent]:
    """What happened in the task of an episode."""
    if not any(topic.name == EPISODE.name and topic.count for topic in bag.topics):
        return []
    from salus_vla.data.bags.recorded_bag import events_since_start  # rosbags: a third of a second

    return events_since_start(bag.path)


_EPISODE_COLUMNS = (
    Column("episode", right=True),
    Column("seed", rank=1, right=True),
    Column("outcome"),
    Column("decisions", rank=3, right=True),
    Column("seconds", rank=4, right=True),
    Column("gaps", rank=2, right=True),
    Column("bag", rank=5),
)
_TOPIC_COLUMNS = (
    Column("topic"),
    Column("type", rank=5, least=12),  # the first that gives way
    Column("count", right=True),
    Column("Hz", rank=2, right=True),
    Column("due", rank=3, right=True),
    Column("gaps", rank=1, right=True),
    Column("missing", rank=4, right=True),
)
_ALARM_COLUMN = Column("alarm", rank=2)  # before the last, where something was foreseen


def print_run(console: Console, run: RunInfo, *, provenance: bool = True) -> None:
    """Prints the episodes of a run and what was interrupted, and where it comes from if `provenance`."""
    episodes = run.record.episodes
    counts = ", ".join(f"{count} {name}" for name, count in Counter(entry.outcome for entry in episodes).most_common())
    title = f"{len(episodes)} episodes" + (f": {escape(counts)}" if counts else "")
    foreseen, alarms = _foreseen(run)
    rows = [
        (
            str(entry.number),
            str(entry.seed),
            escape(entry.outcome) + (" (recovered)" if entry.recovered else ""),
            str(entry.decisions),
            f"{entry.duration_s:.1f}",
            f"[red]{entry.gaps}[/red]" if entry.gaps else "0",
            *([_alarm_kind(foreseen.get(entry.path))] if foreseen else []),
            escape(entry.path),
        )
        for entry in episodes
    ]
    columns = [*_EPISODE_COLUMNS[:-1], *([_ALARM_COLUMN] if foreseen else []), _EPISODE_COLUMNS[-1]]
    console.print(narrow_table(columns, rows, console.width, title))
    for entry in episodes:
        if entry.surplus:
            console.print(f"[red]{escape(entry.path)}: {SURPLUS.format(entry.surplus)}[/red]", soft_wrap=True)
    for line in [*alarms, *_motion_lines(run)]:
        console.print(escape(line), soft_wrap=True, highlight=False)
    for bag in run.interrupted:
        console.print(f"interrupted: {escape(str(bag))}", soft_wrap=True)
    if provenance:
        print_facts(console, sorted(run.record.arguments.items()), "Arguments")
        print_facts(console, sorted(run.record.provenance.items()), "Provenance")
    console.print(f"bags in {escape(str(run.path))}, created {escape(run.record.created)}", soft_wrap=True)


def _foreseen(run: RunInfo) -> tuple[dict[str, ForeseenEpisode], list[str]]:
    """What was foreseen in each bag, and lines about it; a bag that cannot be read is one of them."""
    from salus_vla.cli.bag_alarms import foreseen_in_run, summary_lines

    try:
        found = foreseen_in_run(run)
    except RecordingError as error:  # the list of episodes is worth having
        return {}, [f"alarms are not known: {error}"]
    return found, summary_lines(run, found)


def _motion_lines(run: RunInfo) -> list[str]:
    """Motions of the run; a bag that cannot be read is one of the lines."""
    from salus_vla.cli.bag_motions import motions_in_run

    try:
        return motions_in_run(run)
    except RecordingError as error:
        return [f"interventions are not known: {error}"]


def _alarm_kind(found: ForeseenEpisode | None) -> str:
    return "-" if found is None or found.alarm is None else escape(found.alarm.kind)


def _outcome(outcome: str, detail: str) -> str:
    return f"{outcome}: {detail}" if detail else outcome


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
