"""What this robot gives a policy and takes from it, in LeRobot's names and shapes; the check that a checkpoint fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import ACTION_DIM

STATE_KEY = "observation.state"
ACTION_KEY = "action"
STATE_DIM = ACTION_DIM


def image_key(camera: str) -> str:
    """LeRobot's key of a camera."""
    return f"observation.images.{camera}"


def check_features(config: Any, where: str) -> None:
    """Compares state and action of a SmolVLA configuration with this robot's; of the cameras see `match_cameras`.

    Args:
        config: a `SmolVLAConfig`.
        where: the file to name in the message.

    Raises:
        ModelError: state or action differ; the message has file, key, the value found and the one expected.
    """
    _check_shape(where, f"input_features['{STATE_KEY}']", config.robot_state_feature, STATE_DIM)
    _check_shape(where, f"output_features['{ACTION_KEY}']", config.action_feature, ACTION_DIM)


def _check_shape(where: str, key: str, feature: Any, expected: int) -> None:
    if feature is None:
        raise ModelError(f"{where}: {key} is missing, expected shape ({expected},)")
    if tuple(feature.shape) != (expected,):
        raise ModelError(
            f"{where}: {key} has shape {tuple(feature.shape)}, expected ({expected},): "
            "7 arm joints and the gripper width"
        )


def check_statistics(
    stats: Mapping[str, Mapping[str, Any]] | None, key: str, dimension: int, mode: str, where: str
) -> None:
    """Checks that a normaliser has the finite statistics it needs; without them actions are not in radians.

    Raises:
        ModelError: statistics missing, of the wrong length, not finite, or a standard deviation of zero.
    """
    needed = {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max"), "IDENTITY": ()}.get(mode)
    if needed is None:
        raise ModelError(f"{where}: normalization mode {mode} of '{key}' is not supported; expected MEAN_STD, MIN_MAX")
    have = (stats or {}).get(key, {})
    for name in needed:
        value = have.get(name)
        if value is None:
            raise ModelError(f"{where}: no statistics '{name}' for '{key}'; without them actions are not in radians")
        if value.numel() != dimension:
            raise ModelError(f"{where}: '{key}.{name}' has {value.numel()} values, expected {dimension}")
        if not bool(value.isfinite().all()):
            raise ModelError(f"{where}: '{key}.{name}' has values that are not finite")
        if name == "std" and bool((value <= 0).any()):
            raise ModelError(f"{where}: '{key}.std' has values that are not positive")
