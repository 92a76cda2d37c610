"""The OmniGraph that publishes clock, joints, transforms and cameras, as data: nodes, connections and values.

Nothing of Isaac Sim is imported, so the graph is checked without it (`omnigraph_check`). Ground truth, commands and
resets are not in the graph: `ros/nodes/isaac_world_node.py` does them. Commands, because the graph's subscriber is
another reader than the one that lockstep waits with: whether a command has reached it before the next frame would be a
race.

Facts about the nodes: source of isaac-sim/IsaacSim, tags v5.1.0 and v6.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, Topic
from salus_vla.simulation.isaac.runtime.prims import ROBOT, body_path, camera_path, frame_path

BRIDGE, CORE = "isaacsim.ros2.bridge", "isaacsim.core.nodes"
TICK, CONTEXT, TIME = "Tick", "Context", "SimTime"
SIMULATION_TIME = f"{TIME}.outputs:simulationTime"


@dataclass(frozen=True)
class GraphSpec:
    """A graph.

    Attributes:
        nodes: name -> type of each node.
        connections: pairs of an output and an input, `Node.outputs:attribute`.
        values: input -> value; prims are lists of paths.
        tick_rate: at which a camera is rendered [Hz of sim time]; 0 for each frame.
    """

    nodes: Mapping[str, str]
    connections: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]
    tick_rate: float


@dataclass
class _Builder:
    major: int
    nodes: dict[str, str] = field(default_factory=dict)
    connections: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, kind: str, **inputs: Any) -> None:
        """Adds a node with values."""
        self.nodes[name] = kind
        self.values.update({f"{name}.inputs:{key}": value for key, value in inputs.items()})

    def connect(self, source: str, target: str) -> None:
        """Connects `Node.attribute` to `Node.attribute`."""
        node, output = source.split(".")
        other, wanted = target.split(".")
        self.connections.append((f"{node}.outputs:{output}", f"{other}.inputs:{wanted}"))

    def publish(self, name: str, kind: str, topic: Topic, **inputs: Any) -> None:
        """Adds a publisher of the contract's topic; reliable, volatile and keep last are the bridge's defaults."""
        self.add(name, f"{BRIDGE}.{kind}", topicName=topic.name, queueSize=topic.qos.depth, **inputs)
        self.connect(f"{CONTEXT}.context", f"{name}.context")

    def read_for(self, publisher: str, reader: str, kind: str, outputs: tuple[str, ...], **inputs: Any) -> None:
        """Adds the node that reads the stage for a publisher of 6.x; in 5.x publishers read it themselves."""
        self.add(reader, kind, **inputs)
        self.connect(f"{TICK}.tick", f"{reader}.execIn")
        self.connect(f"{reader}.execOut", f"{publisher}.execIn")
        for output in outputs:
            self.connect(f"{reader}.{output}", f"{publisher}.{output}")


def graph_spec(major: int, *, frame_dt: float, frames_per_decision: int, width: int, height: int) -> GraphSpec:
    """The graph of a major version.

    Args:
        major: of Isaac Sim, 5 or 6.
        frame_dt: time between two frames [s].
        frames_per_decision: frames from one image to the next.
        width: of the images [px].
        height: of the images [px].
    """
    builder = _Builder(major)
    builder.add(TICK, "omni.graph.action.OnPlaybackTick")
    builder.add(CONTEXT, f"{BRIDGE}.ROS2Context", useDomainIDEnvVar=True)
    # Explicit: the default is False in 5.x and True in 6.x, and the clock must not jump back.
    builder.add(TIME, f"{CORE}.IsaacReadSimulationTime", resetOnStop=False)
    builder.publish("Clock", "ROS2PublishClock", contract.CLOCK)
    builder.connect(f"{TICK}.tick", "Clock.execIn")
    _joints(builder)
    entities = [ROBOT, *map(body_path, ENTITIES)]
    _transforms(builder, "Transforms", contract.TF, entities, static=False)
    _transforms(builder, "StaticTransforms", contract.TF_STATIC, [frame_path(name) for name in CAMERAS], static=True)
    for name in ("Clock", "JointStates", "Transforms", "StaticTransforms"):
        builder.connect(f"{TIME}.simulationTime", f"{name}.timeStamp")
    # 5.x publishes each n-th frame; 6.x renders at the camera's own rate and publishes what was rendered.
    skip = frames_per_decision - 1 if major == 5 else 0
    for camera in CAMERAS:
        _camera(builder, camera, width, height, skip)
    rate = 0.0 if major == 5 else round(1.0 / (frame_dt * frames_per_decision), 6)
    return GraphSpec(
        MappingProxyType(builder.nodes), tuple(builder.connections), MappingProxyType(builder.values), tick_rate=rate
    )


def _joints(builder: _Builder) -> None:
    name = "JointStates"
    if builder.major == 5:
        builder.publish(name, "ROS2PublishJointState", contract.JOINT_STATES, targetPrim=[ROBOT])
        builder.connect(f"{TICK}.tick", f"{name}.execIn")
        return
    builder.publish(name, "ROS2PublishJointState", contract.JOINT_STATES)
    # Not sensorTime: where it is above 0 it replaces timeStamp, by a clock that starts anew when the simulation stops.
    outputs = ("jointNames", "jointPositions", "jointVelocities", "jointEfforts", "jointDofTypes", "stageMetersPerUnit")
    reader = "isaacsim.sensors.physics.IsaacReadJointState"
    builder.read_for(name, "ReadJoints", reader, outputs, prim=[ROBOT])


def _transforms(builder: _Builder, name: str, topic: Topic, targets: list[str], *, static: bool) -> None:
    if builder.major == 5:
        builder.publish(name, "ROS2PublishTransformTree", topic, staticPublisher=static, targetPrims=targets)
        builder.connect(f"{TICK}.tick", f"{name}.execIn")
        return
    builder.publish(name, "ROS2PublishTransformTree", topic, staticPublisher=static)
    outputs = ("parentFrames", "childFrames", "translations", "orientations")
    reader = f"{CORE}.IsaacComputeTransformTree"
    builder.read_for(name, f"Compute{name}", reader, outputs, targetPrims=targets)


def _camera(builder: _Builder, camera: str, width: int, height: int, skip: int) -> None:
    render, image, info = (f"{part}_{camera}" for part in ("Render", "Image", "Info"))
    builder.add(
        render, f"{CORE}.IsaacCreateRenderProduct", cameraPrim=[camera_path(camera)], width=width, height=height
    )
    builder.connect(f"{TICK}.tick", f"{render}.execIn")
    common = {"resetSimulationTimeOnStop": False, "useSystemTime": False, "frameSkipCount": skip}
    frame = contract.camera_frame(camera)
    builder.publish(image, "ROS2CameraHelper", contract.image_topic(camera), type="rgb", frameId=frame, **common)
    builder.publish(info, "ROS2CameraInfoHelper", contract.camera_info_topic(camera), frameId=frame, **common)
    for helper in (image, info):
        builder.connect(f"{render}.execOut", f"{helper}.execIn")
        builder.connect(f"{render}.renderProductPath", f"{helper}.renderProductPath")
