"""The other nodes as the episode node reaches them: hears what they say, calls their services, brings them up and down.

What follows from it is judged by `health.supervision.Supervisor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy

from salus_msgs.msg import Status
from salus_vla import contract
from salus_vla.contract import Service, Source, Topic
from salus_vla.contract.reasons import NodeState
from salus_vla.health.publishers import SOLE, best_effort, unpublished
from salus_vla.health.supervision import LEASE_S, PREDICTOR, ROLES, NodeReport, Stop, Supervisor
from salus_vla.ros.adapters.lifecycle import destroy
from salus_vla.ros.adapters.messages import to_ns
from salus_vla.ros.adapters.publisher_watch import PublisherWatch
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.adapters.subscribe import refused_messages, subscribe
from salus_vla.ros.clients.lifecycle_manager import GraphError, LifecycleManager

DIAGNOSTICS_PREFIX = "salus/"  # of the names in /diagnostics of the project's own nodes
REFUSED_PART = ": messages"  # end of the name of the part that says what a node refused
_CALLED = (contract.SIM_RESET, contract.SIM_SET_PARAMETERS, contract.RECORDER_START, contract.RECORDER_STOP)
_NEEDED = tuple(topic for topic in contract.SIMULATOR_TOPICS if topic.rate_hz is not None and not topic.optional)
_TURN_S = 0.2
_HEARD_WITHIN_S = 3.0  # two periods of /diagnostics
_DOWN_S = 5.0  # wall time for each step down of a node that lives


class DeactivatedError(GraphError):
    """The episode node was deactivated while it ran an episode."""

    def __init__(self) -> None:
        super().__init__(Status.REASON_INACTIVE, "the episode node was deactivated by a lifecycle transition")


class NodeSupervisor:
    """Hears and calls the other nodes.

    Attributes:
        supervisor: judges what is heard.
        peers: the lifecycle nodes that this one brings up and takes down.
    """

    def __init__(
        self,
        node: Node,
        executor: Executor,
        managed: Sequence[str],
        *,
        node_timeout_s: float,
        service_timeout_s: float,
        publisher_timeout_s: float = LEASE_S,
        wanted: Callable[[], bool],
        on_turn: Callable[[], None],
    ) -> None:
        """Connects.

        Args:
            node: gets subscriptions and clients.
            executor: of that node.
            managed: lifecycle nodes, in the order in which they come up.
            node_timeout_s: wall time without a sign of life after which a node is lost [s].
            service_timeout_s: wall time for an answer of a service [s].
            publisher_timeout_s: wall time for which a second publisher may be one whose process was killed [s].
            wanted: whether waiting goes on; false ends it with `DeactivatedError`.
            on_turn: called again and again while something is waited for.
        """
        self._node, self._executor = node, executor
        self._own_name = node.get_fully_qualified_name()
        self._service_timeout_s = service_timeout_s
        self._wanted, self._on_turn = wanted, on_turn
        predicts = Source.PREDICTOR.value in managed
        self.supervisor = Supervisor(node_timeout_s, (*ROLES, PREDICTOR) if predicts else ROLES, publisher_timeout_s)
        self._publishers = PublisherWatch(node, SOLE)
        self._clients: dict[Service, Client] = {
            service: node.create_client(interface_class(service), service.name) for service in _CALLED
        }
        self._made = [
            subscribe(node, contract.STATUS_TOPIC, self._on_status, keep_all=True),
            subscribe(node, contract.DIAGNOSTICS, self._on_diagnostics, keep_all=True),
        ]
        self.lifecycle = LifecycleManager(node, managed, self.spin, self.check)

    def close(self) -> None:
        """Disconnects."""
        destroy(self._node, [*self._made, *self._clients.values()])
        self.lifecycle.close()

    # -- what the nodes say --------------------------------------------------------------------------------------------

    def not_ready(self) -> list[str]:
        """What an episode still needs of the other nodes."""
        self._look_at_publishers(now=True)
        missing = [s.name for s, client in self._clients.items() if not client.service_is_ready()]
        faults = (best_effort(topic.name, self._reliable(topic)) for topic in _NEEDED)
        self.supervisor.unreliable([fault for fault in faults if fault], time.monotonic())
        counts = {topic.name: self._node.count_publishers(topic.name) for topic in _NEEDED}
        self.supervisor.unpublished(unpublished(counts), time.monotonic())
        return self.supervisor.not_ready(missing)

    def _reliable(self, topic: Topic) -> dict[str, bool]:
        infos = self._node.get_publishers_info_by_topic(topic.name)
        reliable = ReliabilityPolicy.RELIABLE
        return {
            f"{info.node_namespace.rstrip('/')}/{info.node_name}": info.qos_profile.reliability == reliable
            for info in infos
        }

    def check_hope(self, *, frames: bool) -> None:
        """Whether waiting for an episode can have an end.

        Args:
            frames: enough complete frames have come here.

        Raises:
            GraphError: a node that is needed refuses what the simulator publishes, and has for a while.
        """
        now, refusing = time.monotonic(), self.supervisor.refusing
        part = refused_messages(self._node)
        if part is not None:
            refusing.heard(self._own_name, int(part.values["refused"]), part.message, now)
        if not frames and refusing.hopeless(self._own_name, now):
            words = refusing.words(self._own_name)
            raise GraphError(Status.REASON_NO_EPISODE, f"what the simulator publishes is refused: {words}")
        stop = self.supervisor.hopeless(now)
        if stop is not None:
            raise GraphError(stop.reason, stop.detail)

    def begin_watch(self) -> None:
        """From now on everybody who has been heard must go on giving signs of life."""
        # The simulator has no status; it is known by its publisher. Others may publish there, and be silent.
        self.spin(self._all_heard, _HEARD_WITHIN_S)
        self.supervisor.watch(time.monotonic())

    def _all_heard(self) -> bool:
        self.check()
        publishers = self._node.get_publishers_info_by_topic(contract.DIAGNOSTICS.name)
        names = {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in publishers}
        return names - {self._own_name} <= self.supervisor.known

    def check(self, *, moving: bool = False, now: bool = False) -> None:
        """Whether the graph can go on; see `Supervisor.fault`.

        Args:
            moving: an episode runs.
            now: look at the publishers now, because a first command is to follow.

        Raises:
            GraphError: it cannot.
        """
        self.stop_for(self.fault(moving=moving, now=now))

    def fault(self, *, moving: bool = False, now: bool = False) -> Stop | None:
        """Why the graph cannot go on; see `check`."""
        self._look_at_publishers(now=now)
        return self.supervisor.fault(time.monotonic(), moving=moving)

    def _look_at_publishers(self, *, now: bool) -> None:
        self._publishers.look(now=now)
        self.supervisor.publishers(self._publishers.fault, time.monotonic())

    def stop_for(self, stop: Stop | None) -> None:
        """Raises GraphError for a reason to stop, if there is one."""
        if stop is None:
            return
        if self.supervisor.lost:
            self.lifecycle.forget(self.supervisor.lost.removeprefix("/"))
        explained = self.supervisor.explained(stop)
        raise GraphError(explained.reason, explained.detail)

    def _on_status(self, message: Status) -> None:
        facts = {item.key: item.value for item in message.facts}
        stamp_ns = to_ns(message.header.stamp)
        report = NodeReport(message.role, NodeState(message.state), message.reason, message.detail, facts, stamp_ns)
        self.supervisor.said(report, time.monotonic())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for name in {s.hardware_id for s in message.status if s.name.startswith(DIAGNOSTICS_PREFIX)}:
            if name != self._own_name:
                self.supervisor.heard(name, now)
        for status in message.status:
            if status.name.endswith(REFUSED_PART):
                total = next((int(item.value) for item in status.values if item.key == "refused"), 0)
                self.supervisor.refusing.heard(status.hardware_id, total, status.message, now)

    # -- waiting and asking --------------------------------------------------------------------------------------------

    def spin(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Handles messages until `done`; False when the time is up first.

        Raises:
            DeactivatedError: nobody wants it any more.
            KeyboardInterrupt: rclpy was shut down.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._is_up() and not done():
            if not self._wanted():
                raise DeactivatedError
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._executor.spin_once(timeout_sec=_TURN_S)
            self._on_turn()
        return True

    def _is_up(self) -> bool:
        if not self._node.context.ok():
            raise KeyboardInterrupt
        return True

    def checked(self, service: Service, request: Any, reason: str) -> Any:
        """Answer of a service that says whether it succeeded.

        Raises:
            GraphError: it did not, with `reason`, or it did not answer.
        """
        answer = self.call(service, request)
        if not answer.success:
            raise GraphError(reason, f"{service.name}: {answer.message}")
        return answer

    def call(self, service: Service, request: Any) -> Any:
        """Answer of a service.

        Raises:
            GraphError: it did not answer in time, or a node was lost meanwhile.
        """
        future = self._clients[service].call_async(request)

        def answered() -> bool:
            self.stop_for(self.supervisor.silent(time.monotonic()))
            return bool(future.done())

        if not self.spin(answered, self._service_timeout_s):
            raise GraphError(
                Status.REASON_SIMULATOR_LOST if service.name.startswith("/sim") else Status.REASON_RECORDING_FAILED,
                f"{service.name} did not answer within {self._service_timeout_s:g} s",
            )
        return future.result()

    def take_down(self) -> None:
        """Takes the managed nodes down in reverse; what goes wrong is logged."""
        self._report(self.lifecycle.take_down(_DOWN_S))

    def hold(self) -> None:
        """Deactivates the managed nodes in reverse: the arm is held, and nothing is freed."""
        self._report(self.lifecycle.hold(_DOWN_S))

    def _report(self, problems: Sequence[str]) -> None:
        self.supervisor.dismiss()
        for problem in problems:
            self._node.get_logger().warning(problem)
