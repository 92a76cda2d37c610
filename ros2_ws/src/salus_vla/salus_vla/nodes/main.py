"""What every executable does around its node: start, run until SIGINT, report errors as one line, exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException

from salus_vla.errors import SalusError


class RunnableNode(Protocol):
    """A node with its own loop."""

    def run(self) -> int | None:
        """Runs until the work is done or rclpy shuts down; an exit code, 0 if None."""

    def close(self) -> None:
        """Frees what the node holds."""


def run_node(make: Callable[[], RunnableNode], args: list[str] | None = None) -> int:
    """Runs a node; returns the process's exit code: 0 at the end or on SIGINT, 1 on an error that was reported."""
    rclpy.init(args=args)
    node: RunnableNode | None = None
    try:
        node = make()
        return node.run() or 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()
