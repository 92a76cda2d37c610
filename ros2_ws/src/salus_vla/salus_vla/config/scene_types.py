"""Types that the models of contract.yaml share: ranges, sizes, colours, and the base that refuses unknown keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def ordered(value: tuple[float, float]) -> tuple[float, float]:
    """Accepts [low, high] only."""
    if value[0] > value[1]:
        raise ValueError("expected [low, high]")
    return value


Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Range = Annotated[tuple[float, float], AfterValidator(ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(ordered)]
NonNegativeRange = Annotated[tuple[NonNegative, NonNegative], AfterValidator(ordered)]
Vector2 = tuple[float, float]
Vector3 = tuple[float, float, float]
Size3 = tuple[Positive, Positive, Positive]
Rgba = tuple[Unit, Unit, Unit, Unit]


class Model(BaseModel):
    """Base of every model of contract.yaml: frozen, finite numbers, and a key that no field reads is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_yes_and_no(cls, values: Any) -> Any:
        """Nothing here is true or false, but pydantic would take them as 1 and 0."""
        if isinstance(values, dict):
            for key, value in values.items():
                if _has_bool(value):
                    raise ValueError(f"{key}: expected numbers or text, not true or false")
        return values


def _has_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and any(map(_has_bool, value)))


class Area(Model):
    """A rectangle of the table [m]."""

    x: Range
    y: Range


class Spawn(Area):
    """Where the cube may start, and its range of yaw [deg]."""

    yaw_deg: Range
