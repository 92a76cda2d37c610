"""`salus view RUN|BAG|live`: cameras, joints, signals and events in rerun."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import add_domain_option, at_least, check_is_folder
from salus_vla.contract.errors import RecordingError, SalusError
from salus_vla.data.bags.run_info import bags_of, is_run, read_run
from salus_vla.ros.environment.domains import private_graph, watched_domain
from salus_vla.views import rerun_viewer
from salus_vla.views.rerun_log import LOGGED, RerunLog, import_rerun, log_bag

_DESCRIPTION = """\
Opens a run, a bag or the running graph in the rerun viewer: the three cameras, the twelve signals by group,
measured and commanded joints, and events, on one axis of sim time. Each episode is a recording of its own.

rerun is optional: pip install -r requirements-rerun.txt. Its viewer listens on the loopback only.
"""
_LISTEN_S = 0.2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `view`."""
    parser = subparsers.add_parser(
        "view",
        help=SUMMARIES["view"],
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", metavar="RUN|BAG|live", help="folder of a run or of a bag, or `live` for the running graph")
    add("--episode", metavar="N", type=at_least(0), help="only this episode of a run")
    add(
        "--save",
        metavar="FILE.rrd",
        type=Path,
        help="write a file for rerun instead of opening it (live: until Ctrl-C)",
    )
    add("--web", action="store_true", help="serve the viewer as a page on 127.0.0.1, for a machine without a display")
    add_domain_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Opens or saves.

    Raises:
        SalusError: rerun is missing, there is no display, or the run or bag cannot be read.
    """
    if arguments.what != "live":
        check_is_folder(Path(arguments.what))
    import_rerun()
    if arguments.save is None and not arguments.web:
        rerun_viewer.check_display(os.environ)
    if arguments.save is not None and arguments.save.exists():
        raise RecordingError(f"--save {arguments.save}: exists already, it is never overwritten")
    if arguments.what == "live":
        return _live(arguments)
    return _recorded(arguments, _bags(Path(arguments.what), arguments.episode))


def _bags(path: Path, episode: int | None) -> Sequence[Path]:
    if episode is None:
        return bags_of(path)
    if not is_run(path):
        raise RecordingError(f"--episode: {path} is not a run")
    found = [path / entry.path for entry in read_run(path).record.episodes if entry.number == episode]
    if not found:
        raise RecordingError(f"--episode {episode}: {path} has no finished episode of that number")
    return found


def _recorded(arguments: argparse.Namespace, bags: Sequence[Path]) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="salus_view_") as folder:
        files = []
        with console.status("") as status:
            for number, bag in enumerate(bags):
                status.update(f"reading {escape(str(bag))}")
                file = Path(folder) / f"{number:06d}.rrd"
                name = f"{bag.resolve().parent.name}/{bag.name}"
                log = RerunLog(name, lambda stream, file=file: stream.save(file))  # type: ignore[misc]
                log_bag(bag, log)
                log.close()
                files.append(file)
            if arguments.save is not None:
                rerun_viewer.merge(files, arguments.save)
        if arguments.save is not None:
            _say_saved(console, arguments.save)
            return 0
        process = _start(console, files, rerun_viewer.free_port(), arguments.web)
        return _wait(process)


def _live(arguments: argparse.Namespace) -> int:
    console = Console()
    os.environ["ROS_DOMAIN_ID"] = domain = watched_domain(arguments.domain, os.environ)
    with private_graph(os.environ, joins=True):
        from salus_vla.ros.clients.live_listener import LiveListener

        process: subprocess.Popen[bytes] | None = None
        if arguments.save is not None:
            log = RerunLog(f"live, domain {domain}", lambda stream: stream.save(arguments.save))
        else:
            port = rerun_viewer.free_port()
            process = _start(console, (), port, arguments.web)
            url = f"rerun+http://{rerun_viewer.LOOPBACK}:{port}/proxy"
            log = RerunLog(f"live, domain {domain}", lambda stream: stream.connect_grpc(url))
        console.print(f"[dim]listening on ROS_DOMAIN_ID={domain}; Ctrl-C ends it[/dim]")
        try:
            with LiveListener(
                "salus_view", lambda topic, message: log.message(topic.name, message), topics=LOGGED
            ) as listener:
                while process is None or process.poll() is None:
                    listener.spin(_LISTEN_S)
        except KeyboardInterrupt:  # the only way to end it, so no error
            pass
        finally:
            log.close()
            if process is not None:
                process.terminate()
    if arguments.save is not None:
        _say_saved(console, arguments.save)
    return 0


def _start(console: Console, files: Sequence[Path], port: int, web: bool) -> subprocess.Popen[bytes]:
    web_port = rerun_viewer.free_port() if web else None
    process = rerun_viewer.start_viewer(files, port=port, web_port=web_port)
    if web_port is not None:
        url = f"http://{rerun_viewer.LOOPBACK}:{web_port}?url=rerun%2Bhttp://{rerun_viewer.LOOPBACK}:{port}/proxy"
        console.print(f"open {url}", soft_wrap=True, highlight=False)
    return process


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:  # the way to end a page that is served
        process.terminate()
        process.wait()
        return 0
    if code != 0:
        raise SalusError(f"the viewer ended with exit code {code}; --save FILE.rrd works without it")
    return 0


def _say_saved(console: Console, file: Path) -> None:
    console.print(f"{escape(str(file))}: {file.stat().st_size / 2**20:.1f} MiB", soft_wrap=True, highlight=False)
