"""Whether a data set is one of this robot: rates, names, shapes and cameras by its metadata, units by its values.

LeRobot trains on whatever it is given. Degrees, another arm or another rate would only show when the arm moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.robot_limits import PANDA
from salus_vla.data.lerobot.dataset_images import FPS
from salus_vla.data.lerobot.dataset_info import VECTOR_NAMES
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_DIM, STATE_KEY, image_key

UNITS = ("rad",) * (STATE_DIM - 1) + ("m",)
# Beyond its range a measured joint may be by its noise and calibration, a plan by what the limiter takes away;
# degrees, millimetres and shares of 1 are further away than that.
_MARGIN = np.array([0.5] * (STATE_DIM - 1) + [0.2])
# What a dimension that hardly moves is divided by at least: less would turn the noise of an encoder into large numbers.
SMALLEST_DEVIATION = np.array([1e-3] * (STATE_DIM - 1) + [1e-4])

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class HardlyMoving:
    """A dimension whose deviation is below `SMALLEST_DEVIATION`.

    Attributes:
        column: key in the data set.
        name: of the dimension.
        value: its mean.
        deviation: as found.
        floor: what is taken instead.
        unit: of the three.
    """

    column: str
    name: str
    value: float
    deviation: float
    floor: float
    unit: str

    def __str__(self) -> str:
        """As a warning says it."""
        return (
            f"{self.column} {self.name} hardly moves in the whole data set ({self.value:.4g} {self.unit}, deviation "
            f"{self.deviation:.2g}): normalised with a deviation of {self.floor:g} {self.unit}"
        )


def check_fits(
    where: str,
    features: Mapping[str, Mapping[str, Any]],
    fps: float,
    robot: str | None,
    *,
    any_names: bool = False,
    cameras: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Compares what a data set says of itself with this robot.

    Args:
        where: the folder, for the message.
        features: of meta/info.json.
        fps: its rate [Hz].
        robot: its robot_type, if it says one.
        any_names: state and action may have other names for the same.
        cameras: key of a camera of this robot -> key in the data set, where that differs.

    Raises:
        DatasetError: something differs; the message has all of it, found and expected, and what helps.
    """
    faults: list[str] = []
    if fps != FPS:
        faults.append(f"fps is {fps:g}, expected {FPS}, the rate of the decisions")
    found = {key: _vector_fault(features.get(key), any_names) for key in (STATE_KEY, ACTION_KEY)}
    for fault in dict.fromkeys(item for item in found.values() if item):
        faults.append(f"{', '.join(key for key in found if found[key] == fault)}: {fault}")
    images = sorted(key for key, feature in features.items() if feature.get("dtype") in ("image", "video"))
    wanted = [cameras.get(image_key(camera), image_key(camera)) for camera in CAMERAS]
    missing = [key for key in wanted if key not in images]
    if missing:
        fault = (
            f"{', '.join(missing)}: missing, it has {', '.join(images) or 'no camera'}, expected {', '.join(wanted)}"
        )
        say = "; say which is which with --data-cameras front=NAME,side=NAME,top=NAME" if len(images) >= 3 else ""
        faults.append(fault + say)
    for key in sorted(set(wanted) & set(images)):
        shape = tuple(features[key].get("shape") or ())
        if len(shape) != 3 or 3 not in (shape[0], shape[-1]):
            faults.append(f"{key}: shape {shape}, expected three colours")
    if not faults:
        return
    of = f" ({robot})" if robot else ""
    raise DatasetError(f"{where}: is not a data set of this robot{of}: {'; '.join(faults)}")


def check_values(where: str, columns: Mapping[str, Floats], episode: NDArray[np.int64]) -> None:
    """Checks that all values are finite, and can be radians and metres of this arm.

    Args:
        where: the folder, for the message.
        columns: key -> (N, size); `observation.state` and `action` are also compared with the arm's range.
        episode: of each frame, (N,), ascending.

    Raises:
        DatasetError: a value is not; names column, dimension, episode, frame, what was found and expected.
    """
    for key, values in columns.items():
        bad = ~np.isfinite(values)
        if bad.any():
            row, dimension = (int(index) for index in np.argwhere(bad)[0])
            frames = int(bad.any(axis=1).sum())
            raise DatasetError(
                f"{where}: {key} {_name(key, dimension)} is {values[row, dimension]} in {_place(episode, row)}; "
                f"frames that are not finite: {frames} of {len(values)}. Mend them, or leave their episodes out"
            )
    low, high = PANDA.all_lower - _MARGIN, PANDA.all_upper + _MARGIN
    for key in columns.keys() & {STATE_KEY, ACTION_KEY}:
        values = columns[key]
        outside = (values < low) | (values > high)
        if outside.any():
            row, dimension = (int(index) for index in np.argwhere(outside)[0])
            lower, upper, unit = PANDA.all_lower[dimension], PANDA.all_upper[dimension], UNITS[dimension]
            raise DatasetError(
                f"{where}: {key} {_name(key, dimension)} is {values[row, dimension]:.4g} in {_place(episode, row)}, "
                f"expected {lower:.4g} to {upper:.4g} {unit}; degrees, millimetres and shares must be converted"
            )


def with_floor(key: str, mean: Floats, deviation: Floats) -> tuple[NDArray[np.float64], list[HardlyMoving]]:
    """Deviations to normalise with, (8,), and the dimensions whose own is smaller than that."""
    own = np.asarray(deviation, dtype=np.float64)
    floored = np.maximum(own, SMALLEST_DEVIATION)
    small = [
        HardlyMoving(key, VECTOR_NAMES[i], float(mean[i]), float(own[i]), float(floored[i]), UNITS[i])
        for i in np.flatnonzero(own < SMALLEST_DEVIATION)
    ]
    return floored, small


def _vector_fault(feature: Mapping[str, Any] | None, any_names: bool) -> str:
    """What is wrong with state or action, empty if nothing."""
    expected = f"expected {STATE_DIM}: {_short(VECTOR_NAMES[:-1])} [rad], {VECTOR_NAMES[-1]} [m]"
    if feature is None:
        return f"missing, {expected}"
    shape, names = tuple(feature.get("shape") or ()), _names(feature.get("names"))
    shown = f" ({_short(names)})" if names else ""
    if shape != (STATE_DIM,):
        return f"shape {shape}{shown}, {expected}"
    if names and tuple(names) != VECTOR_NAMES and not any_names:
        return f"other names{shown}, {expected}; give --any-names if it is the same under other names"
    return ""


def _short(names: Sequence[str]) -> str:
    return f"{names[0]}, {names[1]}, ... {names[-1]}" if len(names) > 3 else ", ".join(names)


def _names(names: object) -> list[str]:
    """Names of dimensions, which LeRobot's recorders write as a list or as lists under a word; empty without."""
    if isinstance(names, Mapping):
        names = [name for part in names.values() if isinstance(part, Sequence) for name in part]
    return [str(name) for name in names] if isinstance(names, list | tuple) else []


def _name(key: str, dimension: int) -> str:
    return VECTOR_NAMES[dimension] if key in (STATE_KEY, ACTION_KEY) else f"[{dimension}]"


def _place(episode: NDArray[np.int64], row: int) -> str:
    first = int(np.searchsorted(episode, episode[row]))
    return f"episode {int(episode[row])}, frame {row - first}"
