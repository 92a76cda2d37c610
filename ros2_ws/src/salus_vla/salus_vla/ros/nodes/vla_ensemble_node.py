"""The policy's node: a lifecycle around the commander.

Configuring loads the policy and checks everything, only an active node commands, deactivating brakes the arm and
holds, cleaning up frees the policy.
"""

from __future__ import annotations

import gc
import threading
from contextlib import suppress
from pathlib import Path

from salus_msgs.msg import Status
from salus_vla.config.policy_options import ENSEMBLE
from salus_vla.config.scene import load_scene
from salus_vla.contract import ENTITIES, REALTIME
from salus_vla.contract.errors import SalusError
from salus_vla.control.build_controller import build_controller
from salus_vla.control.realtime_pace import TOO_SLOW, measure_decision_ms, too_slow
from salus_vla.policies.smolvla.loading.lean_imports import import_ensemble
from salus_vla.ros.adapters.image_messages import BACKEND
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.lifecycle import ManagedNode
from salus_vla.ros.adapters.node_parameters import NodeParameters
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.nodes.commander import Commander
from salus_vla.ros.nodes.ensemble_parameters import EnsembleParameters

_END_S = 1.0  # wall time for a decision that is being made when the process ends
_DECISION_S = 60.0  # wall time for one before the policy is freed: a large ensemble on a CPU is slow


class VlaEnsembleNode:
    """Makes and frees a commander with its policy."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = ManagedNode("vla_ensemble", self)
        self._status = StatusPublisher(self.node, "policy")
        self._declared = NodeParameters(self.node, EnsembleParameters, self.node.is_unconfigured)
        self._parameters = self._declared.read()
        self._status.set_parameters(self._parameters)
        self._status.say(Status.STARTING, detail="not configured yet")
        self._commander: Commander | None = None
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)
        if self._parameters.policy == ENSEMBLE:
            threading.Thread(target=_import_ahead, daemon=True).start()

    def run(self) -> None:
        """Spins until rclpy or a transition shuts the node down."""
        if self._parameters.autostart:
            self.node.start()  # when it fails the status says why, and the node stays for whoever asks
        self.node.spin(self._executor)

    def close(self) -> None:
        """Ends the worker without waiting for a decision under way: nothing is freed before the process ends."""
        if self._commander is not None:
            with suppress(SalusError):
                self._commander.close(patience_s=_END_S)
        self.node.destroy_node()

    def configure(self) -> None:
        """Loads the policy and connects.

        Raises:
            SalusError: the scene file is wrong, or the policy cannot be loaded or read the instruction.
        """
        self._parameters = p = self._declared.read()
        self._status.set_parameters(p)
        self._status.add_facts({"image_backend": BACKEND})
        self._status.say(Status.STARTING, detail="loading the policy")
        scene = load_scene(Path(p.scene_file) if p.scene_file else None)
        faults: list[str] = []
        controller, policy = build_controller(p, scene, faults=faults, realtime=p.pacing == REALTIME)
        self._status.add_facts(policy.provenance())
        if controller.safety is not None:
            self._status.add_facts(
                {"intervention_model": controller.safety.model, "no_intervention": controller.safety.fault}
            )
        for fault in faults:
            self.node.get_logger().error(f"nobody intervenes, the plan is followed: {fault}")
        if p.pacing == REALTIME and policy.needs_images:
            took_ms = measure_decision_ms(controller, scene)
            slow = too_slow(took_ms, scene.rates.decision_dt_ns, p.watch_limits.chunk_ns)
            self._status.add_facts({"decision_ms": f"{took_ms:.1f}", TOO_SLOW: slow})
            if slow:
                self.node.get_logger().warning(slow)
        if p.task:  # refused before anything moves
            self._status.add_facts(policy.read_task(p.task))
        entities = ENTITIES if policy.needs_poses else ()
        self._commander = Commander(self.node, self._parameters, scene, controller, self._status, entities)
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, "the policy is loaded and waits to be activated")

    def activate(self) -> None:
        """Starts commanding."""
        assert self._commander is not None
        self._commander.activate()

    def leave_active(self) -> None:
        """Nothing goes on beside the callbacks."""

    def deactivate(self) -> None:
        """Brakes and holds."""
        assert self._commander is not None
        self._commander.deactivate()

    def cleanup(self) -> None:
        """Frees the policy.

        Raises:
            SalusError: a decision is still being made with it after a minute.
        """
        if self._commander is not None:
            self._commander.close(patience_s=_DECISION_S)
            self._commander = None
            gc.collect()  # of a GPU's memory too, before another policy is loaded

    def failed(self, error: Exception) -> None:
        """Says why a transition failed."""
        self._status.say(Status.FAILED, Status.REASON_NO_VALID_POLICY, str(error))


def _import_ahead() -> None:
    """Seconds of imports while the other nodes start; configuring waits for them, and says what is wrong with them."""
    with suppress(Exception):
        import_ensemble()


def main(args: list[str] | None = None) -> int:
    """Entry point of the `vla_ensemble` executable."""
    return run_node(VlaEnsembleNode, args, role="policy")
