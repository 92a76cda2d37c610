"""The MuJoCo model of the scene: the Panda of `dm-robotics-panda`, a table, the cube, the bin, cameras and light.

The package's arm has no actuators and odd joint dynamics, so dynamics and gains are set here; they are the values with
which a scripted pick and place succeeds over wide ranges of friction and cube size (with a finger armature of 0.01
instead of 0.1 the fingers fall into a limit cycle and no grasp holds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from salus_vla.config.profiles import Distractor
from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_JOINTS, CAMERAS, FINGER_JOINTS, JOINTS
from salus_vla.contract.bodies import (
    BIN,
    CUBE,
    FINGER_BODIES,
    HAND_BODY,
    ROBOT_BODIES,
    TABLE,
    adjacent,
    distractor_name,
)
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import FloatArray, Pose
from salus_vla.simulation.mujoco.assets import Mesh, load_meshes, panda_file
from salus_vla.simulation.shapes import FLOOR_RGBA, FLOOR_Z, SUN_DIRECTION, Box, bin_boxes, table_boxes

PREFIX = "panda_"
TCP_SITE = "panda_TCP"  # between the finger pads, in panda_hand.xml
SUN, SKY = "sun", "sky"
PARKING = (3.0, 3.0)  # on the floor behind every camera, for distractors that are not drawn [m]
HULL_VERTICES = 64  # of a collision hull: contact forces do not need more, and the narrow phase is linear in it
VISUAL_GROUP, COLLISION_GROUP = 2, 3  # MuJoCo draws groups 0 to 2
STIFF = [0.01, 1.0]  # solref: with MuJoCo's 0.02 s the fingers' 20 N press 2.6 mm into each side of the cube
WHITE = 0.92  # the palette's 255 leaves no room for light


@dataclass(frozen=True)
class JointDynamics:
    """Position servo and passive dynamics of a joint: force = kp (target - q) - kv dq, within +-limit [N m, N]."""

    kp: float
    kv: float
    limit: float
    damping: float
    armature: float


ARM_DYNAMICS = tuple(
    JointDynamics(kp, kp / 10.0, limit, damping=1.0, armature=0.1)
    for kp, limit in zip(
        (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0), (87.0,) * 4 + (12.0,) * 3, strict=True
    )
)
FINGER_DYNAMICS = JointDynamics(kp=1000.0, kv=50.0, limit=20.0, damping=0.0, armature=0.1)
DYNAMICS = dict(zip(JOINTS, (*ARM_DYNAMICS, FINGER_DYNAMICS, FINGER_DYNAMICS), strict=True))


def build_model(
    scene: Scene, camera_size: tuple[int, int] | None = None, distractors: Sequence[Distractor] = ()
) -> mujoco.MjModel:
    """Compile the scene.

    Args:
        scene: the contract's scene.
        camera_size: width and height of the off-screen buffer [px]; the scene's by default.
        distractors: further bodies, parked.

    Raises:
        SimulatorError: the robot's files are missing or MuJoCo refuses the model.
    """
    spec = _load("panda.xml")
    _attach_hand(spec)
    _dress(spec, load_meshes())
    _set_dynamics(spec)
    _add_ground(spec, scene)
    _add_cube(spec, scene)
    _add_bin(spec, scene)
    for i, distractor in enumerate(distractors):  # last, so that the cube keeps its place among the joints
        _add_distractor(spec, i, distractor)
    _add_cameras_and_light(spec, scene)
    _set_options(spec, scene, camera_size or (scene.cameras.width, scene.cameras.height))
    for i, body_a in enumerate(ROBOT_BODIES):
        for body_b in ROBOT_BODIES[i + 1 :]:
            # The two fingers do meet: a closed empty gripper must stop at width 0.
            if adjacent(body_a, body_b) and (body_a, body_b) != FINGER_BODIES:
                spec.add_exclude(bodyname1=body_a, bodyname2=body_b)
    try:
        return spec.compile()
    except ValueError as error:
        raise SimulatorError(f"MuJoCo {mujoco.__version__} refuses the scene: {error}") from error


def _load(name: str) -> mujoco.MjSpec:
    """A file of the package with nothing but its bodies, joints, finger boxes and the tool's site."""
    spec = mujoco.MjSpec.from_file(str(panda_file(name)))
    for elements in (spec.sensors, spec.actuators, spec.tendons, spec.equalities, spec.geoms):
        for element in list(elements):
            if not (isinstance(element, mujoco.MjsGeom) and element.type == mujoco.mjtGeom.mjGEOM_BOX):
                spec.delete(element)
    for elements in (spec.meshes, spec.materials, spec.textures):
        for element in list(elements):
            spec.delete(element)
    for site in list(spec.sites):
        if PREFIX + site.name != TCP_SITE:
            spec.delete(site)
    return spec


def _attach_hand(spec: mujoco.MjSpec) -> None:
    hand = _load("panda_hand.xml")
    # MuJoCo wants a prefix for what it attaches: take it off first, so that the names come out as they were.
    for element in (*hand.bodies, *hand.joints, *hand.geoms):
        element.name = element.name.removeprefix(PREFIX)
    half = np.radians(-45.0) / 2.0
    frame = spec.body("panda_link8").add_frame(quat=[np.cos(half), 0.0, 0.0, np.sin(half)])
    spec.attach(hand, frame=frame, prefix=PREFIX)


def _dress(spec: mujoco.MjSpec, meshes: dict[str, Mesh]) -> None:
    """Gives each robot body its visual meshes, one per colour, and its collision shape."""
    parts = {**{f"panda_link{i}": f"link{i}" for i in range(8)}, HAND_BODY: "hand"}
    for body_name, mesh_name in {**parts, **dict.fromkeys(FINGER_BODIES, "finger")}.items():
        body, mesh = spec.body(body_name), meshes[mesh_name]
        colors, index = np.unique(mesh.colors, axis=0, return_inverse=True)
        for i, color in enumerate(colors):
            visual = f"{mesh_name}_{i}"
            if not any(existing.name == visual for existing in spec.meshes):
                _add_mesh(spec, visual, mesh, index.reshape(-1) == i)
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=visual,
                rgba=[*(WHITE * color), 1.0],
                contype=0,
                conaffinity=0,
                group=VISUAL_GROUP,
            )
        if body_name in parts:
            hull = f"{mesh_name}_hull"
            spec.add_mesh(name=hull, uservert=mesh.vertices.ravel(), maxhullvert=HULL_VERTICES)
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=hull, group=COLLISION_GROUP)
    for finger in FINGER_BODIES:
        for geom in spec.body(finger).geoms:
            if geom.type == mujoco.mjtGeom.mjGEOM_BOX:
                geom.group = COLLISION_GROUP


def _add_mesh(spec: mujoco.MjSpec, name: str, mesh: Mesh, chosen: np.ndarray) -> None:
    """Adds the chosen faces as a mesh; a shell, because one colour's faces do not enclose a volume."""
    used, faces = np.unique(mesh.faces[chosen], return_inverse=True)
    spec.add_mesh(
        name=name,
        uservert=mesh.vertices[used].ravel(),
        userface=faces.ravel().astype(np.int32),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )


def _set_dynamics(spec: mujoco.MjSpec) -> None:
    for name in (*ARM_JOINTS, *FINGER_JOINTS):
        dynamics = DYNAMICS[name]
        joint = spec.joint(name)
        joint.damping = [dynamics.damping, 0.0, 0.0]
        joint.armature = dynamics.armature
        joint.frictionloss = 0.0
        actuator = spec.add_actuator(
            name=name,
            target=name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            forcelimited=True,
            forcerange=[-dynamics.limit, dynamics.limit],
        )
        actuator.set_to_position(kp=dynamics.kp, kv=dynamics.kv)


def _add_ground(spec: mujoco.MjSpec, scene: Scene) -> None:
    table = scene.objects.table
    spec.add_texture(
        name=SKY,
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.78, 0.85, 0.92],
        rgb2=[0.55, 0.63, 0.72],
        width=64,
        height=384,
    )
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[4.0, 4.0, 0.1],
        pos=[0, 0, FLOOR_Z],
        rgba=list(FLOOR_RGBA),
    )
    body = spec.worldbody.add_body(name=TABLE, pos=[*table.center, 0.0])
    for i, box in enumerate(table_boxes(table)):
        _add_box(body, box, name="table_top" if i == 0 else "")


def _add_box(body: mujoco.MjsBody, box: Box, name: str = "") -> None:
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=box.half, pos=box.center, rgba=box.rgba)


def _add_cube(spec: mujoco.MjSpec, scene: Scene) -> None:
    cube = scene.objects.red_cube
    body = spec.worldbody.add_body(name=CUBE, pos=[0.5, 0.0, cube.edge / 2])
    body.add_freejoint(name=CUBE)
    body.add_geom(
        name=CUBE,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[cube.edge / 2] * 3,
        mass=cube.mass,
        rgba=list(cube.rgba),
        condim=4,
        priority=1,  # the cube's friction decides each of its contacts, so that one number describes a slippery cube
        friction=cube_friction(cube.friction),
        solref=STIFF,
    )


def cube_friction(friction: float) -> list[float]:
    """Coefficients of sliding, torsion [m] and rolling [m]."""
    return [friction, 0.01 * friction, 0.0001]


def _add_distractor(spec: mujoco.MjSpec, index: int, distractor: Distractor) -> None:
    name, half = distractor_name(index), np.array(distractor.size) / 2.0
    box = distractor.shape == "box"
    body = spec.worldbody.add_body(name=name, pos=parked_pose(index, distractor).position)
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX if box else mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=half if box else [half[0], half[2], 0.0],
        mass=distractor.mass,
        rgba=list(distractor.colors[0]),
        condim=4,
        solref=STIFF,
    )


def parked_pose(index: int, distractor: Distractor) -> Pose:
    """Where a distractor stands while it is not on the table."""
    x, y = PARKING
    return Pose(np.array([x + 0.3 * index, y, FLOOR_Z + distractor.size[2] / 2.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def _add_bin(spec: mujoco.MjSpec, scene: Scene) -> None:
    """Five boxes on a mocap body: fixed while stepping, movable by a reset."""
    blue_bin = scene.objects.blue_bin
    body = spec.worldbody.add_body(name=BIN, pos=blue_bin.pose().position, mocap=True)
    for box in bin_boxes(blue_bin):
        _add_box(body, box)


def _add_cameras_and_light(spec: mujoco.MjSpec, scene: Scene) -> None:
    for name in CAMERAS:
        pose = scene.cameras.views[name].pose()
        spec.worldbody.add_camera(
            name=name, pos=pose.position, quat=_wxyz(pose.quaternion), fovy=scene.cameras.fovy_deg
        )
    light = scene.light
    spec.visual.headlight.ambient = [light.headlight_ambient] * 3
    spec.visual.headlight.diffuse = [light.headlight_diffuse] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.worldbody.add_light(
        name=SUN,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[1.0, 1.0, 3.0],
        dir=SUN_DIRECTION,
        diffuse=[light.directional_diffuse] * 3,
        specular=[0.1] * 3,
        castshadow=False,
    )


def _set_options(spec: mujoco.MjSpec, scene: Scene, size: tuple[int, int]) -> None:
    spec.option.timestep = scene.rates.physics_dt.mujoco
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC  # the normal force is then one number per contact
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET  # a divergence is an error, not a silent reset
    spec.option.impratio = 10.0  # stiffer friction: the held cube does not creep
    spec.visual.global_.offwidth, spec.visual.global_.offheight = size
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    # Near plane 2 cm, far plane 20 m, whatever extent MuJoCo would estimate.
    spec.stat.extent, spec.stat.center = 1.0, [0.4, 0.0, 0.2]
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 20.0


def _wxyz(quaternion: FloatArray) -> FloatArray:
    return np.roll(quaternion, 1)
