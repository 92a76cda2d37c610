"""Cameras under other names and places without a camera, as LeRobot has them: accepted, and exact against LeRobot."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_edits import PREPROCESSOR, edit_json, edit_step, fails, members, state
from checkpoint_edits import cameras as visual
from hypothesis import given
from hypothesis import strategies as st
from lerobot.policies.factory import make_pre_post_processors

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.smolvla.cameras import match_cameras, parse_cameras
from salus_vla.policies.smolvla.features import STATE_KEY, image_key
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading.checkpoint import load_member

# Not in this robot's order, so that a wrong one shows.
NAMES = {"front": "camera3", "side": "camera1", "top": "camera2"}
MAP = {image_key(camera): image_key(name) for camera, name in NAMES.items()}
OPTION = ",".join(f"{camera}={name}" for camera, name in NAMES.items())


def rename(model: Path, names: tuple[str, ...], stored: dict[str, str], empty: int = 0) -> None:
    """Makes both members' cameras these, and their pre-processor's map that one."""
    for member in map(Path, members(model)):
        edit_json(member / "config.json", input_features=state(8) | visual(*names), empty_cameras=empty)
        edit_step(
            member / PREPROCESSOR,
            "rename_observations_processor",
            lambda entry: entry["config"].update(rename_map=stored),
        )


def lerobot_chunk(member: str, observation: Observation, noise: torch.Tensor, given: dict[str, str]) -> np.ndarray:
    """What LeRobot alone makes of an observation, (H, 8)."""
    folder = Path(member)
    policy = load_member(member, folder, "cpu", rename=given).float()
    overrides: dict[str, Any] = {"tokenizer_processor": {"tokenizer_name": policy.config.vlm_model_name}}
    if given:
        overrides["rename_observations_processor"] = {"rename_map": given}
    pre, post = make_pre_post_processors(None, str(folder), preprocessor_overrides=overrides)
    images = {
        image_key(camera): torch.from_numpy(image).permute(2, 0, 1).float() / 255.0
        for camera, image in observation.images.items()
    }
    batch = pre({**images, STATE_KEY: torch.from_numpy(observation.state).float(), "task": observation.task})
    with torch.inference_mode():
        return np.asarray(post(policy.predict_action_chunk(batch, noise=noise))[0])


@pytest.mark.parametrize(
    ("names", "stored", "given", "empty"),
    [
        (("camera1", "camera2", "camera3"), MAP, "", 0),
        (("camera1", "camera2", "camera3"), {}, OPTION, 0),
        (("camera1", "camera2", "camera3"), {image_key("front"): image_key("camera9")}, OPTION, 0),
        (("camera1", "camera2", "camera3"), {}, "front=camera2,side=camera1", 1),
        (("camera1", "camera2"), {}, "front=camera2,top=camera1", 1),
        (("top", "front"), {}, "", 2),
    ],
    ids=["of the pipeline", "given", "given instead", "one place empty", "one added empty", "two added empty"],
)
def test_decisions_are_those_of_lerobots_own_pipeline(
    broken: Path,
    observe: Callable[..., Observation],
    names: tuple[str, ...],
    stored: dict[str, str],
    given: str,
    empty: int,
) -> None:
    rename(broken, names, stored, empty)
    policy = EnsemblePolicy(members(broken), noise_samples=1, dtype="fp32", cameras=(given,))
    policy.start_episode(5)
    seen = observe()
    chunks = policy.predict(seen, 0).chunks
    noise = policy._noise(0)
    for member, chunk in zip(members(broken), chunks, strict=True):
        expected = lerobot_chunk(member, seen, noise, parse_cameras([given]))
        np.testing.assert_allclose(chunk[0], expected, rtol=0, atol=2e-5)


def test_the_order_matters_and_is_in_the_provenance(broken: Path, observe: Callable[..., Observation]) -> None:
    rename(broken, ("camera1", "camera2", "camera3"), MAP)
    policy = EnsemblePolicy(members(broken), noise_samples=1)
    assert policy.provenance()["cameras"] == "side=camera1,top=camera2,front=camera3"
    other = EnsemblePolicy(members(broken), noise_samples=1, cameras=("front=camera1,side=camera2,top=camera3",))
    policy.start_episode(5)
    other.start_episode(5)
    one, two = (each.predict(observe(), 0) for each in (policy, other))
    assert np.abs(one.chunks - two.chunks).max() > 1e-3
    assert one.prefix_parts is not None
    assert np.isfinite(one.prefix_parts).all()


def test_a_camera_that_the_policy_does_not_see_has_no_part(broken: Path, observe: Callable[..., Observation]) -> None:
    rename(broken, ("camera1", "camera2"), {}, 1)
    policy = EnsemblePolicy(members(broken), noise_samples=1, cameras=("front=camera2,top=camera1",))
    policy.start_episode(5)
    parts = policy.predict(observe(), 0).prefix_parts
    assert parts is not None
    assert np.isfinite(parts).all(axis=1).tolist() == [True, False, True, True]


def config(*names: str, empty: int = 0) -> SimpleNamespace:
    return SimpleNamespace(image_features={image_key(name): None for name in names}, empty_cameras=empty)


@pytest.mark.parametrize(
    ("policy", "stored", "given", "named"),
    [
        (config("camera1", "camera2", "camera3"), {}, "", "--cameras front=camera1,side=camera2,top=camera3"),
        (config("front", "side"), {}, "", "this robot has"),
        (config("front", "side", "tpo", empty=1), {}, "", "observation.images.tpo"),
        (config("camera1", "camera2", "camera3"), {}, "front=camera1,side=camera2", "empty_cameras 0"),
        (config("camera1", "camera2", "camera3"), {}, "front=camera1,side=camera9", "--cameras side=camera9: the pol"),
        (config("camera1", "top"), {}, "front=top", "both front and top"),
        (config(*CAMERAS), {STATE_KEY: "state"}, "", "renames observation.state to state"),
    ],
)
def test_a_place_that_no_camera_fills_is_named(policy: Any, stored: dict[str, str], given: str, named: str) -> None:
    with pytest.raises(ModelError) as caught:
        match_cameras(policy, stored, parse_cameras([given]), "config.json")
    assert "config.json" in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("front", "expected CAMERA=NAME"),
        ("front=", "expected CAMERA=NAME"),
        ("wrist=camera1", "this robot has no camera 'wrist', it has front, side, top"),
        ("front=a,front=b", "names a camera twice"),
        ("front=a,side=a", "names a camera twice"),
    ],
)
def test_a_wrong_option_is_named(text: str, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        parse_cameras([text])


@given(st.permutations(["camera1", "camera2", "camera3"]))
def test_any_order_is_found(order: list[str]) -> None:
    given_map = parse_cameras([f"{camera}={name}" for camera, name in zip(CAMERAS, order, strict=True)])
    assert given_map == parse_cameras([",".join(f"{image_key(c)}={n}" for c, n in zip(CAMERAS, order, strict=True))])
    found = match_cameras(config("camera1", "camera2", "camera3"), {}, given_map, "config.json")
    assert [order[CAMERAS.index(camera)] for camera in found.seen] == ["camera1", "camera2", "camera3"]


def test_the_option_is_the_remedy_that_is_named(broken: Path) -> None:
    rename(broken, ("camera1", "camera2", "camera3"), {})
    fails(members(broken), broken / "member_0" / "config.json", "model.cameras")
