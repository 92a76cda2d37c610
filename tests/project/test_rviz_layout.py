"""rviz opens with the 3D view as the largest part, and the status stands in it beside the arm, whole and not hidden."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from salus_vla.config.scene import load_scene
from salus_vla.contract import ARM_DOF, ARM_JOINTS
from salus_vla.contract.types import FloatArray
from salus_vla.simulation.mujoco.kinematics import Kinematics, pointing_down
from salus_vla.simulation.mujoco.mujoco_model import build_model
from salus_vla.views.text_block import LINES, POSITION, WIDTH, anchored, block_size
from window_state import LEFT, read_window_state

RVIZ = Path(__file__).parents[2] / "config" / "rviz" / "salus.rviz"
SCREEN = (1920, 1080)
SMALL = (1280, 800)
LEAST = 0.6  # of the window
BESIDE = 32  # px, of the two handles that hide the docks, which stand in the middle beside the 3D view
FOVY = np.pi / 4.0  # Ogre's default, which rviz's orbit view keeps [rad]
ARM_RADIUS_M = 0.12  # around the line between two joints: the widest link and the hand


def layout() -> dict[str, Any]:
    return dict(yaml.safe_load(RVIZ.read_text(encoding="utf-8")))


def window() -> dict[str, Any]:
    return dict(layout()["Window Geometry"])


def test_the_window_fits_a_screen_and_the_view_has_most_of_it() -> None:
    saved = window()
    state = read_window_state(str(saved["QMainWindow State"]))
    assert saved["X"] + saved["Width"] <= SCREEN[0]
    assert saved["Y"] + saved["Height"] <= SCREEN[1]
    assert (state.middle[0] - BESIDE) * state.middle[1] >= LEAST * saved["Width"] * saved["Height"]
    assert state.middle[0] < saved["Width"]
    assert state.middle[1] < saved["Height"]  # of another size it would be of another window


def view_of_a_small_screen() -> tuple[int, int]:
    """Qt keeps the docks' width, and the height that menu, tools and status line take."""
    state, saved = read_window_state(str(window()["QMainWindow State"])), window()
    width = SMALL[0] - (saved["Width"] - state.middle[0]) - BESIDE
    return width, SMALL[1] - (saved["Height"] - state.middle[1])


def test_on_a_small_screen_the_view_still_has_most_of_the_window() -> None:
    width, height = view_of_a_small_screen()
    assert width * height >= LEAST * SMALL[0] * SMALL[1]


def test_every_dock_of_the_state_is_a_panel_or_a_picture_of_the_layout_and_none_is_forgotten() -> None:
    given, saved = layout(), window()
    displays = given["Visualization Manager"]["Displays"]
    docks = [panel["Name"] for panel in given["Panels"]]
    docks += [display["Name"] for display in displays if display["Class"].endswith("/Image")]
    state = read_window_state(str(saved["QMainWindow State"]))
    assert set(state.areas) == {LEFT}
    area = state.areas[LEFT]
    assert area.vertical
    assert sorted(area.docks) == sorted(docks)
    assert not saved["Hide Left Dock"]
    assert all(saved[name] == {"collapsed": False} for name in docks)
    cameras = [size for name, size in area.docks.items() if name.endswith("camera")]
    assert len(cameras) == 3
    assert max(cameras) - min(cameras) <= 4  # none is more important


class Orbit:
    """rviz's orbit view: from points in the world to the picture, x and y from -1 to 1."""

    def __init__(self, view_size: tuple[int, int] | None = None) -> None:
        view = layout()["Visualization Manager"]["Views"]["Current"]
        assert view["Class"] == "rviz_default_plugins/Orbit"
        yaw, pitch = view["Yaw"], view["Pitch"]
        back = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
        right = np.cross([0.0, 0.0, 1.0], back)
        self.axes = np.array([right / np.linalg.norm(right), np.cross(back, right) / np.linalg.norm(right), back])
        focal = np.array([view["Focal Point"][axis] for axis in "XYZ"])
        self.eye = focal + view["Distance"] * back
        middle = read_window_state(str(window()["QMainWindow State"])).middle
        width, height = view_size or (middle[0] - BESIDE, middle[1])
        self.aspect = width / height

    def project(self, points: FloatArray) -> FloatArray:
        """Points (n, 3) [m] to (n, 2)."""
        x, y, depth = self.axes @ (points - self.eye).T
        scale = -depth * np.tan(FOVY / 2.0)
        return np.stack([x / (scale * self.aspect), y / scale], axis=-1)


def text_corners() -> FloatArray:
    """Of the largest block in the world, (4, 3) [m]; it faces the eye."""
    width, height = block_size(anchored("\n".join(["n" * WIDTH] * LINES)))
    right, up, _ = Orbit().axes
    return np.array([
        np.array(POSITION) + side * width / 2.0 * right + end * height / 2.0 * up
        for side, end in product((-1, 1), repeat=2)
    ])  # fmt: skip


def arm_lines() -> FloatArray:
    """Points along the arm over everything it has to reach, (n, 3) [m]."""
    scene = load_scene()
    model = build_model(scene)
    home = scene.robot.home_position[:ARM_DOF]
    kinematics, data = Kinematics(model, home), mujoco.MjData(model)
    bodies = [model.body(f"panda_link{number}").id for number in range(8)] + [model.body("panda_hand").id]
    joints = [model.joint(name).qposadr[0] for name in ARM_JOINTS]
    (x0, x1), (y0, y1) = scene.objects.red_cube.spawn.x, scene.objects.red_cube.spawn.y
    over = [(x, y) for x in (x0, x1) for y in (y0, y1)] + [scene.objects.blue_bin.position]
    found = []
    for (x, y), z in product(over, (0.02, 0.15, 0.3)):
        arm = home
        for _ in range(5):
            arm = kinematics.solve(arm, np.array([x, y, z]), pointing_down(0.0), pull=0.6)
        tool = kinematics.tool(arm)[0]
        assert np.linalg.norm(tool - [x, y, z]) < 0.01
        data.qpos[joints] = arm
        mujoco.mj_kinematics(model, data)
        chain = np.vstack([data.xpos[bodies], tool])
        found += [a + share * (b - a) for a, b in pairwise(chain) for share in (0.0, 0.5, 1.0)]
    return np.array(found)


@pytest.mark.parametrize("small", [False, True])
def test_the_largest_text_is_whole_in_the_view(small: bool) -> None:
    corners = Orbit(view_of_a_small_screen() if small else None).project(text_corners())
    assert np.abs(corners).max() < 0.97


def test_the_arm_never_hides_the_text() -> None:
    orbit = Orbit()
    corners = orbit.project(text_corners())
    low, high = corners.min(axis=0), corners.max(axis=0)
    points = arm_lines()
    at = orbit.project(points)
    depth = -(orbit.axes[2] @ (points - orbit.eye).T)
    radius = ARM_RADIUS_M / (depth * np.tan(FOVY / 2.0))
    near_x = np.maximum(low[0] - at[:, 0], at[:, 0] - high[0]) * orbit.aspect
    near_y = np.maximum(low[1] - at[:, 1], at[:, 1] - high[1])
    assert (np.maximum(near_x, near_y) > radius).all()


@pytest.mark.parametrize("small", [False, True])
def test_the_scene_and_the_arm_are_in_the_view(small: bool) -> None:
    table = load_scene().objects.table
    corners = [
        (table.center[0] + sx * table.size[0] / 2, table.center[1] + sy * table.size[1] / 2, 0.0)
        for sx, sy in product((-1, 1), repeat=2)
    ]
    at = Orbit(view_of_a_small_screen() if small else None).project(np.vstack([arm_lines(), corners]))
    assert np.abs(at).max() < 1.0


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no state of a window"):
        read_window_state("00" * 40)
