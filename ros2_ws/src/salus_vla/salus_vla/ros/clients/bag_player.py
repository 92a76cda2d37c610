"""Plays a bag into the graph, where rosbag2 is not installed: the recorded bytes with the recorded QoS."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from salus_vla.contract import DISCOVERY_S
from salus_vla.contract.errors import SalusError
from salus_vla.data.replay.schedule import PlayedTopic, Schedule
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.clients.connection import Connection

_TAKEN_S = 1.0


def play(
    schedule: Schedule,
    *,
    loop: bool = False,
    delay_s: float = 0.0,
    on_begin: Callable[[], None] = lambda: None,
    on_skipped: Callable[[PlayedTopic], None] = lambda topic: None,
) -> int:
    """Publishes the messages of a bag, each when it is due.

    Args:
        schedule: what and when.
        loop: begin again at the end, until Ctrl-C; the clock then jumps back.
        delay_s: wall time to wait before the first message, besides that in which everybody finds each other [s].
        on_begin: called before each pass.
        on_skipped: called with a topic whose type is not installed.

    Returns:
        Messages published.

    Raises:
        SalusError: somebody else publishes one of the topics in this ROS domain.
        RecordingError: the bag is damaged.
    """
    with Connection(_name()) as connection:
        node = connection.node
        publishers = {topic.name: _publisher(node, topic) for topic in schedule.topics}
        for topic in schedule.topics:
            if publishers[topic.name] is None:
                on_skipped(topic)
        live = {name: publisher for name, publisher in publishers.items() if publisher is not None}
        time.sleep(DISCOVERY_S)
        _check_alone(node, list(live))
        time.sleep(delay_s)
        count = 0
        for _ in itertools.count() if loop else range(1):
            on_begin()
            began = time.monotonic()
            for message in schedule.messages(list(live)):
                time.sleep(max(0.0, began + message.due_s - time.monotonic()))
                live[message.topic].publish(message.raw)
                count += 1
        _wait_until_taken(live.values())
        return count


def check_alone(topics: Iterable[PlayedTopic]) -> None:
    """Looks whether somebody publishes one of these topics in this ROS domain, before another player does.

    Raises:
        SalusError: somebody does.
    """
    with Connection(_name()) as connection:
        time.sleep(DISCOVERY_S)
        _check_alone(connection.node, [topic.name for topic in topics])


def _name() -> str:
    """A name that tells our publishers from all others."""
    return f"salus_replay_{os.getpid()}"


def _publisher(node: Node, topic: PlayedTopic) -> Publisher | None:
    """A publisher; None when the type of the topic is not installed."""
    try:
        message_class = interface_class(topic)
    except (ImportError, AttributeError):
        return None
    qos = QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=topic.depth,
        reliability=ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
    )
    return node.create_publisher(message_class, topic.name, qos)


def _check_alone(node: Node, topics: list[str]) -> None:
    """Two sources of one topic would mix a recording with a graph, and may command its arm."""
    for topic in topics:
        others = [item for item in node.get_publishers_info_by_topic(topic) if item.node_name != node.get_name()]
        if others:
            raise SalusError(
                f"{topic} is published by {others[0].node_name} in this ROS domain already; replay in another: "
                "unset ROS_DOMAIN_ID to get a free one"
            )


def _wait_until_taken(publishers: Iterable[Publisher]) -> None:
    """A reliable message that nobody has acknowledged yet would be lost with the publisher."""
    for publisher in publishers:
        publisher.wait_for_all_acked(Duration(seconds=_TAKEN_S))
