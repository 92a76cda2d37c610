"""Messages that wait are taken at once when the order between topics matters."""

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import JointState

from salus_vla import contract
from salus_vla.ros.adapters.messages import header
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.subscribe import subscribe, take_waiting
from waiting import wait_until

StartRos = Callable[..., None]


def test_what_waits_is_taken_without_the_executor_and_in_order(start_ros: StartRos) -> None:
    start_ros()
    node = Node("listener")
    taken: list[float] = []
    topic = contract.JOINT_STATES
    subscription = subscribe(node, topic, lambda message: taken.append(message.position[0]), keep_all=True)
    take_waiting(subscription)
    assert taken == []
    publisher = node.create_publisher(JointState, topic.name, qos_profile(topic.qos))
    wait_until(lambda: publisher.get_subscription_count() == 1, "subscription", 5.0)
    for value in (1.0, 2.0, 3.0):
        publisher.publish(JointState(position=[value]))

    def all_taken() -> bool:
        take_waiting(subscription)
        return len(taken) == 3

    wait_until(all_taken, "third message", 5.0)
    assert taken == [1.0, 2.0, 3.0]
    node.destroy_node()


def test_many_nodes_may_diagnose_themselves_at_one_moment(start_ros: StartRos) -> None:
    start_ros()
    node = Node("listener")
    taken: list[str] = []
    topic = contract.DIAGNOSTICS
    subscription = subscribe(node, topic, lambda message: taken.append(message.status[0].name), keep_all=True)
    publisher = node.create_publisher(DiagnosticArray, topic.name, qos_profile(topic.qos, depth=20))
    wait_until(lambda: publisher.get_subscription_count() == 1, "subscription", 5.0)
    names = [f"node {number}" for number in range(12)]
    for name in names:
        publisher.publish(DiagnosticArray(header=header(21_000_000_000), status=[DiagnosticStatus(name=name)]))

    def all_taken() -> bool:
        take_waiting(subscription)
        return len(taken) == len(names)

    wait_until(all_taken, "last message", 5.0)
    assert taken == names
    node.destroy_node()
