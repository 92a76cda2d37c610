"""Randomisation profiles: how a seed changes the scene, by name, from `profiles` of contract.yaml.

A profile lists the quantities that a seed draws anew at each reset; what it does not list stays as the scene says.
Every quantity has a random stream of its own, made from the seed: to vary one of them changes no draw of another.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from salus_vla.config.scene_types import (
    Area,
    Model,
    NonNegative,
    NonNegativeRange,
    Positive,
    PositiveRange,
    Rgba,
    Size3,
    Spawn,
    ordered,
)

DEFAULT_PROFILE = "eval"

# Far enough for a knocked camera, too little to reach the point it looks at.
_Distance = Annotated[float, Field(ge=0.0, le=0.3)]
_DistanceRange = Annotated[tuple[_Distance, _Distance], AfterValidator(ordered)]
# A larger error would put a joint near its limit beyond it.
_Offset = Annotated[float, Field(ge=0.0, le=5.0)]
_OffsetRange = Annotated[tuple[_Offset, _Offset], AfterValidator(ordered)]
_Palette = Annotated[tuple[Rgba, ...], Field(min_length=1)]


class CubeProfile(Model):
    """What changes about the cube.

    Attributes:
        spawn: areas, one of which is drawn, each as often as another; None for the scene's own.
        friction: coefficient of every contact of the cube.
        mass: mass [kg], spread evenly over the cube.
        colors: colours, one of which is drawn.
    """

    spawn: Annotated[tuple[Spawn, ...], Field(min_length=1)] | None = None
    friction: NonNegativeRange | None = None
    mass: PositiveRange | None = None
    colors: _Palette | None = None


class CameraProfile(Model):
    """How far each camera, and the point it looks at, is moved in a random direction [m]."""

    position: _DistanceRange | None = None
    target: _DistanceRange | None = None


class Distractor(Model):
    """An object that has nothing to do with the task: a free body.

    Attributes:
        shape: of the body; a cylinder stands upright.
        size: full extents [m]; the first two of a cylinder are both its diameter.
        mass: [kg].
        colors: colours, one of which is drawn.
    """

    shape: Literal["box", "cylinder"]
    size: Size3
    mass: Positive
    colors: _Palette

    @model_validator(mode="after")
    def _round(self) -> Self:
        if self.shape == "cylinder" and self.size[0] != self.size[1]:
            raise ValueError("size: the first two extents of a cylinder are its diameter and must be equal")
        return self

    @property
    def radius(self) -> float:
        """Of the upright cylinder around it [m]."""
        return 0.5 * (self.size[0] if self.shape == "cylinder" else (self.size[0] ** 2 + self.size[1] ** 2) ** 0.5)


class DistractorProfile(Area):
    """Objects put on the table away from cube and bin.

    Attributes:
        count: smallest and largest number; n of them are the first n of `objects`.
        x, y: area of their centres [m].
        clearance: smallest gap to the cube, the bin and one another [m].
        objects: what there is to put down.
    """

    count: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]]
    clearance: NonNegative
    objects: Annotated[tuple[Distractor, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _enough_objects(self) -> Self:
        if not self.count[0] <= self.count[1] <= len(self.objects):
            raise ValueError(f"count: expected [low, high] up to the {len(self.objects)} objects listed")
        return self


class PushProfile(Model):
    """Somebody shoves the cube along the table, whatever holds it, in a random direction.

    Attributes:
        time: when, since the reset [s].
        duration: for how long [s].
        speed: of the cube meanwhile [m/s].
    """

    time: NonNegativeRange
    duration: PositiveRange
    speed: PositiveRange


class Profile(Model):
    """What a seed draws.

    Attributes:
        light: factor of every light of the scene.
        red_cube: about the cube.
        cameras: about every camera; /tf_static and camera_info do not follow, as with a real camera that was knocked.
        distractors: other objects; None for a model without such bodies.
        joint_offset_deg: size of the constant error of each arm joint's reported position, either way [degrees]: an arm
            whose calibration is lost is elsewhere than it says, and goes elsewhere than it is told.
        push: of the cube, during the episode.
    """

    light: PositiveRange | None = None
    red_cube: CubeProfile = CubeProfile()
    cameras: CameraProfile = CameraProfile()
    distractors: DistractorProfile | None = None
    joint_offset_deg: _OffsetRange | None = None
    push: PushProfile | None = None


Profiles = dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Profile]
