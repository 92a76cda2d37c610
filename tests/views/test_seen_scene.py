"""The table is always there; cube and bin stand where ground truth says, and nowhere without it."""

from __future__ import annotations

import numpy as np

from salus_vla.config.scene import load_scene
from salus_vla.contract.types import Pose
from salus_vla.views.seen_scene import STALE_NS, SeenScene

SCENE = load_scene()
TURNED = Pose(np.array([0.5, -0.2, 0.1]), np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)]))  # 90 degrees about z


def test_the_table_ends_at_the_height_of_the_worlds_origin() -> None:
    top = SeenScene(SCENE).table[0]
    np.testing.assert_allclose(top.size, SCENE.objects.table.size)
    assert top.pose.position[2] + top.size[2] / 2.0 == 0.0
    np.testing.assert_allclose(top.pose.position[:2], SCENE.objects.table.center)


def test_without_ground_truth_there_are_no_entities() -> None:
    assert SeenScene(SCENE).entities(0) == {"red_cube": (), "blue_bin": ()}


def test_the_cube_is_where_ground_truth_says() -> None:
    seen = SeenScene(SCENE)
    seen.saw("red_cube", 10**9, TURNED)
    (cube,) = seen.entities(10**9)["red_cube"]
    np.testing.assert_allclose(cube.size, 3 * [SCENE.objects.red_cube.edge])
    np.testing.assert_allclose(cube.pose.position, TURNED.position)
    assert cube.rgba == SCENE.objects.red_cube.rgba
    assert seen.entities(10**9)["blue_bin"] == ()


def test_the_bin_turns_with_its_walls() -> None:
    seen = SeenScene(SCENE)
    seen.saw("blue_bin", 0, TURNED)
    floor, *walls = seen.entities(0)["blue_bin"]
    assert len(walls) + 1 == seen.most("blue_bin") == 5
    outer, wall = np.array(SCENE.objects.blue_bin.outer), SCENE.objects.blue_bin.wall
    corners = []
    for box in (floor, *walls):
        half = box.size / 2.0
        quarter = np.array([half[1], half[0], half[2]])  # the turn swaps x and y
        corners += [box.pose.position - quarter, box.pose.position + quarter]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    np.testing.assert_allclose(high - low, outer[[1, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(low[2], TURNED.position[2], atol=1e-12)
    assert floor.size[2] == wall


def test_ground_truth_that_falls_silent_or_is_of_another_time_is_not_drawn() -> None:
    seen = SeenScene(SCENE)
    seen.saw("red_cube", 5 * 10**9, TURNED)
    assert seen.entities(5 * 10**9 + STALE_NS)["red_cube"]
    assert not seen.entities(5 * 10**9 + STALE_NS + 1)["red_cube"]
    assert not seen.entities(10**9)["red_cube"]  # a recording began anew
