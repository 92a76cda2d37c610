"""Subscriptions to the contract's topics: a message that breaks the contract is refused and counted, never a crash.

Every message is taken as bytes and read here, because rclpy drops one that is cut off without a word.

With `keep_all` a turn takes up to `TURN` of the messages that wait. rclpy's executor takes one message per topic and
round, and a round costs about a millisecond; a node that falls behind that way loses messages once the reader's queue
is full, without anybody noticing. A turn without an end would let a flood on one topic starve all others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from rclpy.node import Node
from rclpy.subscription import Subscription

from salus_vla.contract import CLOCK, Source, Topic
from salus_vla.contract.errors import MessageError
from salus_vla.health.meters import DiagnosticPart
from salus_vla.health.refusals import Refusals
from salus_vla.health.standing_stamps import StandingStamps
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile

# Longer than any publisher's queue: the middleware's threads receive while Python is busy, so a pause loses nothing.
_DEPTH = 1000
_IMAGE_DEPTH = 100
TURN = 64  # messages of one topic before the others have their turn; what is left is taken in the next round
_REFUSALS: WeakKeyDictionary[Node, Refusals] = WeakKeyDictionary()


class ClockGuardedNode(Node):
    """A node whose ROS time no message on /clock can end: rclpy's own subscription raises on a time below zero.

    It is in every node with `use_sim_time`; a node that reads the clock itself counts what is refused.
    """

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], *args: Any, **options: Any
    ) -> Subscription:
        """As rclpy does it; what is not a time never reaches rclpy's callback for /clock."""

        def guarded(message: Any) -> None:
            try:
                messages.check(CLOCK, message)
            except MessageError:
                return
            callback(message)

        ours = topic != CLOCK.name or options.get("raw", False)
        return super().create_subscription(msg_type, topic, callback if ours else guarded, *args, **options)


def subscribe(
    node: Node,
    topic: Topic,
    callback: Callable[..., None],
    *,
    keep_all: bool = False,
    raw: bool = False,
    checked: bool = True,
) -> Subscription:
    """Subscribes to a topic.

    Args:
        node: gets the subscription.
        topic: of the contract.
        callback: called with each message, in order; one on which it raises a MessageError is refused. Any other error
            is not the message's, and ends the node.
        keep_all: lose no message while the node is busy; otherwise the contract's queue, whose newest messages count.
        raw: give serialized messages as bytes, and the message itself for latched topics, None for others, which are
            neither read nor checked.
        checked: refuse what `messages.check` refuses; without, the callback judges everything that can be read.
    """
    refusals = _REFUSALS.setdefault(node, Refusals())
    read = not raw or topic.qos.latched
    # What a simulator or a robot publishes at a rate is measured at each stamp. On topics of the graph several nodes
    # say something at the same moment, on /diagnostics above all.
    measured = topic.source is Source.SIMULATOR and topic.rate_hz is not None and not topic.qos.latched
    stamps = StandingStamps() if read and measured else None

    def take(cdr: bytes, _: Mapping[str, Any]) -> None:
        try:
            message = messages.deserialized(topic, cdr) if read else None
            if checked and read:
                messages.check(topic, message)
            if stamps is not None and (words := _standing(stamps, message)):
                raise MessageError(words)
            if raw:
                callback(cdr, message)
            else:
                callback(message)
        except MessageError as error:
            words = str(error) if topic.name in str(error) else f"{topic.name}: {error}"
            if refusals.add(topic.name, words, time.monotonic()):
                node.get_logger().warning(f"{words}; the message is refused")

    def take_all(cdr: bytes, info: Mapping[str, Any]) -> None:
        take(cdr, info)
        with subscription.handle:
            for _ in range(TURN - 1):
                taken = subscription.handle.take_message(subscription.msg_type, True)
                if taken is None:
                    return
                take(*taken)

    depth = (_IMAGE_DEPTH if topic.type == "sensor_msgs/msg/Image" else _DEPTH) if keep_all else None
    # With two parameters rclpy gives the middleware's information too; its annotations know of one.
    taker: Callable[..., None] = take_all if keep_all else take
    subscription = node.create_subscription(
        interface_class(topic), topic.name, taker, qos_profile(topic.qos, depth=depth), raw=True
    )
    return subscription


def _standing(stamps: StandingStamps, message: Any) -> str:
    """What is wrong with the stamp of a message, in words; empty where nothing is, or it has none."""
    return stamps.judge(messages.to_ns(message.header.stamp)) if hasattr(message, "header") else ""


def take_waiting(subscription: Subscription) -> None:
    """Takes what waits on a `keep_all` subscription now, before its turn in the executor."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, True)
    if taken is not None:
        subscription.callback(*taken)


def refused_messages(node: Node) -> DiagnosticPart | None:
    """Diagnostics of the messages that a node refused; None for a node without subscriptions."""
    refusals = _REFUSALS.get(node)
    return None if refusals is None else refusals.part(time.monotonic())
