"""Data sets of another robot, in other units, with values that nothing can be learned from: named at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import DatasetError
from salus_vla.data.lerobot.dataset_info import VECTOR_NAMES
from salus_vla.data.lerobot.robot_fit import SMALLEST_DEVIATION, check_fits, check_values, with_floor
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_KEY, image_key

HOME = np.append(load_scene().robot.home, 0.04)
MOTORS = [f"motor_{i}.pos" for i in range(8)]


def features(**changed: Any) -> dict[str, Any]:
    vector = {"dtype": "float32", "shape": (8,), "names": list(VECTOR_NAMES)}
    image = {"dtype": "image", "shape": (64, 48, 3), "names": ["height", "width", "channels"]}
    whole: dict[str, Any] = {STATE_KEY: vector, ACTION_KEY: vector, **{image_key(c): image for c in CAMERAS}}
    return {key: value for key, value in (whole | changed).items() if value is not None}


def vector(size: int = 8, names: Any = None) -> dict[str, Any]:
    return {"dtype": "float32", "shape": (size,), "names": names}


@pytest.mark.parametrize(
    "names", [list(VECTOR_NAMES), {"motors": list(VECTOR_NAMES)}, None], ids=["list", "under a word", "none"]
)
def test_this_robots_are_taken(names: Any) -> None:
    check_fits("--data d", features(**{STATE_KEY: vector(names=names)}), 10, "panda")


def test_a_further_camera_is_no_fault_and_pictures_may_have_their_colours_first() -> None:
    first = {"dtype": "video", "shape": [3, 64, 48]}
    check_fits("--data d", features(**{image_key("wrist"): first, image_key("top"): first}), 10, None)


@pytest.mark.parametrize(
    ("changed", "fps", "named"),
    [
        ({}, 30, ["fps is 30, expected 10"]),
        ({ACTION_KEY: vector(6, MOTORS[:6])}, 10, ["action: shape (6,) (motor_0.pos", "expected 8: panda_joint1"]),
        ({STATE_KEY: vector(8, MOTORS)}, 10, ["observation.state: other names", "gripper_width [m]", "--any-names"]),
        ({STATE_KEY: None}, 10, ["observation.state: missing"]),
        (
            {image_key("top"): None},
            10,
            ["observation.images.top: missing, it has", "has observation.images.front, obs"],
        ),
        ({image_key("top"): {"dtype": "image", "shape": (64, 48, 1)}}, 10, ["(64, 48, 1), expected three colours"]),
    ],
)
def test_another_robots_are_refused(changed: dict[str, Any], fps: float, named: list[str]) -> None:
    with pytest.raises(DatasetError) as caught:
        check_fits("--data d", features(**changed), fps, "so101_follower")
    assert "--data d: is not a data set of this robot (so101_follower)" in str(caught.value)
    assert all(text in str(caught.value) for text in named)


def test_everything_that_differs_is_said_at_once() -> None:
    six = vector(6, MOTORS[:6])
    with pytest.raises(DatasetError, match=r"fps is 30.*observation.state, action: shape.*images.side: missing"):
        check_fits("d", features(**{STATE_KEY: six, ACTION_KEY: six, image_key("side"): None}), 30, None)


def test_other_names_can_be_vouched_for() -> None:
    named = {STATE_KEY: vector(8, MOTORS), ACTION_KEY: vector(8, MOTORS)}
    check_fits("d", features(**named), 10, None, any_names=True)


def columns(count: int = 6) -> dict[str, Any]:
    return {STATE_KEY: np.tile(HOME, (count, 1)), ACTION_KEY: np.tile(HOME, (count, 1)), "truth": np.zeros((count, 7))}


EPISODE = np.array([0, 0, 0, 1, 1, 1])


def test_values_of_the_arm_are_taken() -> None:
    check_values("d", columns(), EPISODE)


@pytest.mark.parametrize("key", [STATE_KEY, ACTION_KEY, "truth"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(key: str, value: float) -> None:
    values = columns()
    values[key][4, 2] = value
    with pytest.raises(DatasetError) as caught:
        check_values("d", values, EPISODE)
    name = "[2]" if key == "truth" else "panda_joint3"
    assert f"{key} {name} is {value} in episode 1, frame 1" in str(caught.value)


@given(row=st.integers(0, 5), dimension=st.integers(0, 7), sign=st.sampled_from([-1, 1]))
def test_degrees_and_millimetres_are_told_from_radians_and_metres(row: int, dimension: int, sign: int) -> None:
    values = columns()
    values[ACTION_KEY][row, dimension] = sign * 40.0
    with pytest.raises(
        DatasetError, match=rf"{VECTOR_NAMES[dimension]} is .*40 in episode {EPISODE[row]}, frame {row % 3}"
    ):
        check_values("d", values, EPISODE)


@given(st.lists(st.floats(0, 2), min_size=8, max_size=8))
def test_what_hardly_moves_is_named_and_divided_by_the_floor(deviation: list[float]) -> None:
    floored, small = with_floor(ACTION_KEY, HOME, np.array(deviation))
    assert (floored >= SMALLEST_DEVIATION).all()
    below = np.array(deviation) < SMALLEST_DEVIATION
    assert [item.name for item in small] == [
        name for name, is_small in zip(VECTOR_NAMES, below, strict=True) if is_small
    ]
    assert np.array_equal(floored[~below], np.array(deviation)[~below])


def test_the_warning_has_value_and_unit() -> None:
    _, (item,) = with_floor(ACTION_KEY, HOME, np.array([0.2] * 7 + [0.0]))
    assert str(item) == (
        "action gripper_width hardly moves in the whole data set (0.04 m, deviation 0): "
        "normalised with a deviation of 0.0001 m"
    )


def test_cameras_of_other_names_are_taken_where_it_is_said_which_is_which() -> None:
    names = {image_key(camera): image_key(f"cam_{number}") for number, camera in enumerate(CAMERAS)}
    image = features()[image_key("top")]
    other = features(**dict.fromkeys(names), **dict.fromkeys(names.values(), image))
    check_fits("d", other, 10, None, cameras=names)
    with pytest.raises(DatasetError, match="say which is which with --data-cameras front=NAME"):
        check_fits("d", other, 10, None)
    grey = {**other, image_key("cam_1"): {"dtype": "image", "shape": (64, 48, 1)}}
    with pytest.raises(DatasetError, match=r"cam_1: shape .64, 48, 1., expected three colours"):
        check_fits("d", grey, 10, None, cameras=names)
