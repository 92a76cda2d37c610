"""The lean executor calls what rclpy's own calls: each test runs with both."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.task import Future
from std_msgs.msg import Int64
from std_srvs.srv import Trigger

from salus_vla.ros.adapters.lean_executor import LeanExecutor

StartRos = Callable[..., None]
PATIENCE_S = 20.0  # wall time until a test that hangs is a failure
FIRST, SECOND = "first", "second"


class Bench:
    """A node that hears two topics, and an executor that spins it."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        self.executor, self.node = executor, Node("bench")
        self.heard: list[tuple[str, int]] = []
        self.publishers = {topic: self.node.create_publisher(Int64, topic, 100) for topic in (FIRST, SECOND)}
        self.subscriptions = {topic: self.listen(topic) for topic in (FIRST, SECOND)}
        executor.add_node(self.node)

    def listen(self, topic: str) -> Subscription:
        return self.node.create_subscription(Int64, topic, lambda m: self.heard.append((topic, m.data)), 100)

    def is_connected(self, topic: str) -> bool:
        return self.publishers[topic].get_subscription_count() == 1

    def publish(self, topic: str, value: int) -> None:
        self.publishers[topic].publish(Int64(data=value))

    def spin_forever(self) -> None:
        while True:
            self.executor.spin_once()

    def spin_until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S:g} s; heard {self.heard}"
            self.executor.spin_once(timeout_sec=0.1)


def more_than(calls: list[int] | list[tuple[str, int]], before: int) -> bool:
    return len(calls) > before


@pytest.fixture(params=[SingleThreadedExecutor, LeanExecutor])
def bench(start_ros: StartRos, request: pytest.FixtureRequest) -> Iterator[Bench]:
    start_ros()
    made = Bench(request.param())
    yield made
    made.executor.shutdown()
    made.node.destroy_node()


def test_messages_come_in_order_and_earlier_subscriptions_first(bench: Bench) -> None:
    for value in range(20):
        bench.publish(SECOND, value)
        bench.publish(FIRST, value)
    bench.spin_until(lambda: len(bench.heard) == 40, "40 messages")
    for topic in (FIRST, SECOND):
        assert [value for name, value in bench.heard if name == topic] == list(range(20))
    assert bench.heard[0] == (FIRST, 0)


def test_a_subscription_that_an_earlier_callback_destroyed_is_not_called(bench: Bench) -> None:
    bench.node.destroy_subscription(bench.subscriptions[FIRST])
    later: list[Subscription] = []
    bench.node.create_subscription(Int64, FIRST, lambda _: bench.node.destroy_subscription(later[0]), 100)
    later.append(bench.listen(FIRST))
    bench.publish(FIRST, 1)
    bench.spin_until(lambda: later[0] not in bench.node.subscriptions, "destruction")
    bench.executor.spin_once(timeout_sec=0.1)
    assert bench.heard == []


def test_what_another_thread_makes_wakes_a_wait_without_end(bench: Bench) -> None:
    called = threading.Event()

    def make() -> None:
        bench.node.create_timer(0.001, called.set)

    threading.Timer(0.1, make).start()
    deadline = time.monotonic() + PATIENCE_S
    while not called.is_set():
        bench.executor.spin_once()
        assert time.monotonic() < deadline


def test_a_guard_condition_triggered_by_a_thread_is_called_once_for_each_trigger_that_was_seen(bench: Bench) -> None:
    calls: list[int] = []
    guard = bench.node.create_guard_condition(lambda: calls.append(1))
    for _ in range(3):
        before = len(calls)
        threading.Timer(0.02, guard.trigger).start()
        bench.spin_until(partial(more_than, calls, before), "call")
    bench.executor.spin_once(timeout_sec=0.05)
    assert len(calls) == 3


def test_a_cancelled_timer_is_not_called(bench: Bench) -> None:
    calls: list[str] = []
    second = bench.node.create_timer(0.01, lambda: calls.append("second"))

    def cancel() -> None:
        calls.append("first")
        second.cancel()

    bench.node.destroy_timer(second)
    bench.node.create_timer(0.01, cancel)
    second = bench.node.create_timer(0.01, lambda: calls.append("second"))
    time.sleep(0.03)  # both are ready in one wait
    bench.spin_until(lambda: "first" in calls, "timer")
    for _ in range(3):
        bench.executor.spin_once(timeout_sec=0.02)
    assert "second" not in calls


def test_an_error_of_a_callback_ends_the_spin(bench: Bench) -> None:
    def fail(_: Int64) -> None:
        raise ValueError("of a callback")

    bench.node.create_subscription(Int64, "third", fail, 10)
    bench.node.create_publisher(Int64, "third", 10).publish(Int64())
    with pytest.raises(ValueError, match="of a callback"):
        bench.spin_until(lambda: False, "error")
    bench.publish(FIRST, 1)
    bench.spin_until(lambda: bench.heard == [(FIRST, 1)], "message behind the error")


def test_messages_timers_and_guards_go_on_while_a_service_waits(bench: Bench) -> None:
    wait: Future = Future(executor=bench.executor)
    begun: list[int] = []

    async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        begun.append(1)
        await wait
        response.success = True
        return response

    bench.node.create_service(Trigger, "slow", answer, callback_group=ReentrantCallbackGroup())
    client = bench.node.create_client(Trigger, "slow")
    bench.spin_until(client.service_is_ready, "service")
    guarded: list[int] = []
    guard = bench.node.create_guard_condition(lambda: guarded.append(1))
    answered = client.call_async(Trigger.Request())
    bench.spin_until(lambda: bool(begun), "call of the service")
    guard.trigger()
    bench.publish(FIRST, 1)
    bench.spin_until(lambda: bench.heard == [(FIRST, 1)] and bool(guarded), "message and guard")
    assert not answered.done()
    wait.set_result(None)
    bench.spin_until(answered.done, "answer")
    assert answered.result().success
    guard.trigger()
    bench.publish(SECOND, 2)
    bench.spin_until(lambda: len(bench.heard) == 2 and len(guarded) == 2, "message and guard behind it")


def test_nothing_to_do_takes_as_long_as_it_may(bench: Bench) -> None:
    for _ in range(5):
        bench.executor.spin_once(timeout_sec=0.01)  # what making the node has left to do
    began = time.monotonic()
    bench.executor.spin_once(timeout_sec=0.3)
    assert 0.25 < time.monotonic() - began < 5.0


def test_a_shutdown_by_another_thread_ends_a_wait_without_end(bench: Bench) -> None:
    threading.Timer(0.1, rclpy.shutdown).start()
    with pytest.raises(ExternalShutdownException):
        bench.spin_forever()


def test_two_hundred_random_changes_and_messages_are_answered_alike(bench: Bench) -> None:
    """Subscriptions come and go between messages; every message is heard once by each that was there."""
    random = np.random.default_rng(7)
    expected: list[tuple[str, int]] = []
    calls: list[int] = []
    guards = [bench.node.create_guard_condition(lambda: calls.append(1)) for _ in range(2)]
    for value in range(200):
        action, topic = int(random.integers(4)), (FIRST, SECOND)[int(random.integers(2))]
        if action == 0:
            bench.node.destroy_subscription(bench.subscriptions[topic])
            bench.subscriptions[topic] = bench.listen(topic)
            bench.spin_until(partial(bench.is_connected, topic), "subscription")
        elif action == 1:
            before = len(calls)
            guards[int(random.integers(2))].trigger()
            bench.spin_until(partial(more_than, calls, before), "guard")
        else:
            before = len(bench.heard)
            bench.publish(topic, value)
            expected.append((topic, value))
            bench.spin_until(partial(more_than, bench.heard, before), "message")
    assert bench.heard == expected


def test_a_qos_that_does_not_fit_is_told_beside_messages(bench: Bench) -> None:
    told: list[int] = []
    callbacks = SubscriptionEventCallbacks(incompatible_qos=lambda event: told.append(event.total_count))
    bench.node.create_subscription(Int64, "third", bench.heard.append, 10, event_callbacks=callbacks)
    bench.node.create_publisher(Int64, "third", qos_profile_sensor_data)  # best effort, where reliable is asked for
    bench.spin_until(lambda: bench.is_connected(FIRST), "connection")

    def heard() -> bool:
        bench.publish(FIRST, len(bench.heard))  # there is always something else to do
        return bool(told)

    bench.spin_until(heard, "event")


def test_gathering_hears_everything(start_ros: StartRos) -> None:
    start_ros()
    bench = Bench(LeanExecutor(gather_s=0.005))
    for value in range(50):
        bench.publish(FIRST, value)
    bench.spin_until(lambda: len(bench.heard) == 50, "50 messages")
    assert [value for _, value in bench.heard] == list(range(50))
    bench.node.destroy_node()
