"""The policy's node: a lifecycle around the commander.

Configuring loads the policy and checks everything, only an active node commands, deactivating brakes the arm and
holds, cleaning up frees the policy.
"""

from __future__ import annotations

import gc
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor

from salus_msgs.msg import Status
from salus_vla.contract import ENTITIES
from salus_vla.nodes.commander import Commander
from salus_vla.nodes.ensemble_parameters import EnsembleParameters
from salus_vla.nodes.ensemble_policy import load_controller
from salus_vla.nodes.images import BACKEND
from salus_vla.nodes.lifecycle import ManagedNode
from salus_vla.nodes.main import run_node
from salus_vla.nodes.parameters import read_parameters
from salus_vla.nodes.status import StatusPublisher
from salus_vla.scene import load_scene


class VlaEnsembleNode:
    """Makes and frees a commander with its policy."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = ManagedNode("vla_ensemble", self)
        self._status = StatusPublisher(self.node, "policy")
        self._parameters = read_parameters(self.node, EnsembleParameters)
        self._status.add_parameters(self._parameters)
        self._status.add_facts({"image_backend": BACKEND})
        self._status.say(Status.STARTING, detail="not configured yet")
        self._commander: Commander | None = None
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Spins until rclpy shuts down."""
        if self._parameters.autostart:
            self.node.start()  # when it fails the status says why, and the node stays for whoever asks
        self._executor.spin()

    def close(self) -> None:
        """Ends the worker."""
        self.cleanup()
        self.node.destroy_node()

    def configure(self) -> None:
        """Loads the policy and connects.

        Raises:
            SalusError: the scene file is wrong, or the policy cannot be loaded.
        """
        self._status.say(Status.STARTING, detail="loading the policy")
        scene = load_scene(Path(self._parameters.scene_file) if self._parameters.scene_file else None)
        controller, policy = load_controller(self._parameters, scene)
        self._status.add_facts(policy.facts())
        entities = ENTITIES if policy.needs_poses else ()
        self._commander = Commander(self.node, self._parameters, scene, controller, self._status, entities)
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, "the policy is loaded")

    def activate(self) -> None:
        """Starts commanding."""
        assert self._commander is not None
        self._commander.activate()

    def deactivate(self) -> None:
        """Brakes and holds."""
        assert self._commander is not None
        self._commander.deactivate()

    def cleanup(self) -> None:
        """Frees the policy."""
        if self._commander is not None:
            self._commander.close()
            self._commander = None
            gc.collect()  # of a GPU's memory too, before another policy is loaded

    def failed(self, error: Exception) -> None:
        """Says why a transition failed."""
        self._status.say(Status.FAILED, Status.REASON_NO_VALID_POLICY, str(error))


def main(args: list[str] | None = None) -> int:
    """Entry point of the `vla_ensemble` executable."""
    return run_node(VlaEnsembleNode, args, role="policy")
