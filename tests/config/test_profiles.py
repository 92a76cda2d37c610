"""The profiles of contract.yaml: what a seed draws of each."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.config.profiles import CameraProfile, CubeProfile, DistractorProfile, Profile
from salus_vla.config.scene import load_scene
from salus_vla.config.scene_types import Area
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import Pose
from salus_vla.simulation.variation import Variation, sample_cube_pose, sample_variation

SCENE = load_scene()
SEEDS = range(200)
EVERYTHING = Profile(
    light=(0.5, 1.5),
    red_cube=CubeProfile(friction=(0.1, 1.0), mass=(0.1, 1.0), colors=((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1))),
    cameras=CameraProfile(position=(0.01, 0.05), target=(0.01, 0.05)),
    distractors=SCENE.profiles["distractor"].distractors,
)


def drawn(profile: Profile, seed: int) -> Variation:
    return sample_variation(SCENE, profile, seed, poses_of(profile, seed))


def poses_of(profile: Profile, seed: int) -> dict[str, Pose]:
    return {"red_cube": sample_cube_pose(SCENE, profile, seed), "blue_bin": SCENE.objects.blue_bin.pose()}


def inside(area: Area, point: np.ndarray) -> bool:
    return area.x[0] <= point[0] <= area.x[1] and area.y[0] <= point[1] <= area.y[1]


# -- the cube's pose ---------------------------------------------------------------------------------------------------


def test_eval_draws_the_poses_that_seeds_had_before_profiles() -> None:
    spawn = SCENE.objects.red_cube.spawn
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        x, y, yaw = (random.uniform(*limits) for limits in (spawn.x, spawn.y, spawn.yaw_deg))
        pose = sample_cube_pose(SCENE, Profile(), seed)
        half = np.radians(yaw) / 2.0
        np.testing.assert_array_equal(pose.position, [x, y, 0.025])
        np.testing.assert_array_equal(pose.quaternion, [0.0, 0.0, np.sin(half), np.cos(half)])


@pytest.mark.parametrize("name", [name for name in SCENE.profiles if name != "far_cube"])
def test_a_profile_without_areas_keeps_the_poses(name: str) -> None:
    for seed in range(20):
        own, expected = sample_cube_pose(SCENE, SCENE.profile(name), seed), sample_cube_pose(SCENE, Profile(), seed)
        np.testing.assert_array_equal(own.position, expected.position)
        np.testing.assert_array_equal(own.quaternion, expected.quaternion)


def test_far_cubes_start_outside_of_the_training_area_within_reach_and_off_the_bin() -> None:
    profile, usual = SCENE.profile("far_cube"), SCENE.objects.red_cube.spawn
    areas = profile.red_cube.spawn
    assert areas is not None
    half_diagonal = SCENE.objects.red_cube.edge / np.sqrt(2.0)
    bin_side = SCENE.objects.blue_bin.position[1] + SCENE.objects.blue_bin.outer[1] / 2.0
    counts = [0] * len(areas)
    for seed in SEEDS:
        position = sample_cube_pose(SCENE, profile, seed).position
        assert not inside(usual, position)
        counts = [count + inside(area, position) for count, area in zip(counts, areas, strict=True)]
        assert np.linalg.norm(position[:2]) + half_diagonal < SCENE.outcomes.reach[1]
        assert position[1] - half_diagonal > bin_side
    assert sum(counts) == len(SEEDS)
    assert min(counts) > 0.3 * len(SEEDS)
    for area in areas:  # the cubes themselves may not be in the usual area either, not only their centres by chance
        assert area.x[0] > usual.x[1] + 0.02 or area.y[0] > usual.y[1] + 0.02


# -- everything else ---------------------------------------------------------------------------------------------------


def test_eval_draws_nothing() -> None:
    assert drawn(Profile(), 3) == Variation(None, None, None, None, {}, ())


@pytest.mark.parametrize(
    ("name", "quantity", "limits"),
    [
        ("train", "light", (0.85, 1.15)),
        ("train", "friction", (0.8, 1.2)),
        ("dark", "light", (0.25, 0.40)),
        ("slippery", "friction", (0.0132, 0.0168)),
        ("heavy", "mass", (3.0, 3.9)),
    ],
)
def test_a_quantity_fills_its_range(name: str, quantity: str, limits: tuple[float, float]) -> None:
    values = [getattr(drawn(SCENE.profile(name), seed), quantity) for seed in SEEDS]
    low, high = limits
    assert low <= min(values) < low + 0.05 * (high - low)
    assert high >= max(values) > high - 0.05 * (high - low)
    assert np.mean(values) == pytest.approx((low + high) / 2.0, abs=0.1 * (high - low))


def test_every_joint_is_off_by_its_own_amount_either_way() -> None:
    offsets = np.degrees([drawn(SCENE.profile("miscalibrated"), seed).joint_offset for seed in SEEDS])
    assert offsets.shape == (len(SEEDS), 7)
    assert 0.3 <= np.abs(offsets).min() < 0.32
    assert 1.48 < np.abs(offsets).max() <= 1.5
    assert (np.abs(np.mean(offsets > 0, axis=0) - 0.5) < 0.15).all()


def test_a_push_comes_at_any_time_from_any_side() -> None:
    profile = SCENE.profile("pushed").push
    assert profile is not None
    pushes = [drawn(SCENE.profile("pushed"), seed).push for seed in SEEDS]
    begins = [push.begin for push in pushes if push is not None]
    assert profile.time[0] <= min(begins) < 1.0
    assert 4.3 < max(begins) <= profile.time[1]
    lasts = [push.end - push.begin for push in pushes if push is not None]
    assert profile.duration[0] - 1e-9 <= min(lasts) < max(lasts) <= profile.duration[1] + 1e-9
    speeds = np.array([push.velocity for push in pushes if push is not None])
    lengths = np.linalg.norm(speeds, axis=1)
    assert profile.speed[0] <= lengths.min() < lengths.max() <= profile.speed[1]
    assert (np.abs(speeds.mean(axis=0)) < 0.08).all()


@pytest.mark.parametrize(
    ("name", "position", "target"), [("camera_moved", (0.03, 0.08), 0.03), ("train", (0, 0.005), 0)]
)
def test_cameras_move_by_the_distances_of_the_profile(name: str, position: tuple[float, float], target: float) -> None:
    shifts, targets = [], []
    for seed in SEEDS:
        views = drawn(SCENE.profile(name), seed).views
        assert tuple(views) == CAMERAS
        for camera, view in views.items():
            own = SCENE.cameras.views[camera]
            shifts.append(np.subtract(view.position, own.position))
            targets.append(np.linalg.norm(np.subtract(view.target, own.target)))
    lengths = np.linalg.norm(shifts, axis=1)
    assert position[0] <= lengths.min() < lengths.max() <= position[1] + 1e-12
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.2 * position[1]  # in all directions
    assert max(targets) <= target + 1e-12
    assert max(targets) > 0.9 * target or target == 0.0


def test_distractors_stand_clear_of_everything() -> None:
    profile = SCENE.profile("distractor")
    rules = profile.distractors
    assert rules is not None
    half_diagonal = SCENE.objects.red_cube.edge / np.sqrt(2.0)
    corner = np.array(SCENE.objects.blue_bin.outer[:2]) / 2.0
    numbers = set()
    for seed in SEEDS:
        cube = sample_cube_pose(SCENE, profile, seed).position[:2]
        placed = drawn(profile, seed).distractors
        numbers.add(len(placed))
        around = [(cube, half_diagonal)]
        for item, kind in zip(placed, rules.objects, strict=False):
            point = item.pose.position[:2]
            assert item.pose.position[2] == kind.size[2] / 2.0
            assert item.color in kind.colors
            assert inside(rules, point)
            gap = np.linalg.norm(np.maximum(np.abs(point - SCENE.objects.blue_bin.position) - corner, 0.0))
            assert gap >= kind.radius + rules.clearance
            for other, radius in around:
                assert np.linalg.norm(point - other) >= radius + kind.radius + rules.clearance
            around.append((point, kind.radius))
    assert numbers == {1, 2, 3}


def test_a_distractor_looks_much_like_the_cube() -> None:
    rules = SCENE.profile("distractor").distractors
    assert rules is not None
    assert all(red > 2.0 * max(green, blue) for red, green, blue, _ in rules.objects[0].colors)


def test_distractors_keep_away_from_where_cube_and_bin_were_put() -> None:
    profile = SCENE.profile("distractor")
    turned = np.array([0.0, 0.0, np.sin(np.pi / 8.0), np.cos(np.pi / 8.0)])
    poses = {
        "red_cube": Pose(np.array([0.40, -0.05, 0.025]), turned),
        "blue_bin": Pose(np.array([0.55, 0.20, 0.0]), turned),
    }
    for seed in range(50):
        for item in sample_variation(SCENE, profile, seed, poses).distractors:
            offset = item.pose.position[:2] - [0.55, 0.20]
            along = np.array([[1.0, 1.0], [-1.0, 1.0]]) @ offset / np.sqrt(2.0)
            assert np.abs(along).max() > 0.12 + 0.025
            assert np.linalg.norm(item.pose.position[:2] - [0.40, -0.05]) > 0.035 + 0.025


def test_distractors_without_a_place_are_an_error() -> None:
    rules = SCENE.profile("distractor").distractors
    assert rules is not None
    crowded = Profile(distractors=DistractorProfile(**{**rules.model_dump(), "clearance": 0.5, "count": (3, 3)}))
    with pytest.raises(SimulatorError, match="no place on the table for distractor 0 within 1000 tries, seed 1"):
        drawn(crowded, 1)


@pytest.mark.parametrize("left_out", ["light", "friction", "mass", "color", "views", "distractors"])
def test_leaving_one_quantity_out_changes_no_other_draw(left_out: str) -> None:
    changes: dict[str, Any] = {
        "light": {"light": None},
        "friction": {"red_cube": EVERYTHING.red_cube.model_copy(update={"friction": None})},
        "mass": {"red_cube": EVERYTHING.red_cube.model_copy(update={"mass": None})},
        "color": {"red_cube": EVERYTHING.red_cube.model_copy(update={"colors": None})},
        "views": {"cameras": CameraProfile()},
        "distractors": {"distractors": None},
    }
    fewer = EVERYTHING.model_copy(update=changes[left_out])
    for seed in range(10):
        expected = drawn(EVERYTHING, seed)
        assert getattr(expected, left_out)
        changed = drawn(fewer, seed)
        assert not getattr(changed, left_out)
        for field in dataclasses.fields(Variation):
            if field.name != left_out:
                assert repr(getattr(changed, field.name)) == repr(getattr(expected, field.name)), field.name


def test_a_moved_target_does_not_change_where_the_camera_is() -> None:
    fixed = EVERYTHING.model_copy(update={"cameras": CameraProfile(position=(0.01, 0.05))})
    for camera, view in drawn(fixed, 4).views.items():
        assert view.position == drawn(EVERYTHING, 4).views[camera].position
        assert view.target == SCENE.cameras.views[camera].target


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=40, deadline=None)
def test_any_seed_draws_the_same_again_and_another_seed_draws_otherwise(seed: int) -> None:
    first = drawn(EVERYTHING, seed)
    assert repr(drawn(EVERYTHING, seed)) == repr(first)
    other = drawn(EVERYTHING, seed + 1)
    assert (first.light, first.friction, first.mass) != (other.light, other.friction, other.mass)


@pytest.mark.parametrize("seed", range(5))
def test_no_two_quantities_share_a_stream(seed: int) -> None:
    variation = drawn(EVERYTHING, seed)
    assert variation.light is not None
    assert variation.friction is not None
    assert variation.mass is not None
    quantiles = [variation.light - 0.5, (variation.friction - 0.1) / 0.9, (variation.mass - 0.1) / 0.9]
    for camera, view in variation.views.items():
        own = SCENE.cameras.views[camera]
        for moved, point in ((view.position, own.position), (view.target, own.target)):
            quantiles.append((np.linalg.norm(np.subtract(moved, point)) - 0.01) / 0.04)
    assert len(quantiles) == 3 + 2 * len(CAMERAS)
    assert np.diff(np.sort(quantiles)).min() > 1e-6
