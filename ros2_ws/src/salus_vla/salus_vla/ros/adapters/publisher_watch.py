"""Looks for second publishers of the topics that must have one."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.node import Node

from salus_vla.contract import Topic
from salus_vla.health.publishers import second_publisher

_UNKNOWN = "_NODE_NAME_UNKNOWN_"
PERIOD_S = 0.25  # wall time between two looks


class PublisherWatch:
    """What discovery knows of the publishers of some topics.

    Attributes:
        fault: the topic and the node that should not publish it, in words; empty where all is well.
    """

    def __init__(self, node: Node, topics: Iterable[Topic], ours: Iterable[Topic] = ()) -> None:
        """Looks at topics of which `node` itself publishes those in `ours`."""
        self._node = node
        own = node.get_fully_qualified_name()
        mine = {topic.name for topic in ours}
        self._topics = {topic.name: own if topic.name in mine else None for topic in topics}
        self._looked = float("-inf")
        self.fault = ""

    def look(self, *, now: bool = False) -> bool:
        """Looks again once per `PERIOD_S`, or now; whether the fault has changed."""
        wall = time.monotonic()
        if not now and wall - self._looked < PERIOD_S:
            return False
        self._looked = wall
        before, self.fault = self.fault, self._look()
        return self.fault != before

    def _look(self) -> str:
        for topic, ours in self._topics.items():
            infos = self._node.get_publishers_info_by_topic(topic)
            infos = [info for info in infos if info.node_name != _UNKNOWN]  # known in a moment
            names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]
            fault = second_publisher(topic, names, ours)
            if fault:
                return fault
        return ""
