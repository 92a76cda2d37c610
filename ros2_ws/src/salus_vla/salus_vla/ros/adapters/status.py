"""The latched status of a node and its diagnostics: what it does, why it stopped, how well it keeps up."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from salus_msgs.msg import Status
from salus_vla.config.parameters import PARAMETER_FORMAT, parameter_texts
from salus_vla.contract import DIAGNOSTICS, STATUS_TOPIC
from salus_vla.health.meters import DiagnosticPart, Level, resources
from salus_vla.ros.adapters.messages import header, key_values
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.subscribe import refused_messages

_DIAGNOSTICS_PERIOD_NS = 1_000_000_000
SILENT_S = 1.5  # wall time after which diagnostics come although sim time stands still
_ROS_LEVELS = {
    Level.OK: DiagnosticStatus.OK,
    Level.WARN: DiagnosticStatus.WARN,
    Level.ERROR: DiagnosticStatus.ERROR,
    Level.STALE: DiagnosticStatus.STALE,
}


class DiagnosticsPublisher:
    """Publishes /diagnostics once per second of sim time, as rqt_robot_monitor reads it: `salus/NODE: PART`.

    They are also the node's sign of life: while sim time stands still they go on by wall time, and who begins to listen
    does not wait for the next second. A part that gets worse or recovers is logged when that happens, never again while
    it stays so.
    """

    def __init__(self, node: Node) -> None:
        """Creates the publisher."""
        self._node = node
        self._next_ns = 0
        self._wall = time.monotonic()
        self._readers = 0  # subscriptions at the last look
        self._shown: dict[str, str] = {}  # part -> what was wrong with it in the last array
        self._publisher = node.create_publisher(DiagnosticArray, DIAGNOSTICS.name, qos_profile(DIAGNOSTICS.qos))

    def diagnose(self, stamp_ns: int, collect: Callable[[], Sequence[DiagnosticPart]]) -> None:
        """Publishes diagnostics if a second of sim time or `SILENT_S` have passed since the last; cheap otherwise.

        Also when the clock jumped back, and for a new subscription. Before the first stamp, which is a time that is
        not known and of which diagnostic_aggregator complains, only by a node that refuses messages: they may be why
        there is no stamp.

        Args:
            stamp_ns: sim time now [ns]; 0 before the first clock.
            collect: called when they are due; gives the node's parts. Refused messages and its memory are added here.
        """
        if stamp_ns == 0:
            refused = refused_messages(self._node)
            if refused is None or refused.level == Level.OK:
                return
            stamp_ns = self._node.get_clock().now().nanoseconds
        wall, readers = time.monotonic(), self._publisher.get_subscription_count()
        new_reader, self._readers = readers > self._readers, readers
        due = not self._next_ns - _DIAGNOSTICS_PERIOD_NS <= stamp_ns < self._next_ns or wall - self._wall >= SILENT_S
        if not due and not new_reader:
            return
        self._wall = wall
        self._next_ns = stamp_ns - stamp_ns % _DIAGNOSTICS_PERIOD_NS + _DIAGNOSTICS_PERIOD_NS
        parts = (*collect(), refused_messages(self._node), resources())
        statuses = [self._status(part) for part in parts if part is not None]
        self._publisher.publish(DiagnosticArray(header=header(stamp_ns), status=statuses))

    def _status(self, part: DiagnosticPart) -> DiagnosticStatus:
        wrong = "" if part.level is Level.OK else part.message
        before = self._shown.get(part.name, "")
        # Only whether something is wrong counts, because the words may carry numbers that change each second. A part
        # that has not heard anything yet is no news: it is so at every start.
        if bool(wrong) != bool(before) and part.level is not Level.STALE:
            logger = self._node.get_logger()
            if wrong:
                logger.warning(f"{part.name}: {wrong}")
            else:
                logger.info(f"{part.name}: ok again")
        if part.level is not Level.STALE:
            self._shown[part.name] = wrong
        return DiagnosticStatus(
            level=_ROS_LEVELS[part.level],
            name=f"salus/{self._node.get_name()}: {part.name}",
            message=part.message,
            hardware_id=self._node.get_fully_qualified_name(),
            values=key_values(part.values),
        )


class StatusPublisher(DiagnosticsPublisher):
    """Publishes `salus_msgs/Status` on change, and /diagnostics.

    Attributes:
        holds: times that the node began to hold or failed, by reason.
    """

    def __init__(self, node: Node, role: str) -> None:
        """Creates both publishers; `role` is policy, gate, recorder or episode."""
        super().__init__(node)
        self._role = role
        self._process = {
            "node": node.get_fully_qualified_name(),
            "pid": str(os.getpid()),
            "host": os.uname().nodename,
        }
        self._facts = dict(self._process)
        self._last: tuple[int, str, str] | None = None
        self.holds: Counter[str] = Counter()
        self.publisher = node.create_publisher(Status, STATUS_TOPIC.name, qos_profile(STATUS_TOPIC.qos))

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Adds provenance to every later status."""
        self._facts.update(facts)

    def set_parameters(self, parameters: Any) -> None:
        """Forgets all provenance of an earlier configuration; a parameter dataclass is `param.NAME`, as JSON."""
        self._facts = dict(self._process)
        self._facts[PARAMETER_FORMAT] = "json"
        self._facts.update({f"param.{name}": text for name, text in parameter_texts(parameters).items()})

    def say(self, state: int, reason: str = "", detail: str = "", stamp_ns: int = 0) -> None:
        """Publishes a state when it or its reason differs from the last one, while STARTING also the words."""
        said = (state, reason, detail if state == Status.STARTING else "")
        if self._last == said:
            return
        self._last = said
        message = Status(
            header=header(stamp_ns),
            role=self._role,
            state=state,
            reason=reason,
            detail=detail,
            facts=key_values(self._facts),
        )
        self.publisher.publish(message)
        logger = self._node.get_logger()
        if state == Status.FAILED:
            self.holds[reason] += 1
            logger.error(f"{reason}: {detail}")
        elif state == Status.HOLDING:
            self.holds[reason] += 1
            logger.info(f"holding, {reason}: {detail}", throttle_duration_sec=5.0)
