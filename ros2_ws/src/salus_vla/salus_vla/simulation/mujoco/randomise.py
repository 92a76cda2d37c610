"""Puts what a seed drew into a compiled MuJoCo model, so that no reset compiles it again."""

from __future__ import annotations

import mujoco
import numpy as np

from salus_vla.config.profiles import Profile
from salus_vla.config.scene import Scene
from salus_vla.contract.bodies import CUBE, distractor_name
from salus_vla.contract.types import Pose
from salus_vla.simulation.mujoco.mujoco_model import SKY, SUN, cube_friction, parked_pose
from salus_vla.simulation.variation import Variation


class Randomiser:
    """Changes the model of one simulator; a quantity that its profile does not vary is never touched."""

    def __init__(self, scene: Scene, profile: Profile, model: mujoco.MjModel) -> None:
        """Remembers the scene's own lights and how the cube's mass is spread."""
        self._model = model
        self._cube_body, self._cube_geom = model.body(CUBE).id, model.geom(CUBE).id
        self._sun = model.light(SUN).id
        self._distractors = profile.distractors.objects if profile.distractors is not None else ()
        self._inertia_per_mass = model.body_inertia[self._cube_body] / model.body_mass[self._cube_body]
        sky = model.texture(SKY).id
        size = model.tex_width[sky] * model.tex_height[sky] * model.tex_nchannel[sky]
        self._sky = model.tex_data[model.tex_adr[sky] : model.tex_adr[sky] + size]
        self._own_sky = self._sky.copy()
        headlight = model.vis.headlight
        self._lights = [
            (lights, np.array(lights))
            for lights in (
                headlight.ambient,
                headlight.diffuse,
                model.light_ambient[self._sun],
                model.light_diffuse[self._sun],
                model.light_specular[self._sun],
            )
        ]

    def apply(self, variation: Variation, data: mujoco.MjData) -> None:
        """Changes the model; afterwards `data` must be reset and images need the new sky.

        Args:
            variation: what was drawn for the profile.
            data: of the model; MuJoCo computes in it what depends on masses.
        """
        model = self._model
        if variation.friction is not None:
            model.geom_friction[self._cube_geom] = cube_friction(variation.friction)
        if variation.color is not None:
            model.geom_rgba[self._cube_geom] = variation.color
        if variation.light is not None:
            for lights, own in self._lights:
                lights[:] = variation.light * own
            # No light shines on the sky, but in a dark room what is behind the scene is dark as well.
            self._sky[:] = np.clip(np.rint(variation.light * self._own_sky), 0, 255)
        for name, view in variation.views.items():
            pose = view.pose()
            model.cam_pos[model.camera(name).id] = pose.position
            model.cam_quat[model.camera(name).id] = np.roll(pose.quaternion, 1)
        for i, placed in enumerate(variation.distractors):
            model.geom_rgba[model.geom(distractor_name(i)).id] = placed.color
        if variation.mass is not None:
            model.body_mass[self._cube_body] = variation.mass
            model.body_inertia[self._cube_body] = variation.mass * self._inertia_per_mass
            mujoco.mj_setConst(model, data)
            # Left alone by mj_setConst; the solver scales its tolerance with meaninertia.
            model.stat.meaninertia = model.dof_M0.mean()
            model.stat.meanmass = model.body_mass[1:].mean()

    def distractor_poses(self, variation: Variation) -> dict[str, Pose]:
        """Body name -> pose of every distractor: on the table, or parked where no camera sees it."""
        poses = {distractor_name(i): parked_pose(i, distractor) for i, distractor in enumerate(self._distractors)}
        poses |= {distractor_name(i): placed.pose for i, placed in enumerate(variation.distractors)}
        return poses
