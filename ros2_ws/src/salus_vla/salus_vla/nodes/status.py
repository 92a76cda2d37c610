"""The latched status of a node and its diagnostics: what it does, why it stopped, how well it keeps up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from salus_msgs.msg import Status
from salus_vla.contract import DIAGNOSTICS, STATUS_TOPIC
from salus_vla.nodes.messages import header, key_values
from salus_vla.nodes.qos import profile

_DIAGNOSTICS_PERIOD_NS = 1_000_000_000


class StatusPublisher:
    """Publishes `salus_msgs/Status` on change and /diagnostics once per second of sim time."""

    def __init__(self, node: Node, role: str) -> None:
        """Creates both publishers; `role` is policy, recorder or episode."""
        self._node = node
        self._role = role
        self._facts: dict[str, str] = {}
        self._last: tuple[int, str] | None = None
        self._next_diagnostics_ns = 0
        self.publisher = node.create_publisher(Status, STATUS_TOPIC.name, profile(STATUS_TOPIC.qos))
        self._diagnostics = node.create_publisher(DiagnosticArray, DIAGNOSTICS.name, profile(DIAGNOSTICS.qos))

    def add_facts(self, facts: Mapping[str, str]) -> None:
        """Adds provenance to every later status."""
        self._facts.update(facts)

    def add_parameters(self, parameters: Any) -> None:
        """Adds a parameter dataclass as provenance, `param.NAME`."""
        for field in dataclasses.fields(parameters):
            name = field.metadata["name"] or field.name
            self._facts[f"param.{name}"] = str(getattr(parameters, field.name))

    def say(self, state: int, reason: str = "", detail: str = "", stamp_ns: int = 0) -> None:
        """Publishes a state when it or its reason differs from the last one."""
        if self._last == (state, reason):
            return
        self._last = (state, reason)
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
            logger.error(f"{reason}: {detail}")
        elif state == Status.HOLDING:
            logger.info(f"holding, {reason}: {detail}", throttle_duration_sec=5.0)

    def diagnose(self, stamp_ns: int, collect: Callable[[], tuple[Mapping[str, object], str]]) -> None:
        """Publishes diagnostics if a second of sim time has passed since the last.

        Args:
            stamp_ns: sim time now [ns].
            collect: called once a second; gives what to show, with units in the keys, and what is wrong or nothing.
        """
        if stamp_ns < self._next_diagnostics_ns:
            return
        self._next_diagnostics_ns = stamp_ns - stamp_ns % _DIAGNOSTICS_PERIOD_NS + _DIAGNOSTICS_PERIOD_NS
        values, warn = collect()
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if warn else DiagnosticStatus.OK,
            name=f"salus: {self._role}",
            message=warn or "ok",
            hardware_id=self._node.get_fully_qualified_name(),
            values=key_values(values),
        )
        self._diagnostics.publish(DiagnosticArray(header=header(stamp_ns), status=[status]))
