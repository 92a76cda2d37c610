"""Carries what an `Authority` decides into the graph: targets, states, signals, and jobs for the policy's thread."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState

from salus_msgs.msg import Intervention as InterventionMessage
from salus_msgs.msg import MemberChunks, SafetySignals
from salus_vla import contract
from salus_vla.control.authority_types import Intervene, Job, Log, Observed, Output, Refuse, Report, Say, Send, Submit
from salus_vla.control.decision import Decision
from salus_vla.control.safety_filter import SafetyFilter
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.intervention_messages import intervention_message
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.reaches import reaches
from salus_vla.ros.adapters.signal_messages import member_chunks, safety_signals
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.worker import Worker
from salus_vla.ros.nodes.ensemble_diagnostics import EnsembleDiagnostics
from salus_vla.safety.intervention.intervener import Intervention


class AuthorityOutput:
    """Publishes on /salus/joint_target, /salus/safety_signals, /salus/member_chunks and /salus/status.

    Attributes:
        made: publishers, for whoever disconnects.
    """

    def __init__(
        self,
        node: Node,
        status: StatusPublisher,
        watch: EnsembleDiagnostics,
        worker: Worker[Job, tuple[Job, Decision]],
        row_s: float,
        safety: SafetyFilter | None = None,
    ) -> None:
        """Creates the publishers.

        Args:
            node: that has them.
            status: of the node.
            watch: is told what was published.
            worker: decides.
            row_s: time between two rows of a chunk [s].
            safety: intervenes; None where nobody may.
        """
        self._safety, self._fault = safety, "" if safety is None else safety.fault
        self._node, self._status, self._watch, self._worker = node, status, watch, worker
        self._row_s = row_s
        target, signals, chunks = contract.JOINT_TARGET, contract.SAFETY_SIGNALS, contract.MEMBER_CHUNKS
        self._targets = node.create_publisher(JointState, target.name, qos_profile(target.qos))
        self._signals = node.create_publisher(SafetySignals, signals.name, qos_profile(signals.qos))
        self._chunks = node.create_publisher(MemberChunks, chunks.name, qos_profile(chunks.qos))
        self._interventions = None
        self.made: tuple[Any, ...] = (self._targets, self._signals, self._chunks)
        if safety is not None:
            done = contract.INTERVENTION
            self._interventions = node.create_publisher(InterventionMessage, done.name, qos_profile(done.qos))
            self.made += (self._interventions,)

    def reaches(self, commanded: str, recorder: str) -> bool:
        """Whether a first command would arrive at the one node, and all that is published at the other.

        Args:
            commanded: name of the node that must hear the commands; empty where none has to.
            recorder: name of the node that must hear everything; likewise.
        """
        wanted = [(self._targets, commanded), *((publisher, recorder) for publisher in self.made)]
        return all(reaches(self._node, publisher, wanted=name) for publisher, name in wanted if name)

    def carry(self, outputs: Iterable[Output]) -> None:
        """Does what was decided, in order."""
        for output in outputs:
            match output:
                case Send():
                    began = time.perf_counter()
                    self._targets.publish(messages.joint_command(output.stamp_ns, output.position))
                    self._watch.commanded(output.stamp_ns, began)
                case Say():
                    self._status.say(output.state, output.reason, output.detail, output.stamp_ns)
                case Submit():
                    self._worker.submit(output.job)
                case Report():
                    self._watch.decided(output.decision)
                    self._signals.publish(safety_signals(output.decision))
                    self._chunks.publish(member_chunks(output.decision, self._row_s))
                case Intervene():
                    self._intervened(output.intervention)
                case Observed():
                    self._watch.complete()
                case Refuse():
                    self._watch.refused(output)
                case Log():
                    self._node.get_logger().error(output.words)

    def _intervened(self, done: Intervention) -> None:
        """Publishes what was done, and says once why nobody can intervene any more."""
        safety, publisher = self._safety, self._interventions
        if safety is None or publisher is None:
            return
        publisher.publish(intervention_message(done, safety.mode, safety.model))
        if safety.fault != self._fault:
            self._fault = safety.fault
            self._status.add_facts({"no_intervention": safety.fault})
            self._node.get_logger().error(safety.fault)
