"""One episode: what is stored is what `run_episode` gives, whatever ran before."""

import numpy as np
import pytest

from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.types import Observation
from salus_vla.control.controller import make_controller
from salus_vla.control.decision import Decision
from salus_vla.control.disturbance import Disturbance
from salus_vla.data.rollouts.episode_maker import EpisodeMaker
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import encode
from salus_vla.episode.run_episode import run_episode
from salus_vla.policies.registry import make_policy
from salus_vla.simulation.mujoco.simulator import Simulator


@pytest.mark.parametrize(
    "settings",
    [
        RolloutSettings(policy="hold", max_decisions=3, profile="dark", task="wave"),
        RolloutSettings(policy="ensemble", model=BUILTIN_TINY, max_decisions=2, images=False),
        RolloutSettings(policy="expert", max_decisions=15, profile="train", disturb=True, images=False),
    ],
    ids=["hold", "ensemble without images", "disturbed expert"],
)
def test_a_stored_episode_is_what_run_episode_gives(settings: RolloutSettings) -> None:
    scene = load_scene()
    seen: list[Observation] = []

    def keep(observation: Observation, decision: Decision) -> None:
        seen.append(observation)

    policy = make_policy(settings.policy, scene=scene, members=[settings.model])
    controller = make_controller(policy, scene, filters=[Disturbance()] if settings.disturb else [])
    with Simulator(scene, profile=settings.profile) as simulator:
        result = run_episode(
            simulator,
            controller,
            21,
            task=settings.task,
            max_decisions=settings.max_decisions or None,
            on_observation=keep,
            images=settings.images or policy.needs_images,
        )
    with EpisodeMaker(settings) as maker:
        maker.make(20)
        stored = maker.make(21)

    start = result.frames[0].stamp_ns
    assert result.event is not None
    assert (stored.seed, stored.profile, stored.policy, stored.task) == (
        21,
        settings.profile,
        settings.policy,
        settings.task,
    )
    assert (stored.outcome, stored.decisions, stored.event) == (result.outcome, result.decisions, result.event.detail)
    assert stored.event_stamp_ns == result.event.stamp_ns - start
    assert stored.stamps_ns.tolist() == [item.stamp_ns - start for item in seen]
    assert stored.frame_stamps_ns.tolist() == [frame.stamp_ns - start for frame in result.frames]
    np.testing.assert_array_equal(stored.state, [item.state for item in seen])
    np.testing.assert_array_equal(stored.joint_velocity, [item.joint_velocity for item in seen])
    np.testing.assert_array_equal(stored.commands, [command.position for command in result.commands])
    np.testing.assert_array_equal(stored.frame_position, [frame.joint_position for frame in result.frames])
    cube = [frame.poses["red_cube"] for frame in result.frames]
    np.testing.assert_array_equal(stored.cube_pose, [[*pose.position, *pose.quaternion] for pose in cube])
    chunks = [decision.chunk for decision in result.decided]
    np.testing.assert_array_equal(stored.planned, [chunk[0] for chunk in chunks if chunk is not None])
    signals = [decision.signals for decision in result.decided]
    np.testing.assert_array_equal(stored.signals, [item.values for item in signals])
    np.testing.assert_array_equal(stored.member_actions, [item.member_actions for item in signals])
    assert stored.valid.tolist() == [item.valid for item in signals]
    for name, measured in (("frame_velocity", "joint_velocity"), ("frame_effort", "joint_effort")):
        np.testing.assert_array_equal(
            getattr(stored, name), np.array([getattr(frame, measured) for frame in result.frames], dtype=np.float32)
        )
    for name in ("expert_state", "prefix_parts"):
        states = [getattr(decision, name) for decision in result.decided]
        if settings.policy == "ensemble":
            np.testing.assert_array_equal(getattr(stored, name), states)
            assert np.isfinite(getattr(stored, name)).all()
        else:
            assert getattr(stored, name) is None
    assert tuple(stored.images) == (CAMERAS if settings.images else ())
    for camera, pictures in stored.images.items():
        np.testing.assert_array_equal(np.array(list(pictures)), [item.images[camera] for item in seen])


def test_a_decision_that_is_not_finite_is_stored_as_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = set()
    with EpisodeMaker(RolloutSettings(policy="hold", task="wave", max_decisions=2, images=False)) as maker:
        policy = maker._controller.policy
        predict = policy.predict

        def broken(observation: Observation, decision: int) -> object:
            tasks.add(observation.task)
            prediction = predict(observation, decision)
            if decision == 1:
                prediction.chunks[0, 0, 3, 2] = np.inf
            return prediction

        monkeypatch.setattr(policy, "predict", broken)
        stored = maker.make(1)
    assert np.isnan(stored.planned).all(axis=1).tolist() == [False, True, False]
    assert tasks == {stored.task} == {"wave"}


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        EpisodeMaker(RolloutSettings(policy="hold", profile="nowhere"))
    with pytest.raises(ModelError, match="nobody"):
        EpisodeMaker(RolloutSettings(policy="nobody"))


def test_the_facts_name_what_decides_about_the_episodes() -> None:
    with EpisodeMaker(RolloutSettings(policy="hold")) as maker:
        assert {"salus", "version.mujoco", "scene_hash", "policy.policy"} <= maker.provenance().keys()


def test_somebody_takes_over_and_each_decision_says_who_acted() -> None:
    settings = RolloutSettings(policy="hold", takeover="expert", when="random", max_decisions=70, images=False)
    with EpisodeMaker(settings) as maker:
        one = maker.make(21)
        assert maker.provenance()["policy.takeover_when"] == "random"
    with EpisodeMaker(settings) as maker:
        maker.make(20)
        again = maker.make(21)
    assert encode(one, "one") == encode(again, "again")
    assert one.taken_over is not None
    assert one.taken_over_ns is not None
    first = int(one.taken_over.argmax())
    assert 5 <= first < 60
    assert one.taken_over.tolist() == [0] * first + [1] * (len(one.taken_over) - first)
    assert one.taken_over_ns == one.stamps_ns[first]
    assert (one.policy, one.taken_over_by, one.taken_over_when) == ("hold", "expert", "random")
    still = np.ptp(one.frame_position[: 5 * first, :7], axis=0)
    assert still.max() < 0.01
    assert np.ptp(one.frame_position[5 * first :, :7], axis=0).max() > 0.1
    assert one.frames_taken_over.sum() == len(one.commands) - 5 * first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"when": "stuck"}, "--when stuck: needs --takeover"),
        ({"takeover": "expert"}, "--takeover expert: needs --when, stuck|crooked|random"),
        ({"takeover": "expert", "when": "never"}, "'never' is not known"),
        ({"takeover": "expert", "when": "stuck", "policy": "expert"}, "acts already"),
    ],
)
def test_a_takeover_that_makes_no_sense_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        RolloutSettings(**given)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_settings_from_before_there_were_takeovers_are_read() -> None:
    arguments = RolloutSettings(policy="hold").to_arguments()
    del arguments["takeover"], arguments["when"]
    assert RolloutSettings.from_arguments(arguments, "run.json") == RolloutSettings(policy="hold")
