"""Whether a topic that must have one publisher has another: two of them would mix two graphs, or move the arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salus_vla.contract import CLOCK, JOINT_COMMAND, JOINT_STATES, JOINT_TARGET, Topic

# What decides where the arm goes and when: each has one publisher.
SOLE: tuple[Topic, ...] = (CLOCK, JOINT_STATES, JOINT_COMMAND, JOINT_TARGET)


def second_publisher(topic: str, publishers: Sequence[str], ours: str | None = None) -> str:
    """Names the publisher that should not be there; empty where there is at most one.

    Args:
        topic: name of the topic.
        publishers: node of each publisher, `/NAMESPACE/NAME`.
        ours: the node that is meant to publish it, where that is known.
    """
    others = sorted(publishers)
    if ours in others:
        others.remove(ours)
        if not others:
            return ""
        return f"{topic} has a second publisher, node {others[0]}"
    if len(others) < 2:
        return ""
    return f"{topic} has {len(others)} publishers: nodes {' and '.join(others)}"


def best_effort(topic: str, reliable: Mapping[str, bool]) -> str:
    """Says that nothing of a topic can arrive, because every publisher is best effort; empty where one is reliable.

    Args:
        topic: name of the topic.
        reliable: of the node of each publisher, `/NAMESPACE/NAME`.
    """
    if not reliable or any(reliable.values()):
        return ""
    return f"{topic} is published best effort by {' and '.join(sorted(reliable))}, expected reliable: nothing arrives"


def unpublished(publishers: Mapping[str, int]) -> str:
    """Names the topics of a source that nobody publishes although it publishes others; empty where it is all there.

    Args:
        publishers: how many each topic of the source has.
    """
    missing = [topic for topic, count in publishers.items() if not count]
    if not missing or len(missing) == len(publishers):
        return ""
    return f"nobody publishes {', '.join(missing)}"
