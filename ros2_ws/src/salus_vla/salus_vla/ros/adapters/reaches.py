"""Whether a publisher has found the subscriptions that its first message must not miss.

Discovery is not one moment: a recorder may have been found when the simulator was not yet, and what a volatile
publisher sends before is lost. In lockstep one lost command stops everything.
"""

from __future__ import annotations

from collections.abc import Collection

from rclpy.node import Node
from rclpy.publisher import Publisher


def reaches(node: Node, publisher: Publisher, *, besides: Collection[str] = (), wanted: str = "") -> bool:
    """Whether every known subscription is matched, and among them one that counts.

    Args:
        node: of the publisher.
        publisher: the one in question.
        besides: names of nodes whose subscriptions do not count.
        wanted: name of the node whose subscription counts; any other than `besides` when empty.
    """
    names = [info.node_name for info in node.get_subscriptions_info_by_topic(publisher.topic_name)]
    counts = wanted in names if wanted else any(name not in besides for name in names)
    return counts and publisher.get_subscription_count() >= len(names)
