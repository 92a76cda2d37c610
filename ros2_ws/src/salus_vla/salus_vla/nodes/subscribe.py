"""Subscriptions to the contract's topics: a message that breaks the contract is ignored with a warning, never a crash.

With `keep_all` a turn takes everything that waits. rclpy's executor takes one message per topic and round, and a round
costs about a millisecond; a node that falls behind that way loses messages once the reader's queue is full, without
anybody noticing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from salus_vla.contract import Topic
from salus_vla.errors import SalusError
from salus_vla.nodes.qos import interface_class, profile

# Longer than any publisher's queue: the middleware's threads receive while Python is busy, so a pause loses nothing.
_DEPTH = 1000
_IMAGE_DEPTH = 100


def subscribe(
    node: Node, topic: Topic, callback: Callable[[Any], None], *, keep_all: bool = False, raw: bool = False
) -> Subscription:
    """Subscribes to a topic.

    Args:
        node: gets the subscription.
        topic: of the contract.
        callback: called with each message, in order; a SalusError it raises is logged and the message ignored.
        keep_all: lose no message while the node is busy; otherwise the contract's queue, whose newest messages count.
        raw: give serialized messages as bytes.
    """

    def take(message: Any) -> None:
        try:
            callback(message)
        except SalusError as error:
            where = "" if topic.name in str(error) else f"{topic.name}: "
            node.get_logger().warning(f"{where}{error}; the message is ignored", throttle_duration_sec=5.0)

    def take_all(message: Any) -> None:
        take(message)
        with subscription.handle:
            while (taken := subscription.handle.take_message(subscription.msg_type, raw)) is not None:
                take(taken[0])

    depth = (_IMAGE_DEPTH if topic.type == "sensor_msgs/msg/Image" else _DEPTH) if keep_all else None
    subscription = node.create_subscription(
        interface_class(topic), topic.name, take_all if keep_all else take, profile(topic.qos, depth=depth), raw=raw
    )
    return subscription


def take_waiting(subscription: Subscription) -> None:
    """Takes what waits on a `keep_all` subscription now, before its turn in the executor."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, False)
    if taken is not None:
        subscription.callback(taken[0])
