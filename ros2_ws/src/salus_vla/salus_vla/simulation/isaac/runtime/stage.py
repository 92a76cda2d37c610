"""Isaac Sim itself, behind the few calls that `world.World` makes. Runs in Isaac's Python, after SimulationApp.

The two majors differ in how time steps are set and in where contact reports come from; both have the tensor interface
`isaacsim.core.experimental.prims`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import Pose
from salus_vla.simulation.contact_changes import PairForces
from salus_vla.simulation.isaac.isaac_versions import Release
from salus_vla.simulation.isaac.runtime import prims
from salus_vla.simulation.isaac.runtime.omnigraph_check import check_graph
from salus_vla.simulation.isaac.runtime.omnigraph_spec import SIMULATION_TIME, GraphSpec, graph_spec
from salus_vla.simulation.isaac.runtime.physx_contacts import FrameForces, Report
from salus_vla.simulation.isaac.runtime.stage_build import SKY_INTENSITY, SUN_INTENSITY, StageBuilder, split
from salus_vla.simulation.isaac.scene_spec import ResetSample, SceneSpec

BRIDGE = "isaacsim.ros2.bridge"
# Isaac Sim's own timeline ends after a million frames, 20,000 s at 50 Hz; a night of episodes is longer.
TIMELINE_END_S = 1e7
_EXTENSIONS = {
    5: (BRIDGE, "isaacsim.core.nodes", "isaacsim.core.experimental.prims"),
    6: (
        BRIDGE,
        "isaacsim.core.nodes",
        "isaacsim.core.experimental.prims",
        "isaacsim.sensors.experimental.rtx",
        "isaacsim.sensors.physics.nodes",
    ),
}


class IsaacStage:
    """One robot, one cube, one bin in Isaac Sim."""

    def __init__(self, app: Any, spec: SceneSpec, release: Release) -> None:
        """Enables the bridge, builds the stage and its graph, and plays.

        Args:
            app: the `SimulationApp`.
            spec: the scene.
            release: of Isaac Sim.

        Raises:
            SimulatorError: an extension, the asset root or the robot's asset is missing.
        """
        self._app = app
        self._spec = spec
        self._forces = FrameForces(spec.physics_dt)
        self._enable(_EXTENSIONS[release.major])
        self._usd_stage = import_module("omni.usd").get_context().get_stage()
        self._timeline = import_module("omni.timeline").get_timeline_interface()
        self._timeline.set_end_time(TIMELINE_END_S)
        self._set_time_steps(release.major)
        StageBuilder(self._usd_stage, spec, release).build(_asset_root())
        self._graph = import_module("omni.graph.core").Controller
        self._build_graph(release.major)
        experimental = import_module("isaacsim.core.experimental.prims")
        self._robot = experimental.Articulation(prims.ROBOT)
        self._moving = [body.name for body in spec.bodies if body.motion != "fixed"]
        self._free = [i for i, body in enumerate(self._moving) if _motion(spec, body) == "free"]
        self._bodies = experimental.RigidPrim([prims.body_path(name) for name in self._moving])
        self._cameras = experimental.XformPrim([prims.camera_path(name) for name in CAMERAS])
        self._subscription = self._subscribe_to_contacts(release.major)
        app.update()
        self._timeline.play()
        app.update()
        self._set_up_drives()

    # -- what the world needs ------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Simulates and renders one frame; the graph publishes it."""
        self._app.update()

    def sim_time(self) -> float:
        """What the graph stamps its messages with [s]."""
        return float(self._graph.attribute(f"{prims.GRAPH}/{SIMULATION_TIME}").get())

    def put(self, sample: ResetSample) -> None:
        """Puts everything where it starts, at rest: no stop of the timeline, which would end every publisher."""
        home = np.array([self._spec.home], dtype=np.float32)
        self._robot.set_dof_positions(home)
        self._robot.set_dof_velocities(np.zeros_like(home))
        self._robot.set_dof_position_targets(home)
        positions, orientations = split([sample.poses[name] for name in self._moving])
        self._bodies.set_world_poses(np.array(positions), np.array(orientations))
        still = np.zeros((len(self._free), 3))
        self._bodies.set_velocities(still, still, indices=self._free)
        self._bodies.set_masses([[sample.mass]], indices=[self._moving.index(CUBE)])
        positions, orientations = split([sample.views[name] for name in CAMERAS])
        self._cameras.set_world_poses(np.array(positions), np.array(orientations))
        self._set(f"{prims.MATERIALS}/{CUBE}", "physics:staticFriction", sample.friction)
        self._set(f"{prims.MATERIALS}/{CUBE}", "physics:dynamicFriction", sample.friction)
        self._set(prims.SKY, "inputs:intensity", SKY_INTENSITY * self._spec.ambient * sample.light)
        self._set(prims.SUN, "inputs:intensity", SUN_INTENSITY * self._spec.directional * sample.light)
        for name, color in sample.colors.items():
            self._set(f"{prims.body_path(name)}/shape_0", "primvars:displayColor", [tuple(color[:3])])
        self._forces.clear()

    def set_targets(self, targets: Mapping[str, float]) -> None:
        """Sets position targets by joint [rad, m]."""
        if targets:
            indices = [JOINTS.index(name) for name in targets]
            self._robot.set_dof_position_targets([list(targets.values())], dof_indices=indices)

    def poses(self, names: Sequence[str]) -> dict[str, Pose]:
        """Poses of bodies in the world."""
        indices = [self._moving.index(name) for name in names]
        positions, orientations = (values.numpy() for values in self._bodies.get_world_poses(indices=indices))
        return {
            name: Pose(np.asarray(position, dtype=float), np.roll(np.asarray(quaternion, dtype=float), -1))
            for name, position, quaternion in zip(names, positions, orientations, strict=True)
        }

    def end_frame(self) -> PairForces:
        """Force of each pair that touched in the last frame [N]."""
        return self._forces.end_frame()

    def stop(self) -> None:
        """Stops the timeline, which ends the graph's publishers."""
        self._timeline.stop()

    # -- building ------------------------------------------------------------------------------------------------------

    def _enable(self, extensions: Sequence[str]) -> None:
        manager = import_module("omni.kit.app").get_app().get_extension_manager()
        for name in extensions:
            if not manager.set_extension_enabled_immediate(name, True):
                raise SimulatorError(f"Isaac Sim could not enable its extension {name}; its log says why")
        self._app.update()

    def _set_time_steps(self, major: int) -> None:
        """One update of the app is one frame, whatever the wall clock says."""
        spec = self._spec
        if major == 5:
            context = import_module("isaacsim.core.api").SimulationContext(
                physics_dt=spec.physics_dt, rendering_dt=spec.frame_dt, stage_units_in_meters=1.0, device="cpu"
            )
            context.initialize_physics()
        else:
            manager = import_module("isaacsim.core.simulation_manager").SimulationManager
            manager.setup_simulation(dt=spec.physics_dt, device="cpu")
            import_module("isaacsim.core.rendering_manager").RenderingManager.set_dt(spec.frame_dt)

    def _build_graph(self, major: int) -> None:
        spec = self._spec
        graph = graph_spec(
            major,
            frame_dt=spec.frame_dt,
            frames_per_decision=spec.frames_per_decision,
            width=spec.camera_model.width,
            height=spec.camera_model.height,
        )
        check_graph(graph, major, frame_hz=1.0 / spec.frame_dt, camera_hz=spec.camera_hz)
        keys = self._graph.Keys
        self._graph.edit(
            {"graph_path": prims.GRAPH, "evaluator_name": "execution"},
            {
                keys.CREATE_NODES: list(graph.nodes.items()),
                keys.CONNECT: list(graph.connections),
                keys.SET_VALUES: _values(graph),
            },
        )

    def _set_up_drives(self) -> None:
        names = tuple(self._robot.dof_names)
        if names != JOINTS:
            raise SimulatorError(f"{prims.ROBOT}: has the joints {', '.join(names)}; expected {', '.join(JOINTS)}")
        drives = self._spec.drives
        stiffness, damping = [[d.stiffness for d in drives]], [[d.damping for d in drives]]
        self._robot.set_dof_gains(stiffness, damping)
        self._robot.set_dof_max_efforts([[d.limit for d in drives]])
        self._robot.set_dof_armatures([[d.armature for d in drives]])

    def _set(self, path: str, attribute: str, value: Any) -> None:
        self._usd_stage.GetPrimAtPath(path).GetAttribute(attribute).Set(value)

    # -- contacts ------------------------------------------------------------------------------------------------------

    def _subscribe_to_contacts(self, major: int) -> Any:
        """A subscription that must be kept; PhysX reports once per physics step."""
        to_path = import_module("pxr.PhysicsSchemaTools").intToSdfPath
        if major == 5:
            lost = import_module("omni.physx.bindings._physx").ContactEventType.CONTACT_LOST
            subscribe = import_module("omni.physx").get_physx_simulation_interface().subscribe_contact_report_events
        else:
            core = import_module("omni.physics.core")
            lost = core.ContactEventType.CONTACT_LOST
            subscribe = core.get_physics_simulation_interface().subscribe_physics_contact_report_events

        def on_report(headers: Any, points: Any, *_: Any) -> None:
            self._forces.add_step(_report(header, points, lost, to_path) for header in headers)

        return subscribe(on_report)


def _report(header: Any, points: Any, lost: Any, to_path: Any) -> Report:
    first = header.contact_data_offset
    impulses = [points[i].impulse for i in range(first, first + header.num_contact_data)]
    size = None if header.type == lost else sum(math.hypot(*impulse) for impulse in impulses)
    return Report(str(to_path(header.actor0)), str(to_path(header.actor1)), size)


def _motion(spec: SceneSpec, name: str) -> str:
    return next(body.motion for body in spec.bodies if body.name == name)


def _asset_root() -> str:
    """Root of NVIDIA's assets.

    Raises:
        SimulatorError: it cannot be reached.
    """
    help_text = (
        "Isaac Sim's assets cannot be reached; they come over the network, or from a folder that the setting "
        "/persistent/isaac/asset_root/default (from 6.0 on also ISAACSIM_ASSET_ROOT) names"
    )
    try:
        root = import_module("isaacsim.storage.native").get_assets_root_path()
    except RuntimeError as error:
        raise SimulatorError(f"{help_text}: {error}") from error
    if not root:
        raise SimulatorError(help_text)
    return str(root)


def _values(spec: GraphSpec) -> list[tuple[str, Any]]:
    """The graph's values as `Controller.edit` takes them: prims are paths of usdrt."""
    path = import_module("usdrt.Sdf").Path
    return [
        (name, [path(item) for item in value] if isinstance(value, list) else value)
        for name, value in spec.values.items()
    ]
