"""Subscriptions that keep up: each turn takes everything that waits, not one message.

rclpy's executor takes one message per topic and round, and a round costs about a millisecond. A node that falls behind
that way loses messages once the reader's queue is full, without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from salus_vla.contract import Topic
from salus_vla.nodes.qos import interface_class, profile

# Longer than any publisher's queue: the middleware's threads receive while Python is busy, so a pause loses nothing.
_DEPTH = 1000
_IMAGE_DEPTH = 100


def subscribe_to_all(node: Node, topic: Topic, callback: Callable[[Any], None], *, raw: bool = False) -> Subscription:
    """Subscribes so that no message is lost while the node is busy.

    Args:
        node: gets the subscription.
        topic: of the contract.
        callback: called with each message, in order.
        raw: give serialized messages as bytes.
    """
    depth = _IMAGE_DEPTH if topic.type == "sensor_msgs/msg/Image" else _DEPTH

    def take_all(message: Any) -> None:
        callback(message)
        with subscription.handle:
            while (taken := subscription.handle.take_message(subscription.msg_type, raw)) is not None:
                callback(taken[0])

    subscription = node.create_subscription(
        interface_class(topic), topic.name, take_all, profile(topic.qos, depth=depth), raw=raw
    )
    return subscription
