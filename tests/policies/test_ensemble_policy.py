"""The ensemble as a policy: observation in, chunks in radians out, the same for the same seed and decision."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors

from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.policies.smolvla.loading.checkpoint import load_ensemble, load_member

Observe = Callable[..., Observation]


@pytest.fixture(scope="module")
def policy(model: Path) -> EnsemblePolicy:
    return EnsemblePolicy(expand_members([str(model)]), noise_samples=3)


def test_chunks_are_those_of_lerobots_own_loop_in_radians(
    model: Path, policy: EnsemblePolicy, observe: Observe
) -> None:
    observation = observe(1)
    policy.start_episode(5)
    prediction = policy.predict(observation, 2)
    noise = torch.from_numpy(np.random.default_rng([5, 0, 2]).standard_normal((3, 16, 32), dtype=np.float32))
    for k in range(2):
        folder = model / f"member_{k}"
        own = load_member(str(folder), folder, "cpu")
        overrides = {"tokenizer_processor": {"tokenizer_name": str(model / "vlm")}}
        preprocessor, postprocessor = make_pre_post_processors(
            own.config, str(folder), preprocessor_overrides=overrides
        )
        batch = preprocessor(
            {
                "observation.state": torch.from_numpy(observation.state).float(),
                "task": observation.task,
                **{
                    f"observation.images.{camera}": torch.from_numpy(image).permute(2, 0, 1).float() / 255
                    for camera, image in observation.images.items()
                },
            }
        )
        for s in range(3):
            chunk = postprocessor(own.predict_action_chunk(dict(batch), noise=noise[s][None]))[0].numpy()
            np.testing.assert_allclose(prediction.chunks[k, s], chunk, rtol=0, atol=1e-5)


def test_chunks_have_the_documented_shape_near_the_home_pose(policy: EnsemblePolicy, observe: Observe) -> None:
    policy.start_episode(0)
    prediction = policy.predict(observe(), 0)
    assert prediction.chunks.shape == (2, 3, 16, 8)
    assert prediction.chunks.dtype == np.float64
    assert prediction.finite
    # An untrained policy moves around the home pose [rad], the gripper around .06 m.
    home = np.asarray(load_scene().robot.home)
    assert np.abs(prediction.chunks[..., :7] - home).max() < 1.0
    assert np.abs(prediction.chunks[..., 7] - 0.06).max() < 0.04
    assert prediction.prefix_state is not None
    assert prediction.expert_state is not None
    assert prediction.prefix_state.shape == (64,)
    assert prediction.expert_state.shape == (48,)


def test_same_seed_and_decision_give_the_same_after_any_other_episode(policy: EnsemblePolicy, observe: Observe) -> None:
    policy.start_episode(7)
    first = [policy.predict(observe(decision), decision) for decision in range(2)]
    policy.start_episode(8)
    policy.predict(observe(9, task="something else"), 0)
    policy.start_episode(7)
    for decision in (1, 0):  # also out of order
        again = policy.predict(observe(decision), decision)
        np.testing.assert_array_equal(again.chunks, first[decision].chunks)
        np.testing.assert_array_equal(again.prefix_state, first[decision].prefix_state)
        np.testing.assert_array_equal(again.expert_state, first[decision].expert_state)


def test_decisions_seeds_and_samples_have_noise_of_their_own(policy: EnsemblePolicy, observe: Observe) -> None:
    chunks = []
    for seed, decision in ((7, 0), (7, 1), (8, 0), (-7, 0), (0, 0)):
        policy.start_episode(seed)
        chunks.append(policy.predict(observe(), decision).chunks)
    for i, one in enumerate(chunks):
        assert all(np.abs(one - other).max() > 1e-3 for other in chunks[:i])
        assert np.abs(one[:, 0] - one[:, 1]).max() > 1e-3


def test_members_see_the_same_noise(model: Path, observe: Observe) -> None:
    members = [str(model / "member_0")] * 2
    twins = EnsemblePolicy(members, noise_samples=2, allow_identical_experts=True)
    twins.start_episode(1)
    chunks = twins.predict(observe(), 0).chunks
    np.testing.assert_allclose(chunks[0], chunks[1], rtol=0, atol=1e-6)
    assert np.abs(chunks[:, 0] - chunks[:, 1]).max() > 1e-3


def test_the_first_sample_does_not_depend_on_the_number_of_samples(
    model: Path, policy: EnsemblePolicy, observe: Observe
) -> None:
    single = EnsemblePolicy(expand_members([str(model)]), noise_samples=1)
    for each in (single, policy):
        each.start_episode(3)
    one, three = (each.predict(observe(), 4).chunks for each in (single, policy))
    np.testing.assert_allclose(one[:, 0], three[:, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: dataclasses.replace(o, task="put the blue bin on the table"),
        lambda o: dataclasses.replace(o, joint_position=o.joint_position + 0.2),
        lambda o: dataclasses.replace(o, images={**o.images, "top": 255 - o.images["top"]}),
        lambda o: dataclasses.replace(o, images={**o.images, "top": o.images["side"], "side": o.images["top"]}),
    ],
    ids=["task", "joints", "image", "swapped cameras"],
)
def test_every_part_of_the_observation_is_seen(
    policy: EnsemblePolicy, observe: Observe, change: Callable[[Observation], Observation]
) -> None:
    policy.start_episode(0)
    before, after = (policy.predict(o, 0) for o in (observe(), change(observe())))
    assert before.prefix_state is not None
    assert after.prefix_state is not None
    assert np.abs(before.prefix_state - after.prefix_state).max() > 1e-5


def test_a_joint_that_is_nan_is_not_hidden(policy: EnsemblePolicy, observe: Observe) -> None:
    observation = observe()
    joints = observation.joint_position.copy()
    joints[3] = np.nan
    policy.start_episode(0)
    assert not policy.predict(dataclasses.replace(observation, joint_position=joints), 0).finite


def test_a_missing_camera_is_named(policy: EnsemblePolicy, observe: Observe) -> None:
    observation = observe()
    images = {camera: image for camera, image in observation.images.items() if camera != "side"}
    with pytest.raises(ModelError, match=r"no camera 'side', it has \['front', 'top'\]"):
        policy.predict(dataclasses.replace(observation, images=images), 0)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        # Floats, and with them NaN pixels, never reach the policy.
        (np.full((64, 64, 3), np.nan), "float64"),
        (np.zeros((64, 64, 3), np.float32), "float32"),
        (np.zeros((64, 64, 4), np.uint8), r"\(64, 64, 4\)"),
        (np.zeros((64, 64), np.uint8), r"\(64, 64\)"),
    ],
    ids=["nan", "float", "rgba", "grey"],
)
def test_an_image_that_is_not_uint8_rgb_is_named(
    policy: EnsemblePolicy, observe: Observe, image: np.ndarray, named: str
) -> None:
    observation = observe()
    with pytest.raises(ModelError, match=f"camera 'top' gives .*{named}"):
        policy.predict(dataclasses.replace(observation, images={**observation.images, "top": image}), 0)


def test_facts_name_and_hash_every_member(model: Path, policy: EnsemblePolicy) -> None:
    members = expand_members([str(model)])
    loaded = load_ensemble(members)
    facts = policy.provenance()
    assert [facts[f"member_{k}"] for k in range(2)] == members
    assert tuple(facts[f"member_{k}_hash"] for k in range(2)) == loaded.hashes
    assert facts["vlm_0_hash"] == loaded.vlm_hashes[0]
    assert "vlm_1_hash" not in facts
    assert facts["members"] == "2"
    assert facts["noise_samples"] == "3"
    assert facts["shared_vlm"] == "true"
    assert facts["device"] == "cpu"
    assert facts["torch"] == torch.__version__


def test_different_vlms_are_said_to_be_different(model: Path, tmp_path: Path) -> None:
    init_model(tmp_path / "other", size="tiny", members=1, seed=99)
    with pytest.warns(RuntimeWarning, match="2 members have 2 different VLMs"):
        facts = EnsemblePolicy([str(model / "member_0"), str(tmp_path / "other" / "member_0")]).provenance()
    assert facts["shared_vlm"] == "false"


def test_no_noise_samples_are_refused(model: Path) -> None:
    with pytest.raises(ModelError, match="noise_samples is 0"):
        EnsemblePolicy([str(model / "member_0")], noise_samples=0)
