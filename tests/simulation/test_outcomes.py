"""Scripted motions in the real simulator end in each outcome; nothing about contacts is faked."""

from collections.abc import Iterator

import numpy as np
import pytest
from scripted import CLOSED, OPEN, Script

from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract.bodies import FINGER_BODIES
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Pose
from salus_vla.episode.outcome_monitor import MISS_TRY, TaskMonitor
from salus_vla.simulation.mujoco.simulator import Simulator

SCENE = load_scene()
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SCENE) as simulator:
        yield simulator


def begin(
    simulator: Simulator,
    seed: int = 0,
    cube: tuple[float, float] | None = None,
    max_decisions: int | None = None,
) -> Script:
    poses = {} if cube is None else {"red_cube": Pose(np.array([*cube, 0.025]), UPRIGHT)}
    simulator.reset(seed, poses=poses)
    return Script(simulator, TaskMonitor(simulator.scene, max_decisions=max_decisions))


def outcome_of(script: Script) -> Outcome | None:
    assert script.events, "nothing happened"
    assert script.events[-1].stamp_ns == script.simulator.frame.stamp_ns
    return script.events[-1].outcome


@pytest.mark.parametrize("seed", range(6))
def test_pick_and_place_succeeds(simulator: Simulator, seed: int) -> None:
    script = begin(simulator, seed)
    script.pick()
    assert script.monitor.holding
    script.place()
    assert outcome_of(script) is Outcome.SUCCESS
    assert not script.monitor.holding


def with_cube(**changes: float) -> Scene:
    cube = SCENE.objects.red_cube.model_copy(update=changes)
    return SCENE.model_copy(update={"objects": SCENE.objects.model_copy(update={"red_cube": cube})})


@pytest.mark.parametrize("changes", [{"friction": 0.4}, {"mass": 0.2}, {"edge": 0.04}])
def test_pick_and_place_forgives_a_slippery_heavy_or_small_cube(changes: dict[str, float]) -> None:
    with Simulator(with_cube(**changes)) as simulator:
        script = begin(simulator, 1)
        script.pick()
        script.place()
        assert outcome_of(script) is Outcome.SUCCESS


def test_pressing_the_table_is_a_collision(simulator: Simulator) -> None:
    script = begin(simulator)
    script.move((0.45, 0.0, 0.1))
    assert script.events == []
    script.move((0.45, 0.0, -0.05), speed=0.2)
    assert outcome_of(script) is Outcome.COLLISION
    assert "table" in script.events[-1].detail


def test_hitting_the_bin_is_a_collision(simulator: Simulator) -> None:
    script = begin(simulator)
    script.move((0.45, -0.1, 0.04), 0.0)
    assert script.events == []
    script.move((0.45, -0.3, 0.04))
    assert outcome_of(script) is Outcome.COLLISION
    assert "blue_bin" in script.events[-1].detail


def test_pressing_the_held_cube_on_the_table_is_a_collision(simulator: Simulator) -> None:
    script = begin(simulator)
    script.pick(lift=0.1)
    x, y, _ = script.position
    script.move((x, y, 0.0), speed=0.2)
    assert outcome_of(script) is Outcome.COLLISION
    assert script.events[-1].detail.startswith("red_cube hit table")


def test_folding_the_arm_into_itself_is_a_collision(simulator: Simulator) -> None:
    script = begin(simulator)
    for angle in np.linspace(0.0, 1.0, 75):
        # Elbow and wrist bend until the hand meets the lower links.
        script.arm = SCENE.robot.home_position[:7] + angle * np.array([0.0, -0.5, 0.0, -0.6, 0.0, -1.3, 0.0])
        script.wait(SCENE.rates.frame_dt)
    script.wait(0.5)
    assert outcome_of(script) is Outcome.COLLISION
    assert script.events[-1].detail.count("panda_") == 2


def test_a_grip_that_grows_weak_drops_the_cube(simulator: Simulator) -> None:
    script = begin(simulator, 2)
    script.pick()
    assert script.monitor.holding
    # Ease the fingers towards the cube's own width: they still press, less and less, until its weight pulls it out.
    for width in np.linspace(0.022, 0.0249, 60):
        script.gripper(float(width), SCENE.rates.frame_dt)
    script.wait(2.0)
    assert outcome_of(script) is Outcome.DROP
    width = simulator.frame.joint_position[7:].sum()
    assert width < SCENE.objects.red_cube.edge + SCENE.outcomes.open_margin


def test_opening_the_gripper_in_mid_air_is_no_drop(simulator: Simulator) -> None:
    script = begin(simulator, 2)
    script.pick()
    script.gripper(OPEN, seconds=1.0)
    assert script.events == []
    assert script.cube[2] < 0.03


def test_closing_three_times_on_nothing_is_a_miss(simulator: Simulator) -> None:
    script = begin(simulator, cube=(0.55, 0.25))
    script.move((0.45, 0.0, 0.1))
    for _ in range(3):
        script.gripper(CLOSED, 0.4)
        script.gripper(OPEN, 0.4)
    assert [event.kind for event in script.events] == [MISS_TRY, MISS_TRY, "MISS"]
    assert outcome_of(script) is Outcome.MISS


def test_pushing_the_cube_off_the_table_is_a_miss(simulator: Simulator) -> None:
    script = begin(simulator, cube=(0.6, 0.0))
    script.move((0.5, 0.0, 0.1), 0.0)
    script.move((0.5, 0.0, 0.03))
    script.gripper(0.016)  # narrower than the cube, wider than an empty closing
    script.move((0.76, 0.0, 0.03), speed=0.5)
    script.wait(0.3)
    script.move((0.5, 0.0, 0.1))
    script.wait(1.0)
    assert outcome_of(script) is Outcome.MISS
    assert "cube" in script.events[-1].detail
    assert script.cube[0] > 0.75


def test_doing_nothing_times_out_after_the_last_decision(simulator: Simulator) -> None:
    script = begin(simulator, max_decisions=10)
    start = simulator.frame.stamp_ns
    script.wait(5.0)
    assert outcome_of(script) is Outcome.TIMEOUT
    assert script.events[-1].stamp_ns - start == 10 * SCENE.rates.decision_dt_ns


def test_ground_truth_and_contacts_tell_the_same_story(simulator: Simulator) -> None:
    script = begin(simulator, 4)
    x, y, _ = script.cube
    assert not script.monitor.holding
    script.pick()
    pairs = {pair for pair in simulator._contacts.forces if "red_cube" in pair}
    assert pairs == {(finger, "red_cube") for finger in FINGER_BODIES}
    assert min(simulator._contacts.forces[pair] for pair in pairs) > SCENE.outcomes.grasp_force
    assert np.hypot(script.cube[0] - x, script.cube[1] - y) < 0.03
