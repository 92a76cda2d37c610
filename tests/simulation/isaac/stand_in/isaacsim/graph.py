"""OmniGraph: keeps what `Controller.edit` was given and publishes, frame by frame, what such a graph publishes."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .calls import record

if TYPE_CHECKING:
    from .simulation import Simulation

CAMERA_PHASE = 3  # frames; the real one is not known either
NODE = "isaac_graph"


class Graph:
    """One graph; its ROS messages come from a context of its own, as Isaac Sim's do from C++."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self.nodes: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.tick_rates: dict[str, float] = {}
        self._publishers: dict[str, Any] = {}
        self._node: Any = None
        self._path = ""

    def edit(self, where: dict[str, str], what: dict[str, Any]) -> None:
        record("edit", where, what)
        self._path = where["graph_path"]
        self.nodes = dict(what["CREATE_NODES"])
        self.values = dict(what["SET_VALUES"])

    def attribute(self, path: str) -> Any:
        assert path == f"{self._path}/SimTime.outputs:simulationTime", path
        return SimpleNamespace(get=lambda: self._simulation.time)

    def tick(self) -> None:
        if os.environ.get("STAND_IN_SILENT"):
            return
        if self._node is None:
            self._open()
        from builtin_interfaces.msg import Time

        nanoseconds = int(self._simulation.time * 1e9)
        stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        for name, make in self._publishers.items():
            make(name, stamp)

    def close(self) -> None:
        import rclpy

        if self._node is not None:
            self._node.destroy_node()
            rclpy.shutdown(context=self._context)

    def _open(self) -> None:
        import rclpy
        from rclpy.context import Context
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import CameraInfo, Image, JointState

        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(NODE, context=self._context)
        kinds: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
            "ROS2PublishClock": (Clock, lambda name, stamp: Clock(clock=stamp)),
            "ROS2PublishJointState": (JointState, self._joint_state),
            "ROS2CameraHelper": (Image, self._image),
            "ROS2CameraInfoHelper": (CameraInfo, self._camera_info),
        }
        for name, kind in self.nodes.items():
            if kind.rpartition(".")[2] in kinds:
                cls, make = kinds[kind.rpartition(".")[2]]
                topic, depth = self.values[f"{name}.inputs:topicName"], self.values[f"{name}.inputs:queueSize"]
                self._publishers[name] = self._sender(self._node.create_publisher(cls, topic, depth), make)

    @staticmethod
    def _sender(publisher: Any, make: Callable[[str, Any], Any]) -> Callable[[str, Any], None]:
        def send(name: str, stamp: Any) -> None:
            # As Isaac Sim: silent while nobody subscribes.
            if publisher.get_subscription_count() and (message := make(name, stamp)) is not None:
                publisher.publish(message)

        return send

    def _due(self, name: str) -> bool:
        camera = name.partition("_")[2]
        rate = self.tick_rates.get(f"/World/cameras/{camera}", 0.0) or 1.0 / self._simulation.frame_dt
        every = round(1.0 / (rate * self._simulation.frame_dt)) * (self.values[f"{name}.inputs:frameSkipCount"] + 1)
        return self._simulation.frame % every == CAMERA_PHASE % every

    def _joint_state(self, name: str, stamp: Any) -> Any:
        from sensor_msgs.msg import JointState

        from .simulation import JOINTS

        position, velocity = (np.round(self._simulation.dofs[key][0], 4) for key in ("position", "velocity"))
        message = JointState(name=list(JOINTS), position=position, velocity=velocity, effort=np.zeros(9))
        message.header.stamp = stamp
        return message

    def _image(self, name: str, stamp: Any) -> Any:
        from sensor_msgs.msg import Image

        if not self._due(name):
            return None
        render = name.replace("Image", "Render")
        width, height = (self.values[f"{render}.inputs:{side}"] for side in ("width", "height"))
        message = Image(width=width, height=height, encoding="rgb8", step=3 * width, data=bytes(3 * width * height))
        return self._stamped(message, name, stamp)

    def _camera_info(self, name: str, stamp: Any) -> Any:
        from sensor_msgs.msg import CameraInfo

        if not self._due(name):
            return None
        render = name.replace("Info", "Render")
        width, height = (self.values[f"{render}.inputs:{side}"] for side in ("width", "height"))
        (prim,) = self.values[f"{render}.inputs:cameraPrim"]
        lens = self._simulation.stage.GetPrimAtPath(prim.removeprefix("Path(").removesuffix(")")).attributes
        # As Isaac Sim: fy is fx, and both come from the horizontal aperture.
        focal = width * lens["focalLength"].value / lens["horizontalAperture"].value
        k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
        p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
        message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5, k=k, p=p)
        message.r = np.eye(3).ravel()
        return self._stamped(message, name, stamp)

    def _stamped(self, message: Any, name: str, stamp: Any) -> Any:
        message.header.stamp, message.header.frame_id = stamp, self.values[f"{name}.inputs:frameId"]
        return message
