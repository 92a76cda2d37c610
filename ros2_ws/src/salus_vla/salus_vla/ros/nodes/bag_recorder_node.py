"""Records every topic of the contract, one rosbag2 bag per episode, without deserializing a message.

Configuring opens the run's folder and subscribes, only an active node records, deactivating closes an open bag as
ABORTED, cleaning up lets go of the run.
"""

from __future__ import annotations

from pathlib import Path

from salus_msgs.msg import Status
from salus_vla.ros.adapters.lean_executor import GATHER_S, LeanExecutor
from salus_vla.ros.adapters.lifecycle import ManagedNode
from salus_vla.ros.adapters.node_parameters import NodeParameters
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.nodes.recorder_parameters import RecorderParameters
from salus_vla.ros.nodes.topic_recorder import TopicRecorder


class BagRecorderNode:
    """Makes and frees a recorder of all topics."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = ManagedNode("bag_recorder", self)
        self._status = StatusPublisher(self.node, "recorder")
        self._declared = NodeParameters(self.node, RecorderParameters, self.node.is_unconfigured)
        self._parameters = self._declared.read()
        self._status.set_parameters(self._parameters)
        self._status.say(Status.STARTING, detail="not configured yet")
        self._recorder: TopicRecorder | None = None
        self._made: Path | None = None  # the run of this process: configured anew, it goes on with it
        self._executor = LeanExecutor(gather_s=GATHER_S)
        self._executor.add_node(self.node)

    def run(self) -> None:
        """Records until rclpy or a transition shuts the node down."""
        if self._parameters.autostart:
            self.node.start()  # when it fails the status says why, and the node stays for whoever asks
        self.node.spin(self._executor, self._tick)

    def _tick(self) -> None:
        if self._recorder is not None:
            self._recorder.tick()

    def close(self) -> None:
        """Finishes an open bag and frees the run."""
        try:
            self.cleanup()
        finally:
            self.node.destroy_node()

    def configure(self) -> None:
        """Opens the run and subscribes.

        Raises:
            SalusError: the run's folder cannot be written or resumed.
        """
        self._parameters = self._declared.read()
        self._status.set_parameters(self._parameters)
        self._recorder = TopicRecorder(self.node, self._executor, self._parameters, self._status, self._made)
        self._made = self._recorder.folder
        self._status.say(Status.HOLDING, Status.REASON_INACTIVE, "the run is open")

    def activate(self) -> None:
        """Lets episodes be recorded."""
        assert self._recorder is not None
        self._recorder.activate()

    def leave_active(self) -> None:
        """Nothing goes on beside the callbacks."""

    def deactivate(self) -> None:
        """Finishes an open bag as ABORTED."""
        assert self._recorder is not None
        self._recorder.deactivate()

    def cleanup(self) -> None:
        """Lets go of the run."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            recorder.close()

    def failed(self, error: Exception) -> None:
        """Says why a transition failed."""
        self._status.say(Status.FAILED, Status.REASON_RECORDING_FAILED, str(error))


def main(args: list[str] | None = None) -> int:
    """Entry point of the `bag_recorder` executable."""
    return run_node(BagRecorderNode, args, role="recorder")
