"""What the episode node makes of facts, and the recorder of outcomes, that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import rclpy
from diagnostic_msgs.msg import KeyValue
from rclpy.executors import SingleThreadedExecutor

from salus_msgs.msg import Status
from salus_vla.ros.clients.lifecycle_manager import GraphError
from salus_vla.ros.clients.node_supervisor import DeactivatedError, NodeSupervisor

StartRos = Callable[..., None]


class Wanted:
    """Whether the graph is wanted."""

    value = True


@pytest.fixture
def wanted() -> Wanted:
    return Wanted()


@pytest.fixture
def graph(start_ros: StartRos, wanted: Wanted) -> Iterator[NodeSupervisor]:
    start_ros()
    node, executor = rclpy.create_node("episode"), SingleThreadedExecutor()
    executor.add_node(node)
    made = NodeSupervisor(
        node, executor, [], node_timeout_s=5.0, service_timeout_s=0.1, wanted=lambda: wanted.value, on_turn=lambda: None
    )
    yield made
    made.close()
    node.destroy_node()


def say(graph: NodeSupervisor, role: str, state: int, reason: str = "", **facts: str) -> None:
    pairs = [KeyValue(key=key, value=value) for key, value in facts.items()]
    graph._on_status(Status(role=role, state=state, reason=reason, detail="in words", facts=pairs))


def test_a_hold_that_ends_by_itself_does_not_end_the_run_and_a_latched_one_does(graph: NodeSupervisor) -> None:
    say(graph, "policy", Status.HOLDING, Status.REASON_NO_DECISION_YET)
    graph.check(moving=True)
    say(graph, "policy", Status.HOLDING, Status.REASON_STALE_CAMERA)
    with pytest.raises(GraphError, match="stale_camera: policy: in words"):
        graph.check()


def test_a_policy_that_is_deactivated_ends_an_episode_but_not_the_wait_for_one(graph: NodeSupervisor) -> None:
    say(graph, "policy", Status.HOLDING, Status.REASON_INACTIVE)
    graph.check()
    with pytest.raises(GraphError, match="inactive: policy"):
        graph.check(moving=True)


def test_what_the_episode_node_says_of_itself_ends_nothing(graph: NodeSupervisor) -> None:
    say(graph, "episode", Status.FAILED, Status.REASON_NO_EPISODE)
    graph.check(moving=True)


def test_nobody_waits_for_what_is_not_wanted(graph: NodeSupervisor, wanted: Wanted) -> None:
    assert not graph.spin(lambda: False, 0.01)
    wanted.value = False
    with pytest.raises(DeactivatedError):
        graph.spin(lambda: False, None)
