"""A node of a test in the graph: it publishes, hears, and waits for what must happen."""

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from salus_vla.contract import Topic
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile


class GraphClient:
    """The tests' simulators, commanders and listeners are made of it.

    Attributes:
        node: in a context of its own, so that rclpy installs no signal handlers in pytest.
    """

    def __init__(self, name: str, limit_s: float = 30.0) -> None:
        """Joins the graph; `limit_s` is wall time for anything that must happen [s]."""
        self._limit_s = limit_s
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen_to(self, topic: Topic, callback: Callable[[Any], None], depth: int | None = None) -> Any:
        """Subscribes, with the contract's queue or one of another depth."""
        qos = qos_profile(topic.qos, depth=depth)
        return self.node.create_subscription(interface_class(topic), topic.name, callback, qos)

    def publisher(self, topic: Topic, depth: int | None = None) -> Any:
        """A publisher, with the contract's queue or one of another depth."""
        return self.node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos, depth=depth))

    def wait(self, condition: Callable[[], Any], what: str, limit_s: float | None = None) -> Any:
        """Handles messages until the condition holds; returns what it gave."""
        limit_s = self._limit_s if limit_s is None else limit_s
        deadline = time.monotonic() + limit_s
        while not (found := condition()):
            self.check()
            assert time.monotonic() < deadline, f"no {what} within {limit_s:g} s"
            self._executor.spin_once(timeout_sec=0.1)
        return found

    def check(self) -> None:
        """Fails where it is no use to wait any longer; looked at while something is waited for."""
