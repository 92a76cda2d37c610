"""Builds the USD stage: ground, bodies, robot, cameras and lights. Runs in Isaac's Python, after SimulationApp.

Every call of `pxr` and `isaacsim` that is made here is one that `tests/isaac` stands in for; nothing else is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.isaac_versions import Release
from salus_vla.simulation.isaac.runtime import prims
from salus_vla.simulation.isaac.scene_spec import Body, Numbers, SceneSpec, Shape

GROUND_FRICTION = 1.0
FLOOR_SIZE = (8.0, 8.0, 0.1)
APERTURE = 20.955  # vertical; only its ratio to the focal length matters for a pinhole
CLIPPING = (0.02, 20.0)  # near and far plane [m]
# Of a light of strength 1 in the contract's YAML: by the order of NVIDIA's own examples, not tuned by eye.
SKY_INTENSITY = 1000.0
SUN_INTENSITY = 3000.0


class StageBuilder:
    """Fills an empty stage."""

    def __init__(self, stage: Any, spec: SceneSpec, release: Release) -> None:
        """Takes a `Usd.Stage`."""
        self._stage = stage
        self._spec = spec
        self._release = release
        self._usd, self._gf = import_module("pxr.Usd"), import_module("pxr.Gf")
        self._geom, self._physics = import_module("pxr.UsdGeom"), import_module("pxr.UsdPhysics")
        self._shade, self._lux = import_module("pxr.UsdShade"), import_module("pxr.UsdLux")
        self._physx = import_module("pxr.PhysxSchema")
        self._xform_prim = import_module("isaacsim.core.experimental.prims").XformPrim

    def build(self, asset_root: str) -> None:
        """Adds everything.

        Args:
            asset_root: of NVIDIA's assets.

        Raises:
            SimulatorError: the robot's asset is not there, or lacks a variant.
        """
        self._geom.SetStageMetersPerUnit(self._stage, 1.0)
        self._geom.SetStageUpAxis(self._stage, self._geom.Tokens.z)
        ground = self._material("ground", GROUND_FRICTION)
        self._add_floor(ground)
        for body in self._spec.bodies:
            self._add_body(body, ground)
        self._add_robot(asset_root + self._release.franka, ground)
        self._add_cameras()
        self._add_lights()

    # -- bodies --------------------------------------------------------------------------------------------------------

    def _add_floor(self, material: Any) -> None:
        center = (0.0, 0.0, self._spec.floor_z - FLOOR_SIZE[2] / 2.0)
        floor = self._add_shape(prims.FLOOR, Shape("box", FLOOR_SIZE, center, self._spec.floor_rgba))
        self._bind(floor, material)

    def _add_body(self, body: Body, ground: Any) -> None:
        path = prims.body_path(body.name)
        prim = self._geom.Xform.Define(self._stage, path).GetPrim()
        for i, shape in enumerate(body.shapes):
            self._add_shape(f"{path}/shape_{i}", shape)
        if body.motion != "fixed":
            self._physics.RigidBodyAPI.Apply(prim).CreateKinematicEnabledAttr(body.motion == "kinematic")
        if body.motion == "free":
            self._physics.MassAPI.Apply(prim).CreateMassAttr(body.mass)
            self._report_contacts(prim)
        # Its own friction decides each contact of the cube: the ground's is 1, and the two are multiplied.
        self._bind(prim, ground if body.friction is None else self._material(body.name, body.friction, "multiply"))
        self._place([path], [body.pose])

    def _add_shape(self, path: str, shape: Shape) -> Any:
        if shape.kind == "box":
            solid = self._geom.Cube.Define(self._stage, path)
            solid.CreateSizeAttr(1.0)
            scale = self._gf.Vec3f(*shape.size)
        else:
            solid = self._geom.Cylinder.Define(self._stage, path)
            solid.CreateAxisAttr(self._geom.Tokens.z)
            solid.CreateRadiusAttr(shape.size[0] / 2.0)
            solid.CreateHeightAttr(shape.size[2])
            scale = self._gf.Vec3f(1.0, 1.0, 1.0)
        solid.AddTranslateOp().Set(self._gf.Vec3d(*shape.center))
        solid.AddScaleOp().Set(scale)
        solid.CreateDisplayColorAttr([self._gf.Vec3f(*shape.rgba[:3])])
        self._physics.CollisionAPI.Apply(solid.GetPrim())
        return solid.GetPrim()

    def _material(self, name: str, friction: float, combine: str | None = None) -> Any:
        material = self._shade.Material.Define(self._stage, f"{prims.MATERIALS}/{name}")
        physics = self._physics.MaterialAPI.Apply(material.GetPrim())
        physics.CreateStaticFrictionAttr(friction)
        physics.CreateDynamicFrictionAttr(friction)
        physics.CreateRestitutionAttr(0.0)
        if combine is not None:
            self._physx.PhysxMaterialAPI.Apply(material.GetPrim()).CreateFrictionCombineModeAttr(combine)
        return material

    def _bind(self, prim: Any, material: Any) -> None:
        strength = self._shade.Tokens.strongerThanDescendants
        self._shade.MaterialBindingAPI.Apply(prim).Bind(material, strength, "physics")

    def _report_contacts(self, prim: Any) -> None:
        self._physx.PhysxContactReportAPI.Apply(prim).CreateThresholdAttr(0.0)

    # -- robot ---------------------------------------------------------------------------------------------------------

    def _add_robot(self, asset: str, material: Any) -> None:
        prim = self._stage.DefinePrim(prims.ROBOT, "Xform")
        prim.GetReferences().AddReference(asset)
        for name, choice in self._release.variants:
            variants = prim.GetVariantSet(name)
            if choice not in variants.GetVariantNames():
                found = ", ".join(variants.GetVariantNames()) or "none"
                raise SimulatorError(
                    f"{asset}: variant set {name} has no {choice} (it has: {found}); the file is missing, or not "
                    f"that of Isaac Sim {self._release.name}"
                )
            variants.SetVariantSelection(choice)
        self._bind(prim, material)
        for link in self._usd.PrimRange(prim):
            if link.HasAPI(self._physics.RigidBodyAPI):
                self._report_contacts(link)

    # -- cameras and lights --------------------------------------------------------------------------------------------

    def _add_cameras(self) -> None:
        camera_model = self._spec.camera_model
        for name in CAMERAS:
            path = prims.camera_path(name)
            if self._release.major == 5:
                camera = self._geom.Camera.Define(self._stage, path)
            else:
                import_module("isaacsim.sensors.experimental.rtx").RtxCamera(path, tick_rate=self._spec.camera_hz)
                camera = self._geom.Camera(self._stage.GetPrimAtPath(path))
            camera.CreateVerticalApertureAttr(APERTURE)
            camera.CreateHorizontalApertureAttr(APERTURE * camera_model.width / camera_model.height)
            camera.CreateFocalLengthAttr(0.5 * APERTURE / math.tan(math.radians(camera_model.fovy_deg) / 2.0))
            camera.CreateClippingRangeAttr(self._gf.Vec2f(*CLIPPING))
            self._geom.Xform.Define(self._stage, prims.frame_path(name))
        self._place([prims.camera_path(name) for name in CAMERAS], [self._spec.views[name] for name in CAMERAS])
        self._place([prims.frame_path(name) for name in CAMERAS], [self._spec.frames[name] for name in CAMERAS])

    def _add_lights(self) -> None:
        self._lux.DomeLight.Define(self._stage, prims.SKY).CreateIntensityAttr(SKY_INTENSITY * self._spec.ambient)
        sun = self._lux.DistantLight.Define(self._stage, prims.SUN)
        sun.CreateIntensityAttr(SUN_INTENSITY * self._spec.directional)
        self._place([prims.SUN], [self._spec.sun])

    def _place(self, paths: list[str], poses: Sequence[Numbers]) -> None:
        positions, orientations = split(poses)
        self._xform_prim(paths, positions=positions, orientations=orientations, reset_xform_op_properties=True)


def split(poses: Sequence[Numbers]) -> tuple[list[list[float]], list[list[float]]]:
    """Positions, and orientations w, x, y, z, of poses x, y, z, qx, qy, qz, qw: Isaac's order of both."""
    return [list(pose[:3]) for pose in poses], [[pose[6], *pose[3:6]] for pose in poses]
