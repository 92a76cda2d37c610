"""A node in a context of its own: what joins a graph from outside leaves Ctrl-C and the default context alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

_SPIN_S = 0.05


class Connection:
    """Joins the ROS domain of this process; a context manager that leaves it.

    Attributes:
        node: to publish, subscribe and call with.
    """

    def __init__(self, name: str, *, domain: int | None = None) -> None:
        """Makes the node.

        Args:
            name: of the node.
            domain: ROS domain; the environment's by default.
        """
        self._context = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin(self, seconds: float, until: Callable[[], object] = lambda: False) -> bool:
        """Handles what comes for this long [s of wall time], or until something is true; returns whether it is."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(left, _SPIN_S))
        return True
