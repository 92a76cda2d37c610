"""`failure_predictor` executable: foresees failures from what the policy says and the joints feel."""

from __future__ import annotations

import time

from sensor_msgs.msg import JointState

from salus_msgs.msg import FailurePrediction, SafetySignals, Status
from salus_vla import contract
from salus_vla.config.paths import DEFAULT_PREDICTOR, predictor_folder
from salus_vla.contract.errors import ModelError
from salus_vla.contract.message_readers import joint_positions, measured_joints
from salus_vla.health.meters import DiagnosticPart, LatencyMeter, RateMeter
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.lifecycle import ManagedNode, destroy
from salus_vla.ros.adapters.node_parameters import NodeParameters
from salus_vla.ros.adapters.prediction_messages import failure_prediction
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.reaches import reaches
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.nodes.predictor_parameters import PredictorParameters
from salus_vla.safety.prediction.decision_assembly import AssembledDecision, DecisionAssembly, HeardSignals
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.failure_predictor import EpisodePredictor, FailurePredictor
from salus_vla.safety.prediction.predictor_file import load_predictor


class FailurePredictorNode:
    """Wires a predictor to the topics."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = ManagedNode("failure_predictor", self)
        self._status = StatusPublisher(self.node, "predictor")
        self._declared = NodeParameters(self.node, PredictorParameters, self.node.is_unconfigured)
        self._parameters = self._declared.read()
        self._status.set_parameters(self._parameters)
        self._status.say(Status.STARTING, detail="not configured yet")
        self._live: _Live | None = None
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy or a transition shuts the node down."""
        if self._parameters.autostart:
            self.node.start()  # when it fails the status says why, and the node stays for whoever asks
        self.node.spin(self._executor, self._tick)

    def _tick(self) -> None:
        if self._live is not None:
            self._live.tick()

    def close(self) -> None:
        """Ends the node."""
        self.cleanup()
        self.node.destroy_node()

    def configure(self) -> None:
        """Loads the predictor and connects.

        Raises:
            SalusError: its files are missing or damaged.
        """
        self._parameters = p = self._declared.read()
        self._status.set_parameters(p)
        predictor = load_predictor(predictor_folder(p.predictor))
        self._live = _Live(self.node, self._status, predictor, p)
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, "the predictor is loaded and waits to be activated")

    def activate(self) -> None:
        """Predicts from now on."""
        assert self._live is not None
        self._live.activate()

    def leave_active(self) -> None:
        """Nothing goes on beside the callbacks."""

    def deactivate(self) -> None:
        """Predicts nothing any more."""
        assert self._live is not None
        self._live.deactivate()

    def cleanup(self) -> None:
        """Frees the predictor."""
        if self._live is not None:
            live, self._live = self._live, None
            live.close()

    def failed(self, error: Exception) -> None:
        """Says why a transition failed."""
        self._status.say(Status.FAILED, Status.REASON_NO_PREDICTION, str(error))


class _Live:
    """A predictor that hears the graph."""

    def __init__(
        self, node: ManagedNode, status: StatusPublisher, predictor: FailurePredictor, parameters: PredictorParameters
    ) -> None:
        self._node, self._status, self._predictor, self._parameters = node, status, predictor, parameters
        self._active, self._matches = False, False
        self._stamp_ns = 0
        self._assembly, self._episode = DecisionAssembly(), EpisodePredictor(predictor)
        self._alarm: str | None = None  # that was said last; None at the start of an episode
        self._rate, self._took = RateMeter(contract.SAFETY_SIGNALS.rate_hz or 0.0), LatencyMeter()
        self._alarms = 0
        self._predictions, self._latched = (
            node.create_publisher(FailurePrediction, topic.name, qos_profile(topic.qos))
            for topic in (contract.FAILURE_PREDICTION, contract.FAILURE_ALARM)
        )
        self._heard = [
            subscribe(node, contract.JOINT_STATES, self._on_joints, keep_all=True),
            subscribe(node, contract.JOINT_COMMAND, self._on_command, keep_all=True),
            subscribe(node, contract.SAFETY_SIGNALS, self._on_signals, keep_all=True),
        ]
        status_heard = subscribe(node, contract.STATUS_TOPIC, self._on_status, keep_all=True)
        self._made = [self._predictions, self._latched, *self._heard, status_heard]
        about = {"predictor": predictor.digest, "ensemble": str(predictor.ensemble)}
        if predictor.band is not None:
            about |= {"alpha": f"{predictor.band.alpha:g}", "calibrated_on": str(len(predictor.band.peaks))}
        status.add_facts(about)

    def activate(self) -> None:
        self._active = True
        self._status.say(Status.STARTING, detail="waits for the policy, the joints and their commands")
        self.tick()

    def deactivate(self) -> None:
        self._active = False
        detail = "the predictor was deactivated by a lifecycle transition"
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, detail, self._stamp_ns)

    def close(self) -> None:
        destroy(self._node, self._made)

    def tick(self) -> None:
        """READY means that no message of the first episode is missed, and no prediction of it."""
        self._status.diagnose(self._stamp_ns, self._diagnostics)
        if self._active and self._matches and self._connected():
            self._status.say(Status.READY, stamp_ns=self._stamp_ns)

    def _connected(self) -> bool:
        wanted = self._parameters.predictions_to
        hears = all(item.get_publisher_count() for item in self._heard)
        return hears and (not wanted or reaches(self._node, self._predictions, wanted=wanted))

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_status(self, message: Status) -> None:
        facts = {item.key: item.value for item in message.facts}
        if message.role != "policy" or message.state == Status.STARTING:
            return
        self._matches = self._is_ours(EnsembleIdentity.of_facts(facts))

    def _is_ours(self, ensemble: EnsembleIdentity) -> bool:
        try:
            self._predictor.require(ensemble)
        except ModelError as error:
            if self._parameters.predictor != DEFAULT_PREDICTOR:
                self._status.say(Status.FAILED, Status.REASON_NO_PREDICTION, str(error), self._stamp_ns)
            elif self._active:
                self._status.say(Status.READY, Status.REASON_NO_PREDICTION, str(error), self._stamp_ns)
            return False
        return True

    def _on_joints(self, message: JointState) -> None:
        self._stamp_ns = messages.to_ns(message.header.stamp)
        self._assembly.joints(self._stamp_ns, measured_joints(message))
        self._predict()

    def _on_command(self, message: JointState) -> None:
        self._assembly.command(messages.to_ns(message.header.stamp), joint_positions(message))
        self._predict()

    def _on_signals(self, message: SafetySignals) -> None:
        self._assembly.signals(HeardSignals.of(message))
        self._predict()

    def _predict(self) -> None:
        for decision in self._assembly.ready():
            if self._active and self._matches:
                self._say(decision)

    def _say(self, decision: AssembledDecision) -> None:
        began = time.perf_counter()
        heard = decision.heard
        if heard.decision == 0:
            self._alarm = None
        prediction = self._episode.foresee(decision)
        message = failure_prediction(prediction, self._predictor, heard.stamp_ns, heard.decision)
        self._predictions.publish(message)
        self._took.add((time.perf_counter() - began) * 1e3)
        self._rate.add(heard.stamp_ns)
        if prediction.alarm != self._alarm:
            self._alarm = prediction.alarm
            self._latched.publish(message)
            if prediction.alarm:
                self._alarms += 1
                self._node.get_logger().warning(f"decision {heard.decision}: {message.detail}")

    def _diagnostics(self) -> list[DiagnosticPart]:
        values = {**self._took.values("predict"), "alarms": float(self._alarms)}
        return [DiagnosticPart("prediction", values, message=self._alarm or "no alarm")]


def main(args: list[str] | None = None) -> int:
    """Entry point of the `failure_predictor` executable."""
    return run_node(FailurePredictorNode, args, role="predictor")
