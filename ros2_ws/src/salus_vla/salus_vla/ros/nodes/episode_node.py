"""The node that runs the episodes: a lifecycle around the runner.

Configuring reads the scene and connects, activating brings the other lifecycle nodes up and runs the episodes,
deactivating ends the running one as ABORTED and has the arm held, cleaning up takes the other nodes down.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rclpy.task import Future

from salus_msgs.msg import Status
from salus_vla.config.params_file import check_params_file, given_params_files
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.lean_executor import GATHER_S, LeanExecutor
from salus_vla.ros.adapters.lifecycle import ManagedNode
from salus_vla.ros.adapters.node_parameters import NodeParameters
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.environment.domains import claimed_domain
from salus_vla.ros.nodes.episode_parameters import EpisodeParameters
from salus_vla.ros.nodes.episode_runner import EpisodeRunner


class EpisodeNode:
    """Runs a number of episodes, then ends the graph by ending itself."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = ManagedNode("episode", self)
        self._declared = NodeParameters(self.node, EpisodeParameters, self.node.is_unconfigured)
        self._parameters = self._declared.read()
        self._status = StatusPublisher(self.node, "episode")
        self._status.set_parameters(self._parameters)
        self._status.say(Status.STARTING, detail="not configured yet")
        self._runner: EpisodeRunner | None = None
        self._executor = LeanExecutor(gather_s=GATHER_S)
        self._executor.add_node(self.node)

    def run(self) -> int:
        """Waits to be active, then runs all episodes; 0 when every one was recorded, 1 when the graph failed."""
        if self._parameters.autostart and not self.node.start():
            return 1  # the status has the reason
        while self.node.context.ok() and not self.node.is_finalized():
            if self._runner is not None and self._runner.active:
                code = self._runner.run()
                if code is not None:
                    return code
            self._executor.spin_once(timeout_sec=0.1)
        self.node.spin(self._executor)  # until the answer to a shutdown has left
        return 0

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    def configure(self) -> None:
        """Reads the scene and connects.

        Raises:
            SalusError: the scene file is wrong.
        """
        self._parameters = self._declared.read()
        self._status.set_parameters(self._parameters)
        scene = load_scene(Path(self._parameters.scene_file) if self._parameters.scene_file else None)
        self._runner = EpisodeRunner(self.node, self._executor, self._parameters, scene, self._status)
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, "waits to be activated")

    def activate(self) -> None:
        """Has the episodes run."""
        assert self._runner is not None
        self._runner.active = True

    def leave_active(self) -> Future | None:
        """Ends the running episode as ABORTED and has the arm held; done when that is so."""
        assert self._runner is not None
        self._runner.active = False
        return self._runner.over()

    def deactivate(self) -> None:
        """Has no more episodes run."""
        assert self._runner is not None
        self._runner.active = False

    def cleanup(self) -> None:
        """Takes the other nodes down and disconnects."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def failed(self, error: Exception) -> None:
        """Says why a transition failed."""
        self._status.say(Status.FAILED, Status.REASON_NO_EPISODE, str(error))


def main(args: list[str] | None = None) -> int:
    """Entry point of the `episode` executable."""

    def make() -> EpisodeNode:
        # Every node checks its own keys; a section of no node is nobody's. This node is in every graph, once.
        for path in given_params_files(sys.argv if args is None else args):
            check_params_file(path)
        return EpisodeNode()

    try:  # where `ros2 launch` started the graph, nobody has claimed its domain yet
        with claimed_domain(os.environ):
            return run_node(make, args, role="episode")
    except SalusError as error:  # said here only: /salus/status is the other graph's
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
