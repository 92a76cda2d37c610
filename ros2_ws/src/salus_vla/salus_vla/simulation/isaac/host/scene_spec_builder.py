"""Makes from the contract's YAML what the process in Isaac's Python is told; runs in SALUS's own Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salus_vla.config.profiles import Distractor, Profile
from salus_vla.config.scene import Scene, View
from salus_vla.config.scene_types import Rgba
from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import BIN, CUBE, TABLE, distractor_name
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import Pose
from salus_vla.simulation.isaac.scene_spec import Body, CameraModel, Drive, ResetSample, SceneSpec, Shape, as_json
from salus_vla.simulation.isaac.spec_poses import numbers_of, pose_of
from salus_vla.simulation.mujoco.mujoco_model import DYNAMICS, parked_pose
from salus_vla.simulation.shapes import FLOOR_RGBA, FLOOR_Z, SUN_DIRECTION, Box, bin_boxes, table_boxes
from salus_vla.simulation.variation import sample_variation, start_poses

_EMBEDDED_ONLY = ("joint_offset_deg", "push")
_MIDDLE = (0.0, 0.0, 0.0)


class SceneSpecBuilder:
    """The scene of one run: the spec, and what each seed draws; the same draws as the embedded simulator's."""

    def __init__(self, scene: Scene, profile: str) -> None:
        """Takes a profile of the scene.

        Raises:
            ConfigError: the scene has no such profile, or one that changes what Isaac's side cannot.
        """
        self._scene = scene
        self._name = profile
        self._profile = scene.profile(profile)
        unable = [name for name in _EMBEDDED_ONLY if getattr(self._profile, name) is not None]
        if unable:
            raise ConfigError(f"profile {profile!r}: {unable[0]} is done by the embedded simulator only: --sim mujoco")

    def scene_spec(self, *, version: str, folder: str, seed: int, pacing: str, lockstep_timeout_s: float) -> SceneSpec:
        """What does not change at a reset; arguments as of `SceneSpec`."""
        scene, rates = self._scene, self._scene.rates
        cameras, light = scene.cameras, scene.light
        sun = View(position=(0.0, 0.0, 0.0), target=SUN_DIRECTION, up=(0.0, 1.0, 0.0))
        return SceneSpec(
            version=version,
            folder=folder,
            seed=seed,
            profile=self._name,
            pacing=pacing,
            lockstep_timeout_s=lockstep_timeout_s,
            frame_dt=rates.frame_dt,
            physics_dt=rates.physics_dt.isaac,
            frames_per_decision=rates.frames_per_decision,
            home=[float(value) for value in scene.robot.home_position],
            drives=[Drive(d.kp, d.kv, d.limit, d.armature) for d in (DYNAMICS[joint] for joint in JOINTS)],
            bodies=self._bodies(),
            floor_z=FLOOR_Z,
            floor_rgba=FLOOR_RGBA,
            camera_model=CameraModel(cameras.width, cameras.height, cameras.fovy_deg),
            views={name: numbers_of(cameras.views[name].pose()) for name in CAMERAS},
            frames={name: numbers_of(cameras.views[name].optical_pose()) for name in CAMERAS},
            sun=numbers_of(sun.pose()),
            ambient=light.headlight_ambient + light.headlight_diffuse,
            directional=light.directional_diffuse,
        )

    def reset_sample(self, seed: int, poses: Mapping[str, Pose]) -> ResetSample:
        """What a seed draws.

        Args:
            seed: of everything that is drawn.
            poses: poses of entities that replace the drawn cube pose or the bin's place.

        Raises:
            SimulatorError: an unknown entity, a pose that is not finite, or no place for a distractor.
        """
        scene, cube = self._scene, self._scene.objects.red_cube
        chosen = start_poses(scene, self._profile, seed, poses)
        drawn = sample_variation(scene, self._profile, seed, chosen)
        views = {**scene.cameras.views, **drawn.views}
        bodies = {distractor_name(i): parked_pose(i, item) for i, item in enumerate(_distractors(self._profile))}
        bodies |= {distractor_name(i): placed.pose for i, placed in enumerate(drawn.distractors)}
        colors: dict[str, Rgba] = {CUBE: cube.rgba if drawn.color is None else drawn.color}
        colors |= {distractor_name(i): placed.color for i, placed in enumerate(drawn.distractors)}
        return ResetSample(
            poses={name: numbers_of(pose) for name, pose in {**chosen, **bodies}.items()},
            views={name: numbers_of(views[name].pose()) for name in CAMERAS},
            colors=colors,
            friction=cube.friction if drawn.friction is None else drawn.friction,
            mass=cube.mass if drawn.mass is None else drawn.mass,
            light=1.0 if drawn.light is None else drawn.light,
        )

    def answer_reset_sample(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`draw` for the channel.

        Raises:
            SimulatorError: as `draw`.
        """
        poses = {name: pose_of(numbers) for name, numbers in values["poses"].items()}
        return as_json(self.reset_sample(values["seed"], poses))

    def _bodies(self) -> list[Body]:
        objects = self._scene.objects
        cube, table = objects.red_cube, [*objects.table.center, 0.0, 0.0, 0.0, 0.0, 1.0]
        start = start_poses(self._scene, self._profile, 0, {})[CUBE]
        side = (cube.edge, cube.edge, cube.edge)
        bodies = [
            Body(TABLE, "fixed", table, [_shape(box) for box in table_boxes(objects.table)]),
            Body(
                BIN, "kinematic", numbers_of(objects.blue_bin.pose()), [_shape(b) for b in bin_boxes(objects.blue_bin)]
            ),
            Body(CUBE, "free", numbers_of(start), [Shape("box", side, _MIDDLE, cube.rgba)], cube.mass, cube.friction),
        ]
        for i, item in enumerate(_distractors(self._profile)):
            shape = Shape(item.shape, item.size, _MIDDLE, item.colors[0])
            bodies.append(Body(distractor_name(i), "free", numbers_of(parked_pose(i, item)), [shape], item.mass))
        return bodies


def _distractors(profile: Profile) -> tuple[Distractor, ...]:
    return profile.distractors.objects if profile.distractors is not None else ()


def _shape(box: Box) -> Shape:
    return Shape("box", [2.0 * half for half in box.half], box.center, box.rgba)
