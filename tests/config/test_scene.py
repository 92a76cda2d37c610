from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.config import paths
from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract import CAMERAS, DECISION_HZ, DEFAULT_TASK, FRAME_HZ, JOINTS
from salus_vla.contract.bodies import ROBOT_BODIES, adjacent
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.geometry import quaternion_of, rotate
from salus_vla.contract.types import Pose

SCENE = load_scene()
RAW = yaml.safe_load((paths.config_dir() / paths.CONTRACT_FILE).read_text(encoding="utf-8"))


def edited(tmp_path: Path, key: str, value: object) -> Path:
    """A copy of contract.yaml with one value set, by its dotted key."""
    raw = yaml.safe_load(yaml.safe_dump(RAW))
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        node = node[parent]
    node[last] = value
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_scene_agrees_with_the_topic_contract() -> None:
    assert SCENE.rates.frame_dt_ns == round(1e9 / FRAME_HZ)
    assert SCENE.rates.decision_dt_ns == round(1e9 / DECISION_HZ)
    assert SCENE.rates.physics_steps == 10
    assert tuple(sorted(SCENE.cameras.views)) == tuple(sorted(CAMERAS))
    assert SCENE.robot.home_position.shape == (len(JOINTS),)
    assert SCENE.task == DEFAULT_TASK


def test_intrinsics_of_a_45_degree_camera() -> None:
    expected = [[309.019, 0.0, 128.0], [0.0, 309.019, 128.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(SCENE.cameras.intrinsics(), expected, atol=1e-3)


@pytest.mark.parametrize("name", CAMERAS)
def test_camera_looks_at_its_target(name: str) -> None:
    view = SCENE.cameras.views[name]
    forward = np.subtract(view.target, view.position) / np.linalg.norm(np.subtract(view.target, view.position))
    np.testing.assert_allclose(rotate(view.pose().quaternion, np.array([0.0, 0.0, -1.0])), forward, atol=1e-9)
    optical = view.optical_pose()
    np.testing.assert_allclose(rotate(optical.quaternion, np.array([0.0, 0.0, 1.0])), forward, atol=1e-9)
    up = rotate(view.pose().quaternion, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(rotate(optical.quaternion, np.array([0.0, 1.0, 0.0])), -up, atol=1e-9)
    assert up @ np.array(view.up) > 0.3
    assert np.linalg.det(view.rotation()) == pytest.approx(1.0)


def test_top_image_has_the_robots_forward_direction_up() -> None:
    np.testing.assert_allclose(SCENE.cameras.views["top"].rotation()[:, 1], [1.0, 0.0, 0.0], atol=1e-9)


unit = st.floats(-1.0, 1.0)


@given(st.tuples(unit, unit, unit, unit).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternion_of_inverts_rotate(raw: tuple[float, float, float, float]) -> None:
    quaternion = np.array(raw) / np.linalg.norm(raw)
    rotation = np.column_stack([rotate(quaternion, axis) for axis in np.eye(3)])
    again = quaternion_of(rotation)
    assert again[3] >= 0.0
    assert abs(again @ quaternion) == pytest.approx(1.0, abs=1e-9)


def test_bin_contains_only_its_hollow() -> None:
    blue_bin, pose = SCENE.objects.blue_bin, SCENE.objects.blue_bin.pose()
    x, y = blue_bin.position
    assert blue_bin.contains(pose, np.array([x, y, 0.03]))
    assert not blue_bin.contains(pose, np.array([x, y, blue_bin.outer[2] + 0.001]))
    assert blue_bin.covers(pose, np.array([x, y, 0.5]))
    assert not blue_bin.covers(pose, np.array([x + blue_bin.outer[0] / 2 - blue_bin.wall + 1e-4, y, 0.03]))
    assert not blue_bin.covers(pose, np.array([x, y, -0.01]))
    corner = np.array([x + 0.11, y + 0.11, 0.03])
    turned = Pose(pose.position, np.array([0.0, 0.0, np.sin(np.pi / 8), np.cos(np.pi / 8)]))
    assert blue_bin.contains(pose, corner)
    assert not blue_bin.contains(turned, corner)


def test_adjacent_is_symmetric_and_about_the_robot_only() -> None:
    for a in ROBOT_BODIES:
        for b in ROBOT_BODIES:
            assert adjacent(a, b) == adjacent(b, a)
    assert adjacent("panda_hand", "panda_leftfinger")
    assert adjacent("panda_link3", "panda_link4")
    assert not adjacent("panda_link1", "panda_hand")
    assert not adjacent("panda_leftfinger", "red_cube")
    assert not adjacent("red_cube", "red_cube")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", 42, "seed: Extra inputs are not permitted"),
        ("objects.red_cube.colour", "red", "objects.red_cube.colour"),
        ("objects.red_cube.mass", -1.0, "objects.red_cube.mass: Input should be greater than 0"),
        ("objects.red_cube.spawn.x", [0.6, 0.38], "expected [low, high]"),
        ("objects.red_cube.spawn.x", [0.38, 1.6], "spawn.x must lie on the table"),
        ("objects.blue_bin.wall", 0.2, "no room inside"),
        ("robot.home", [0.0, 1.0], "robot.home"),
        ("robot.finger_open", 0.05, "finger_open must not exceed"),
        ("rates.frame_dt", 0.003, "whole number of physics_dt"),
        ("rates.max_decisions", 0, "rates.max_decisions"),
        ("cameras.views.back", {"position": [0, 0, 1], "target": [0, 0, 0], "up": [1, 0, 0]}, "views must be exactly"),
        ("cameras.views.top.up", [0.0, 0.0, 1.0], "must span a plane"),
        ("outcomes.open_width", 0.02, "open_width must be larger"),
        ("outcomes.collision_force", float("nan"), "finite number"),
        ("outcomes.collision_force", "hard", "valid number"),
        ("task", "", "task"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(tmp_path: Path, key: str, value: object, expected: str) -> None:
    path = edited(tmp_path, key, value)
    with pytest.raises(ConfigError) as error:
        load_scene(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("key", ["rates", "objects.table", "outcomes.reach", "light.headlight_ambient"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    raw = yaml.safe_load(yaml.safe_dump(RAW))
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        node = node[parent]
    del node[last]
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{key}: Field required"):
        load_scene(path)


def test_unreadable_files_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scene(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("rates: [1, 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_scene(broken)
    broken.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="top level"):
        load_scene(broken)


def test_scene_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SCENE.task = "other"  # type: ignore[misc]


def test_config_dir_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.CONFIG_ENV, str(tmp_path))
    with pytest.raises(ConfigError, match=r"expected a folder with contract\.yaml"):
        paths.config_dir()
    path = edited(tmp_path, "task", "stack the cubes")
    assert paths.config_dir() == path.parent
    assert load_scene().task == "stack the cubes"
    assert isinstance(load_scene(), Scene)


def test_cache_dir_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.CACHE_ENV, str(tmp_path / "mine"))
    assert paths.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv(paths.CACHE_ENV)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / "salus"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / ".cache" / "salus"
