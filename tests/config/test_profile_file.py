"""The profiles of contract.yaml: what a file may say, and what a run keeps of it."""

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salus_vla.cli import collect
from salus_vla.cli.main import build_parser
from salus_vla.config import paths
from salus_vla.config.policy_settings import DEFAULTS
from salus_vla.config.profiles import DEFAULT_PROFILE, Profile
from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract.errors import ConfigError, SalusError

SCENE = load_scene()
NAMES = ("eval", "train", "far_cube", "dark", "camera_moved", "slippery", "heavy", "distractor", "other_color")
NAMES += ("miscalibrated", "pushed")
RAW = yaml.safe_load((paths.config_dir() / paths.CONTRACT_FILE).read_text(encoding="utf-8"))


def load_text(folder: Path, text: str) -> Scene:
    path = folder / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scene(path)


def load_raw(folder: Path, raw: object) -> Scene:
    return load_text(folder, yaml.safe_dump(raw))


def scene_or_reason(folder: Path, text: str) -> Scene | str:
    """The scene, or why it is refused; any other exception gets out."""
    try:
        return load_text(folder, text)
    except ConfigError as error:
        return str(error)


def with_profile(profile: object, name: str = "mine") -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    raw["profiles"][name] = profile
    return raw


def test_every_profile_is_there_and_eval_changes_nothing() -> None:
    assert set(SCENE.profiles) == set(NAMES)
    assert SCENE.profile(DEFAULT_PROFILE) == Profile()


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown profile 'darkk'; expected one of eval, train, far_cube, dark, "):
        SCENE.profile("darkk")


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"lights": [1, 1]}, "profiles.mine.lights: Extra inputs"),
        ({"red_cube": {"colour": [1, 0, 0, 1]}}, "profiles.mine.red_cube.colour: Extra inputs"),
        ({"light": [1.0, 0.5]}, "profiles.mine.light: Value error, expected [low, high]"),
        ({"light": [0.0, 0.5]}, "profiles.mine.light.0: Input should be greater than 0"),
        ({"light": 0.5}, "profiles.mine.light: Input should be a valid tuple"),
        ({"red_cube": {"mass": [0.0, 1.0]}}, "profiles.mine.red_cube.mass.0"),
        ({"red_cube": {"friction": [-0.1, 1.0]}}, "profiles.mine.red_cube.friction.0"),
        ({"red_cube": {"colors": []}}, "profiles.mine.red_cube.colors"),
        ({"red_cube": {"colors": [[2, 0, 0, 1]]}}, "profiles.mine.red_cube.colors.0.0"),
        ({"red_cube": {"spawn": []}}, "profiles.mine.red_cube.spawn"),
        (
            {"red_cube": {"spawn": [{"x": [0.4, 0.9], "y": [0, 0], "yaw_deg": [0, 0]}]}},
            "profiles.mine.red_cube.spawn.0.x must lie on the table, -0.1 to 0.8",
        ),
        ({"cameras": {"position": [0.0, 1.0]}}, "profiles.mine.cameras.position.1"),
        ({"cameras": {"target": [0.2, 0.1]}}, "profiles.mine.cameras.target: Value error, expected [low, high]"),
        (None, "profiles.mine"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_key(tmp_path: Path, profile: object, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_raw(tmp_path, with_profile(profile))
    assert expected in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("count", [1, 9], "count: expected [low, high] up to the 3 objects listed"),
        ("count", [2, 1], "count: expected [low, high]"),
        ("x", [0.4, 0.9], "profiles.distractor.distractors.x must lie on the table"),
        ("clearance", -0.1, "distractors.clearance"),
        ("objects", [{"shape": "ball", "size": [1, 1, 1], "mass": 1, "colors": [[1, 1, 1, 1]]}], "objects.0.shape"),
        ("objects", [{"shape": "cylinder", "size": [1, 2, 1], "mass": 1, "colors": [[1] * 4]}], "must be equal"),
    ],
)
def test_wrong_distractors_are_refused_with_their_key(tmp_path: Path, key: str, value: object, expected: str) -> None:
    raw = copy.deepcopy(RAW)
    raw["profiles"]["distractor"]["distractors"][key] = value
    with pytest.raises(ConfigError) as error:
        load_raw(tmp_path, raw)
    assert expected in str(error.value)


def test_a_file_needs_the_default_profile_and_plain_names(tmp_path: Path) -> None:
    raw = copy.deepcopy(RAW)
    del raw["profiles"]["eval"]
    with pytest.raises(ConfigError, match="profiles must have 'eval'"):
        load_raw(tmp_path, raw)
    with pytest.raises(ConfigError, match=r"My Profile"):
        load_raw(tmp_path, with_profile({}, "My Profile"))


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2.0, 2.0) | st.sampled_from(["", "x", "box"])
keys = st.sampled_from(["light", "red_cube", "cameras", "distractors", "mass", "spawn", "x", "count", "objects", "?"])
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_whatever_a_profile_holds_it_loads_or_is_a_config_error(tmp_path: Path, tree: object) -> None:
    raw = {**RAW, "profiles": {"eval": {}, "mine": tree}}
    scene = scene_or_reason(tmp_path, yaml.safe_dump(raw))
    if isinstance(scene, str):
        assert "profiles" in scene
    else:
        assert isinstance(tree, dict)
        assert scene.profiles["mine"].model_dump(exclude_unset=True).keys() == tree.keys()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_text_loads_or_is_a_config_error(tmp_path: Path, data: st.DataObject) -> None:
    text = yaml.safe_dump({**RAW, "profiles": {name: RAW["profiles"][name] for name in ("eval", "distractor")}})
    at = data.draw(st.integers(text.index("profiles:"), len(text) - 1))
    damage = data.draw(st.sampled_from(["", "\0", ":", "[", "- ", "\t", "é", "-1", ".nan", "!!python/x ", "&a *a"]))
    scene = scene_or_reason(tmp_path, text[:at] + damage + text[at + data.draw(st.integers(0, 5)) :])
    if isinstance(scene, str):
        assert str(tmp_path) in scene
    else:
        assert scene.profile("eval") == Profile()


@pytest.mark.parametrize(
    "wrong",
    [
        {"joint_offset_deg": [1.5, 0.3]},
        {"joint_offset_deg": [0.0, 6.0]},
        {"push": {"time": [1.0, 2.0], "duration": [0.1, 0.2]}},
        {"push": {"time": [-1.0, 2.0], "duration": [0.1, 0.2], "speed": [0.1, 0.2]}},
    ],
)
def test_an_offset_or_a_push_that_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"profiles.mine.{next(iter(wrong))}"):
        load_raw(tmp_path, with_profile(wrong))


def given_options(**options: str) -> Namespace:
    parsed = build_parser().parse_args(["collect", "--episodes", "1"])
    return Namespace(**{**vars(parsed), **options})


def test_a_resumed_run_keeps_its_profile_and_refuses_another() -> None:
    assert collect._settings(given_options(), {}, DEFAULTS)["profile"] == "eval"
    assert collect._settings(given_options(profile="dark"), {}, DEFAULTS)["profile"] == "dark"
    assert collect._settings(given_options(), {"profile": "dark"}, DEFAULTS)["profile"] == "dark"
    with pytest.raises(SalusError, match="--profile eval: the run was made with 'dark'"):
        collect._settings(given_options(profile="eval"), {"profile": "dark"}, DEFAULTS)
