"""The scripted expert in the simulator: it does the task, disturbed or not, and plans from what is there."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import ModelError
from salus_vla.contract.forward_kinematics import tool_height, tool_poses
from salus_vla.contract.geometry import quaternion_of
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import Observation, Pose, SimStep
from salus_vla.control.controller import make_controller
from salus_vla.control.disturbance import Disturbance, Disturbances
from salus_vla.episode.run_episode import EpisodeResult, observe, run_episode
from salus_vla.policies.scripted.phases import CLOSED, OPEN, Phase
from salus_vla.policies.scripted.scripted_policy import ScriptedPolicy
from salus_vla.simulation.mujoco.kinematics import Kinematics, pointing_down, yaw_of_tool
from salus_vla.simulation.mujoco.simulator import Simulator

SCENE = load_scene()
HOME = SCENE.robot.home_position[:7]
SEED = 1003


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SCENE) as made:
        yield made


@pytest.fixture(scope="module")
def expert() -> ScriptedPolicy:
    return ScriptedPolicy(SCENE)


@pytest.fixture(scope="module")
def kinematics(simulator: Simulator) -> Kinematics:
    return Kinematics(simulator.model, HOME)


def run(
    simulator: Simulator, expert: ScriptedPolicy, seed: int, disturbances: Disturbances | None = None
) -> tuple[EpisodeResult, list[Observation], list[Phase]]:
    disturbance = Disturbance(disturbances) if disturbances is not None else None
    controller = make_controller(expert, SCENE, filters=[disturbance] if disturbance else [])
    seen: list[Observation] = []
    result = run_episode(
        simulator, controller, seed, images=False, on_observation=lambda observation, _: seen.append(observation)
    )
    return result, seen, [expert.phase(observation) for observation in seen]


@pytest.fixture(scope="module")
def episode(simulator: Simulator, expert: ScriptedPolicy) -> tuple[EpisodeResult, list[Observation], list[Phase]]:
    return run(simulator, expert, SEED)


def looking_at(simulator: Simulator, **poses: Pose) -> Observation:
    """The observation after a reset."""
    frame: SimStep = simulator.reset(0)
    return observe(replace(frame, poses={**frame.poses, **poses}), {}, "")


def on_table(x: float, y: float, rotation: np.ndarray) -> Pose:
    return Pose(np.array([x, y, SCENE.objects.red_cube.edge / 2.0]), quaternion_of(rotation))


def test_the_phases_come_in_order(episode) -> None:
    result, _, phases = episode
    assert result.outcome is Outcome.SUCCESS
    assert 40 <= result.decisions <= 70
    order = [phase for i, phase in enumerate(phases) if i == 0 or phase is not phases[i - 1]]
    assert order == [Phase.REACH, Phase.CLOSE, Phase.CARRY, Phase.RELEASE, Phase.RETREAT]


def test_no_chunk_is_refused_and_the_table_is_hardly_touched(episode) -> None:
    result, _, _ = episode
    assert {command.hold_reason for command in result.commands} == {""}
    chunks = np.array([decision.chunk for decision in result.decided])
    assert chunks.shape[1:] == (ScriptedPolicy.chunk_length, 8)
    assert (chunks >= PANDA.all_lower).all()
    assert (chunks <= PANDA.all_upper).all()
    assert set(np.unique(chunks[..., 7])) == {CLOSED, OPEN}
    pressed = [
        contact.force
        for frame in result.frames
        for contact in frame.contacts
        if "table" in (contact.body_a, contact.body_b) and "red_cube" not in (contact.body_a, contact.body_b)
    ]
    assert max(pressed, default=0.0) < 5.0


def test_consecutive_plans_agree(episode) -> None:
    result, _, _ = episode
    inconsistency = np.array([decision.signals.values[7] for decision in result.decided[1:]])
    assert np.median(inconsistency) < 0.004
    assert inconsistency.max() < 0.1


def test_the_arm_moves_at_the_speed_that_is_meant(episode, kinematics: Kinematics) -> None:
    """The lead over the servos' lag makes the measured arm as fast as the field, not half as fast."""
    _, seen, phases = episode
    tool = np.array([kinematics.tool(observation.arm)[0] for observation in seen])
    speed = np.linalg.norm(np.diff(tool, axis=0), axis=1) / 0.1
    reaching = speed[4 : phases.index(Phase.CLOSE) - 10]
    assert reaching == pytest.approx(0.3, rel=0.15)


def test_a_plan_depends_on_the_observation_alone(expert: ScriptedPolicy, episode) -> None:
    _, seen, _ = episode
    again = ScriptedPolicy(SCENE)
    again.start_episode(99)
    for i in (30, 2, 21):
        assert np.array_equal(again.predict(seen[i], 0).chunks, expert.predict(seen[i], i).chunks)


@pytest.mark.parametrize("seed", [1040, 1041])
def test_it_succeeds_when_it_is_disturbed(simulator: Simulator, expert: ScriptedPolicy, seed: int) -> None:
    result, _, _ = run(simulator, expert, seed, Disturbances())
    assert result.outcome is Outcome.SUCCESS
    assert {command.hold_reason for command in result.commands} == {""}


CALM = Disturbances(noise=0.0, offset=0.0, pause_share=0.0, regrasp_share=0.0, early_share=0.0, loss_share=0.0)


def test_after_a_closing_before_its_time_it_opens_and_delivers(simulator: Simulator, expert: ScriptedPolicy) -> None:
    early = replace(CALM, early_share=1.0, early_heights=(0.12, 0.12), early_s=(1.0, 1.0))
    result, _, phases = run(simulator, expert, SEED, early)
    assert result.outcome is Outcome.SUCCESS
    assert [event.kind for event in result.events][:2] == ["MISS_TRY", "EMPTY_CLOSING"]
    assert phases.index(Phase.CLOSE) > 20


def test_a_cube_that_is_lost_in_the_air_is_grasped_again(simulator: Simulator, expert: ScriptedPolicy) -> None:
    lost = replace(CALM, loss_share=1.0, loss_delay_s=(0.7, 0.7))
    result, _, phases = run(simulator, expert, 1000, lost)  # where it does not fall beside the bin's wall
    assert result.outcome is Outcome.SUCCESS
    assert sum(pair == (Phase.REACH, Phase.CLOSE) for pair in pairwise(phases)) == 2


def test_a_cube_that_falls_back_is_grasped_again(simulator: Simulator, expert: ScriptedPolicy) -> None:
    again = replace(CALM, regrasp_share=1.0, regrasp_delay_s=(0.4, 0.4))
    result, seen, phases = run(simulator, expert, SEED, again)
    assert result.outcome is Outcome.SUCCESS
    assert sum(pair == (Phase.REACH, Phase.CLOSE) for pair in pairwise(phases)) == 2
    first_carry = phases.index(Phase.CARRY)
    falls_back = phases.index(Phase.REACH, first_carry)
    heights = [observation.poses["red_cube"].position[2] for observation in seen if observation.poses]
    assert max(heights[first_carry : falls_back + 1]) > 0.03


@pytest.mark.parametrize(("x", "y"), [(0.66, 0.1), (0.42, 0.36)])
def test_it_reaches_beyond_the_training_area(simulator: Simulator, expert: ScriptedPolicy, x: float, y: float) -> None:
    observation = looking_at(simulator, red_cube=on_table(x, y, pointing_down(0.5)))
    chunk = expert.predict(observation, 0).chunks[0, 0]
    assert (chunk[:, :7] > PANDA.lower).all()
    assert (chunk[:, :7] < PANDA.upper).all()


def test_a_cube_that_lies_on_another_side_is_seen_at_the_same_angle(
    simulator: Simulator, expert: ScriptedPolicy
) -> None:
    upright = pointing_down(0.3) @ np.diag([1.0, -1.0, -1.0])
    tumbled = upright @ np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    chunks = [
        expert.predict(looking_at(simulator, red_cube=on_table(0.5, 0.1, turned)), 0).chunks
        for turned in (upright, tumbled)
    ]
    assert chunks[0] == pytest.approx(chunks[1], abs=1e-6)


def test_without_ground_truth_it_says_what_is_missing(simulator: Simulator, expert: ScriptedPolicy) -> None:
    blind = replace(looking_at(simulator), poses=None)
    with pytest.raises(ModelError, match="ground-truth poses of red_cube and blue_bin"):
        expert.predict(blind, 0)


def test_the_inverse_kinematics_have_one_solution_whatever_the_start(kinematics: Kinematics) -> None:
    """So demonstrations of one tool pose show one arm pose."""
    random = np.random.default_rng(0)
    for _ in range(10):
        position = random.uniform([0.36, -0.4, 0.02], [0.66, 0.36, 0.3])
        yaw = random.uniform(-1.0, 1.0)
        first = kinematics.solve(HOME, position, pointing_down(yaw), damping=0.005, pull=0.6)
        start = first + random.uniform(-0.1, 0.1, 7)
        other = kinematics.solve(start, position, pointing_down(yaw), damping=0.005, pull=0.6)
        assert other == pytest.approx(first, abs=5e-3)
        at, axes = kinematics.tool(other)
        assert at == pytest.approx(position, abs=2e-4)
        assert yaw_of_tool(axes) == pytest.approx(yaw, abs=2e-4)


def test_the_height_of_the_tool_without_a_model_is_the_models(kinematics: Kinematics) -> None:
    random = np.random.default_rng(0)
    for arm in random.uniform(PANDA.lower, PANDA.upper, (20, 7)):
        position, rotation = kinematics.tool(arm)
        assert tool_height(arm) == pytest.approx(position[2], abs=1e-9)
        closed_form = tool_poses(arm)
        np.testing.assert_allclose(closed_form[0][0], position, atol=1e-9)
        np.testing.assert_allclose(closed_form[1][0], rotation, atol=1e-6)
