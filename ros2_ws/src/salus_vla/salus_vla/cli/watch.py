"""`salus watch`: the running graph in the terminal."""

from __future__ import annotations

import argparse
import os
import time

from rich.console import Console
from rich.live import Live

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import add_domain_option, number_above
from salus_vla.contract import DISCOVERY_S
from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment.domains import private_graph, watched_domain
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.terminal import nothing_heard, render

_DESCRIPTION = """\
Shows a running graph: who does what and why, the episode and whether it is recorded, the twelve signals of the episode
as sparklines, and the rate and age of every topic. Rates are messages per second of sim time, ages are wall time.
Ctrl-C ends it; the graph does not notice.
"""
_EPILOG = """\
Without a terminal, or with --once, it listens for a while and prints what it knows then.

exit codes: 0 shown, 1 nothing was heard (--once), or it cannot be known where to listen
"""
_REFRESH_S = 0.25


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `watch`."""
    parser = subparsers.add_parser(
        "watch",
        help=SUMMARIES["watch"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_domain_option(parser)
    parser.add_argument("--once", action="store_true", help="print one snapshot and end")
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=number_above(0.0),
        default=3.0,
        help="for --once: how long to listen before (default: 3)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the graph until Ctrl-C, or once.

    Raises:
        SalusError: nothing was heard (once), or several graphs run and none was chosen.
    """
    console = Console()
    os.environ["ROS_DOMAIN_ID"] = domain = watched_domain(arguments.domain, os.environ)
    with private_graph(os.environ, joins=True):
        from salus_vla.ros.clients.live_listener import SHOWN, LiveListener, note

        monitor = GraphMonitor(time.monotonic())
        with LiveListener("salus_watch", lambda topic, message: note(monitor, topic, message), read=SHOWN) as listener:
            if arguments.once or not console.is_terminal:
                until_s = time.monotonic() + DISCOVERY_S
                while time.monotonic() < until_s and not monitor.heard:
                    listener.spin(_REFRESH_S)
                listener.spin(arguments.seconds)
                snapshot = monitor.snapshot(time.monotonic())
                if not snapshot.heard:
                    raise SalusError(nothing_heard(domain, snapshot.silent_s))
                console.print(render(snapshot, domain, console.width))
                return 0
            with Live(console=console, screen=True, auto_refresh=False) as live:
                try:
                    while True:
                        listener.spin(_REFRESH_S)
                        live.update(render(monitor.snapshot(time.monotonic()), domain, console.width), refresh=True)
                except KeyboardInterrupt:  # the only way to end it, so no error
                    return 0
