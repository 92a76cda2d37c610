"""Whatever is asked of the limiter, what leaves it is inside every limit of the arm.

The checker only differences the commands; it shares no code with the limiter.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.robot_limits import PANDA
from salus_vla.control.limiter import LimitedCommand, Limiter, Refusal

DT = 0.02
# Franka's data sheet for the FER (and the gripper's width), typed in again.
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973, 0.0])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973, 0.08])
SPEED = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100, 0.4])
ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0, 8.0])
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398, 0.08])


def started(pose: np.ndarray = HOME) -> Limiter:
    limiter = Limiter(PANDA, DT)
    limiter.start(pose)
    return limiter


def assert_inside_limits(start: np.ndarray, commands: list[np.ndarray]) -> None:
    """Positions, and first and second differences beginning at rest in `start`."""
    path = np.array([start, start, *commands])
    assert np.isfinite(path).all()
    assert (path >= LOWER).all()
    assert (path <= UPPER).all()
    velocity = np.diff(path, axis=0) / DT
    acceleration = np.diff(velocity, axis=0) / DT
    assert (np.abs(velocity) <= SPEED * (1.0 + 1e-9)).all(), (np.abs(velocity) / SPEED).max()
    assert (np.abs(acceleration) <= ACCELERATION * (1.0 + 1e-9)).all(), (np.abs(acceleration) / ACCELERATION).max()


def moved(joint: int, value: float) -> np.ndarray:
    target = HOME.copy()
    target[joint] = value
    return target


def moving(frames: int = 20) -> tuple[Limiter, list[np.ndarray]]:
    """An arm at speed in several joints, and the commands that brought it there."""
    limiter = started()
    direction = np.array([1.0, -0.4, 0.3, 0.5, -0.7, 0.9, 0.2, -0.02])
    commands = [limiter.step(HOME + direction * 0.4 * (i * DT) ** 2 * 10.0).position for i in range(1, frames + 1)]
    return limiter, commands


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "refusal", "words"),
    [
        pytest.param(moved(2, np.nan), Refusal.NON_FINITE, "nan", id="NaN"),
        pytest.param(moved(7, np.inf), Refusal.NON_FINITE, "inf", id="infinite gripper"),
        pytest.param(HOME[:7], Refusal.WRONG_LENGTH, "(7,)", id="too short"),
        pytest.param(np.append(HOME, 0.0), Refusal.WRONG_LENGTH, "(9,)", id="too long"),
        pytest.param(HOME[None], Refusal.WRONG_LENGTH, "(1, 8)", id="one dimension too many"),
        pytest.param(np.zeros(8), Refusal.POSITION_LIMIT, "joint 4 target 0.0000 outside", id="zeros"),
        pytest.param(moved(5, -0.0176), Refusal.POSITION_LIMIT, "joint 6", id="a hair below a limit"),
        pytest.param(moved(7, 0.0901), Refusal.POSITION_LIMIT, "gripper width", id="gripper too wide"),
        pytest.param(moved(7, -0.0101), Refusal.POSITION_LIMIT, "gripper width", id="gripper below closed"),
        pytest.param(moved(0, 1.09), Refusal.JUMP, "joint 1 target 1.0900 is 1.0900 rad", id="jump"),
        pytest.param(moved(6, -0.6), Refusal.JUMP, "joint 7", id="jump backwards"),
    ],
)
@pytest.mark.parametrize("at_rest", [True, False])
def test_a_bad_target_is_refused_whole_by_name(target: np.ndarray, refusal: Refusal, words: str, at_rest: bool) -> None:
    limiter, twin = (started(), started()) if at_rest else (moving()[0], moving()[0])
    if not at_rest and refusal is Refusal.JUMP:
        target = limiter.position + (target - HOME)
        words = words.split(" target")[0]
    result = limiter.step(target)
    assert (result.refusal, result.limited) == (refusal, False)
    assert words in result.detail
    np.testing.assert_array_equal(result.position, twin.brake().position)
    if at_rest:
        np.testing.assert_array_equal(result.position, HOME)


@pytest.mark.parametrize("joint", range(7))
def test_the_largest_allowed_jump_is_half_a_second_of_full_speed(joint: int) -> None:
    start = (LOWER + UPPER) / 2.0
    for factor, refusal in ((0.999, None), (1.001, Refusal.JUMP)):
        target = start.copy()
        target[joint] += 0.5 * SPEED[joint] * factor
        assert started(start).step(target).refusal == refusal


def test_the_gripper_may_be_asked_to_cross_its_whole_range() -> None:
    assert started().step(moved(7, 0.0)).refusal is None


def test_a_refusal_does_not_outlive_its_target() -> None:
    limiter = started()
    limiter.step(moved(0, np.nan))
    result = limiter.step(moved(0, 0.001))
    assert result.refusal is None
    np.testing.assert_allclose(result.position, moved(0, 0.001), atol=1e-15)


# -- start -------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_first_command_is_next_to_the_measured_pose(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pose = generator.uniform(LOWER, UPPER)
    target = np.clip(pose + generator.uniform(-0.5, 0.5, 8) * SPEED, LOWER, UPPER)
    first = started(pose).step(target).position
    assert (np.abs(first - pose) <= ACCELERATION * DT**2 * (1.0 + 1e-9)).all()


def test_a_pose_a_hair_outside_its_range_starts_at_the_limit() -> None:
    limiter = started(moved(5, 3.7530))
    assert limiter.position[5] == 3.7525
    assert limiter.at_rest


def test_stop_forgets_where_the_arm_was() -> None:
    limiter, _ = moving()
    limiter.stop()
    assert not limiter.started
    limiter.start(HOME)
    assert limiter.started
    assert limiter.at_rest
    np.testing.assert_array_equal(limiter.position, HOME)


def test_the_position_given_out_is_a_copy() -> None:
    limiter = started()
    limiter.position[0] = 9.0
    limiter.brake().position[0] = 9.0
    np.testing.assert_array_equal(limiter.position, HOME)


# -- the invariant -----------------------------------------------------------------------------------------------------


def _stream(kind: str, generator: np.random.Generator, position: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """One target of a kind; `corner` is a corner of the joint range, fixed for a segment of the stream."""
    match kind:
        case "random":
            return generator.uniform(LOWER - 0.1, UPPER + 0.1)
        case "sprint":  # as fast as can be asked, into a corner
            return np.clip(position + np.sign(corner - position) * 0.49 * SPEED, LOWER, UPPER)
        case "some sprint":  # a few joints only, so that braking times differ
            target = np.clip(position + np.sign(corner - position) * 0.49 * SPEED, LOWER, UPPER)
            return np.where(generator.random(8) < 0.5, position, target)
        case "jitter":
            return np.clip(position + generator.normal(0.0, 0.03, 8), LOWER, UPPER)
        case "corner":
            return corner
        case "jump":
            return position + generator.choice([-1.0, 1.0], 8) * 0.6 * SPEED
        case "extreme":
            return generator.choice([-1e308, 1e308, -1e-308, 0.0], 8)
        case "bad number":
            target = position.copy()
            target[generator.integers(8)] = generator.choice([np.nan, np.inf, -np.inf])
            return target
        case "bad length":
            return np.zeros(int(generator.integers(0, 12)))
    raise AssertionError(kind)


KINDS = ("random", "sprint", "some sprint", "jitter", "corner", "jump", "extreme", "bad number", "bad length")
SEGMENTS, SEGMENT, EXAMPLES = 8, 12, 40  # 3840 steps


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=SEGMENTS, max_size=SEGMENTS),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_stream_of_targets_gives_a_command_outside_the_limits(kinds: list[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    pose = generator.uniform(LOWER, UPPER)
    limiter = started(pose)
    commands = []
    for kind in kinds:
        corner = np.where(generator.random(8) < 0.5, LOWER, UPPER)
        for _ in range(SEGMENT):
            commands.append(limiter.step(_stream(kind, generator, limiter.position, corner)).position)
    assert_inside_limits(pose, commands)


def test_braking_stops_a_joint_that_approaches_its_limit_beside_a_slower_braking_one() -> None:
    """Braking along the path takes as long as the weakest joint needs; another may be at its limit before."""
    pose = moved(5, 2.6)
    limiter = started(pose)
    commands: list[np.ndarray] = []
    while limiter.position[5] < 3.6:
        target = pose.copy()
        target[[1, 5]] = np.minimum(limiter.position[[1, 5]] + 0.9, UPPER[[1, 5]])
        commands.append(limiter.step(target).position)
    while not limiter.at_rest:
        commands.append(limiter.brake().position)
    assert_inside_limits(pose, commands)


# -- following ---------------------------------------------------------------------------------------------------------


def test_a_feasible_path_passes_unchanged_and_is_not_reported() -> None:
    limiter = started(HOME - np.array([0.0] * 7 + [0.03]))
    start = limiter.position
    size = np.array([0.1, -0.06, 0.08, 0.1, -0.1, 0.15, 0.15, 0.02])
    for i in range(1, 200):
        target = start + size * (1.0 - np.cos(10.0 * i * DT)) / 2.0
        result = limiter.step(target)
        assert (result.limited, result.refusal, result.detail) == (False, None, "")
        np.testing.assert_allclose(result.position, target, rtol=0.0, atol=1e-12)


def test_a_path_that_is_too_fast_is_reported_as_limited() -> None:
    assert started().step(moved(0, 0.1)).limited


def converge(start: np.ndarray, target: np.ndarray, frames: int = 150) -> list[LimitedCommand]:
    limiter = started(start)
    return [limiter.step(target) for _ in range(frames)]


def start_and_target(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    start = generator.uniform(LOWER, UPPER)
    target = np.clip(start + generator.uniform(-0.5, 0.5, 8) * SPEED, LOWER, UPPER)
    return start, target


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_constant_target_is_reached_and_kept(seed: int) -> None:
    start, target = start_and_target(seed)
    results = converge(start, target)
    assert_inside_limits(start, [result.position for result in results])
    for result in results[100:]:  # two seconds: four times what full speed needs
        np.testing.assert_allclose(result.position, target, rtol=0.0, atol=1e-12)
        assert not result.limited


def test_a_constant_target_is_not_overshot() -> None:
    for seed in range(20):
        start, target = start_and_target(seed)
        beyond = [(result.position - target) * np.sign(target - start) for result in converge(start, target)]
        assert np.max(beyond) <= 1e-9


@given(fraction=st.floats(0.1, 0.7), joint=st.integers(0, 6), side=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=30, deadline=None)
def test_a_target_that_suddenly_moves_is_caught_up_with(fraction: float, joint: int, side: float) -> None:
    """Plans are linear between rows, so their speed jumps at each row; the arm does not stay behind."""
    speed = side * fraction * SPEED[joint]
    start = (LOWER + UPPER) / 2.0
    limiter = started(start)
    lags = []
    for i in range(1, 41):
        target = start.copy()
        target[joint] += speed * i * DT
        result = limiter.step(target)
        lags.append(abs(result.position[joint] - target[joint]))
    # It falls behind by v^2 / 2a while it speeds up; at least 30 % of its own speed is left to make up for that.
    assert max(lags) <= speed**2 / (2.0 * ACCELERATION[joint]) + abs(speed) * DT
    assert max(lags[35:]) <= 1e-9
    assert not result.limited


# -- braking -----------------------------------------------------------------------------------------------------------


def test_braking_keeps_the_direction_and_stops_all_joints_together() -> None:
    limiter, commands = moving()
    steps = [commands[-1] - commands[-2]]
    while not limiter.at_rest:
        before = limiter.position
        commands.append(limiter.brake().position)
        steps.append(commands[-1] - before)
        assert len(steps) < 50
    assert_inside_limits(HOME, commands)
    path = steps[0] / np.linalg.norm(steps[0])
    lengths = np.array([np.linalg.norm(step) for step in steps])
    assert len(steps) > 5
    assert (np.diff(lengths) < 0.0).all()
    assert lengths[-1] == 0.0
    for step, length in zip(steps, lengths, strict=True):
        np.testing.assert_allclose(step, path * length, rtol=0.0, atol=1e-12)


def test_braking_is_as_hard_as_the_weakest_joint_allows() -> None:
    limiter, commands = moving()
    velocity = np.abs(commands[-1] - commands[-2]) / DT
    frames = 0
    while not limiter.at_rest:
        limiter.brake()
        frames += 1
    assert frames == pytest.approx((velocity / ACCELERATION).max() / DT, abs=1.0)


def test_braking_at_rest_does_not_move() -> None:
    limiter = started()
    assert limiter.brake() == LimitedCommand(pytest.approx(HOME, abs=0.0))
    assert limiter.at_rest


# -- gripper -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "reached"), [(0.0899, 0.08), (-0.0099, 0.0), (0.05, 0.05)])
def test_the_gripper_saturates_within_its_slack(asked: float, reached: float) -> None:
    limiter = started(moved(7, 0.04))
    results = [limiter.step(moved(7, asked)) for _ in range(60)]
    assert {result.refusal for result in results} == {None}
    assert results[-1].position[7] == pytest.approx(reached, abs=1e-12)
    assert not results[-1].limited
    np.testing.assert_array_equal(results[-1].position[:7], HOME[:7])


def test_the_limits_of_the_robot_are_those_of_its_data_sheet() -> None:
    np.testing.assert_array_equal(PANDA.all_lower, LOWER)
    np.testing.assert_array_equal(PANDA.all_upper, UPPER)
    np.testing.assert_array_equal(PANDA.all_velocity, SPEED)
    np.testing.assert_array_equal(PANDA.all_acceleration, ACCELERATION)
