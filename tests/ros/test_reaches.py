"""A publisher reaches the arm only when the arm's subscription is matched, whoever else listens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from rclpy.node import Node

from salus_vla import contract
from salus_vla.ros.adapters.reaches import reaches
from salus_vla.ros.nodes.authority_output import AuthorityOutput

LISTENERS = frozenset({"bag_recorder", "vla_ensemble"})


def graph(*names: str, matched: int) -> tuple[Any, Any]:
    """A node that knows of these subscribers, and its publisher that has matched so many of them."""
    node = SimpleNamespace(
        get_subscriptions_info_by_topic=lambda _: [SimpleNamespace(node_name=name) for name in names]
    )
    return node, SimpleNamespace(topic_name="/joint_command", get_subscription_count=lambda: matched)


@pytest.mark.parametrize(
    ("names", "matched", "expected"),
    [
        ((), 0, False),
        (("bag_recorder",), 1, False),
        (("bag_recorder", "vla_ensemble"), 2, False),
        (("bag_recorder", "mujoco_sim"), 1, False),
        (("mujoco_sim",), 1, True),
        (("bag_recorder", "_World_ActionGraph"), 2, True),
    ],
)
def test_a_recorder_is_not_the_arm(names: tuple[str, ...], matched: int, expected: bool) -> None:
    node, publisher = graph(*names, matched=matched)
    assert reaches(node, publisher, besides=LISTENERS) is expected


@pytest.mark.parametrize(
    ("names", "matched", "expected"),
    [(("bag_recorder",), 1, False), (("bag_recorder", "command_gate"), 1, False), (("command_gate",), 1, True)],
)
def test_the_node_that_is_named_has_to_be_among_them(names: tuple[str, ...], matched: int, expected: bool) -> None:
    node, publisher = graph(*names, matched=matched)
    assert reaches(node, publisher, wanted="command_gate") is expected


@pytest.mark.parametrize(
    ("hear_targets", "hear_signals", "expected"),
    [
        (("command_gate", "bag_recorder"), ("bag_recorder",), True),
        (("command_gate",), ("bag_recorder",), False),
        (("command_gate", "bag_recorder"), (), False),
        (("bag_recorder",), ("bag_recorder",), False),
    ],
)
def test_a_policy_is_heard_by_the_gate_and_all_of_it_by_the_recorder(
    hear_targets: tuple[str, ...], hear_signals: tuple[str, ...], expected: bool
) -> None:
    heard = {contract.JOINT_TARGET.name: hear_targets, contract.SAFETY_SIGNALS.name: hear_signals}
    heard[contract.MEMBER_CHUNKS.name] = hear_signals

    def made(_: object, topic: str, __: object) -> Any:
        return SimpleNamespace(topic_name=topic, get_subscription_count=lambda: len(heard[topic]))

    node = SimpleNamespace(
        create_publisher=made,
        get_subscriptions_info_by_topic=lambda topic: [SimpleNamespace(node_name=name) for name in heard[topic]],
    )
    nothing: Any = None
    output = AuthorityOutput(cast(Node, node), nothing, nothing, nothing, 0.1)
    assert output.reaches("command_gate", "bag_recorder") is expected
    assert output.reaches("", "")
