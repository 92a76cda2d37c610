"""The controller with hand-written policies: what the arm is told when the policy is good, bad or silent."""

from collections.abc import Callable

import numpy as np
import pytest

from salus_vla.contract.reasons import (
    CHUNK_EXHAUSTED,
    COMMAND_REFUSED,
    NO_DECISION_YET,
    NO_VALID_POLICY,
    NON_FINITE_ACTION,
)
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.control.controller import Command, Controller
from salus_vla.policies.base import Policy
from salus_vla.policies.hold import HoldPolicy
from salus_vla.signals.safety_signals import NAMES, SignalVector

MS = 1_000_000
FRAME, STEP = 20 * MS, 100 * MS
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
MEASURED = np.append(HOME, [0.04, 0.04])
FIRST_STEP = PANDA.acceleration * 0.02**2  # rad, what one frame from rest can do


class ScriptedPolicy:
    """Gives the chunks of a function of the decision's number; remembers how it was called."""

    source = "scripted"

    def __init__(self, chunk: Callable[[int], np.ndarray]) -> None:
        self._chunk = chunk
        self.seeds: list[int] = []
        self.numbers: list[int] = []

    def start_episode(self, seed: int) -> None:
        self.seeds.append(seed)

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        self.numbers.append(decision)
        chunk = self._chunk(decision)
        return PolicyOutput(chunk if chunk.ndim == 4 else chunk[None, None])

    def provenance(self) -> dict[str, str]:
        return {}


def chunk_at(arm: np.ndarray, width: float = 0.08, rows: int = 10) -> np.ndarray:
    return np.tile(np.append(arm, width), (rows, 1))


def away(distance: float = 0.2, rows: int = 10) -> np.ndarray:
    """All rows away from home in joint 1."""
    return chunk_at(HOME + np.array([distance, 0, 0, 0, 0, 0, 0]), rows=rows)


def ramp(rows: int, slope: float = 0.02) -> np.ndarray:
    """Joint 1 moves by `slope` per row."""
    chunk = chunk_at(HOME, rows=rows)
    chunk[:, 0] = slope * np.arange(1, rows + 1)
    return chunk


class Robot:
    """A controller with an arm that follows each command exactly, seen at 50 Hz."""

    def __init__(self, policy: Policy, measured: np.ndarray = MEASURED, seed: int = 5) -> None:
        self.controller = Controller(policy, frame_dt_ns=FRAME, control_dt_ns=STEP)
        self.measured = measured
        self.now = 3 * STEP
        self.controller.start_episode(seed)

    def decide(self, thinking_ns: int = 0) -> SignalVector:
        """Decides on what is seen now; the chunk arrives `thinking_ns` later."""
        observation = Observation(self.now, {}, self.measured, "task")
        decision = self.controller.decide(observation, self.controller.command_in_force)
        self.now += thinking_ns
        self.controller.accept(decision, self.now, self.measured)
        return decision.signals

    def frame(self) -> Command:
        command = self.controller.command(self.now, self.measured)
        self.measured = command.position
        self.now += FRAME
        return command

    def frames(self, count: int) -> list[Command]:
        return [self.frame() for _ in range(count)]


def joint1(commands: list[Command]) -> np.ndarray:
    return np.array([command.position[0] for command in commands])


def test_commands_follow_the_plan_one_frame_ahead() -> None:
    robot = Robot(ScriptedPolicy(lambda _: ramp(10)))
    robot.decide()
    commands = robot.frames(50)
    assert {(command.hold_reason, command.limited) for command in commands} == {("", False)}
    taken_over = 20  # frames; the arm leaves its pose gently
    np.testing.assert_allclose(joint1(commands)[taken_over:], 0.004 * np.arange(taken_over + 1, 51), atol=1e-9)
    np.testing.assert_allclose(commands[-1].position[1:7], HOME[1:], atol=1e-12)


@pytest.mark.parametrize("thinking_ms", [0, 20, 300, 960])
def test_the_first_command_never_jumps(thinking_ms: int) -> None:
    robot = Robot(ScriptedPolicy(lambda _: away(0.5)))
    robot.decide(thinking_ms * MS)
    first = robot.frame()
    assert (np.abs(first.position[:7] - HOME) <= FIRST_STEP * (1.0 + 1e-9)).all()
    assert first.position[0] > 0.0


def test_a_pose_that_changed_before_the_episode_is_where_it_starts() -> None:
    robot = Robot(ScriptedPolicy(lambda _: away()))
    robot.decide()
    robot.frames(20)
    robot.controller.start_episode(6)
    robot.measured = MEASURED + np.append(np.full(7, 0.05), [-0.01, -0.01])
    expected = robot.measured
    assert robot.controller.command_in_force is None
    np.testing.assert_allclose(robot.frame().position, expected, atol=1e-12)


def test_commands_are_nine_joints_with_half_of_the_width_for_each_finger() -> None:
    robot = Robot(ScriptedPolicy(lambda _: chunk_at(HOME, width=0.03)), np.append(HOME, [0.04, 0.02]))
    first = robot.frame()
    np.testing.assert_allclose(first.position, np.append(HOME, [0.03, 0.03]))
    robot.decide()
    last = robot.frames(40)[-1]
    assert last.position.shape == (9,)
    np.testing.assert_allclose(last.position[7:], [0.015, 0.015], atol=1e-9)


# -- holding -----------------------------------------------------------------------------------------------------------


def test_before_the_first_decision_the_arm_holds_the_measured_pose() -> None:
    robot = Robot(ScriptedPolicy(lambda _: away()))
    for command in robot.frames(5):
        assert command.hold_reason == NO_DECISION_YET
        np.testing.assert_array_equal(command.position, MEASURED)
    assert robot.controller.resting


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_chunk_that_is_not_finite_stops_the_arm_by_name(bad: float) -> None:
    def chunk(number: int) -> np.ndarray:
        chunks = np.stack([ramp(10), ramp(10)])[:, None]
        if number == 1:
            chunks[1, 0, 7, 3] = bad  # one number of one member, far in the future
        return chunks

    robot = Robot(ScriptedPolicy(chunk))
    robot.decide()
    before = joint1(robot.frames(5))
    robot.decide()
    braking = robot.frames(10)
    assert {command.hold_reason for command in braking} == {NON_FINITE_ACTION}
    assert "decision 1" in braking[0].detail
    assert np.isfinite([command.position for command in braking]).all()
    np.testing.assert_allclose(joint1(braking), before[-1], atol=0.005)
    assert robot.controller.resting
    robot.decide()
    assert robot.frame().hold_reason == ""


def test_a_plan_that_ended_is_named_and_the_arm_brakes() -> None:
    robot = Robot(ScriptedPolicy(lambda _: ramp(2, slope=0.1)))
    robot.decide()
    start = robot.now
    following = robot.frames(10)
    assert {command.hold_reason for command in following} == {""}
    assert robot.controller.plan_age_ns(start + STEP) == STEP
    braking = robot.frames(20)
    assert {command.hold_reason for command in braking} == {CHUNK_EXHAUSTED}
    assert "0.20 s old" in braking[0].detail
    steps = np.diff(joint1([following[-1], *braking]))
    speed = joint1(following)[-1] - joint1(following)[-2]
    assert 0.0 < steps[0] < speed
    assert (np.diff(steps) <= 0.0).all()
    assert (np.abs(np.diff([speed, *steps])) <= FIRST_STEP[0] * (1.0 + 1e-9)).all()
    assert steps[-1] == 0.0
    assert robot.controller.resting


def far_chunk() -> np.ndarray:
    """Inside the limits, but further away than the fastest motion goes in half a second."""
    target = HOME.copy()
    target[0] += 1.5
    return chunk_at(target)


def test_a_target_too_far_away_is_refused_and_the_arm_stays() -> None:
    robot = Robot(ScriptedPolicy(lambda _: far_chunk()))
    robot.decide()
    commands = robot.frames(15)
    refused = [command for command in commands if command.hold_reason]
    assert {command.hold_reason for command in refused} == {COMMAND_REFUSED}
    assert refused[0].detail.startswith("jump: joint 1 target")
    assert not any(command.limited for command in refused)
    assert refused[-1] is commands[-1]
    assert np.abs(commands[-1].position - commands[-2].position).max() == 0.0


def test_a_chunk_with_any_row_outside_the_joint_limits_is_refused_whole() -> None:
    chunk = chunk_at(HOME)
    chunk[..., -1, 3] = 0.0  # joint 4 must not be 0
    robot = Robot(ScriptedPolicy(lambda _: chunk))
    robot.decide()
    commands = robot.frames(10)
    assert {command.hold_reason for command in commands} == {COMMAND_REFUSED}
    assert commands[0].detail == "decision 0, position_limit: joint 4 target 0.0000 outside -3.0718..-0.0698"
    assert all(np.array_equal(command.position, commands[0].position) for command in commands)


@pytest.mark.parametrize("bad", ["outside", "far"])
def test_nothing_of_a_refused_plan_is_executed_when_the_next_chunk_takes_over(bad: str) -> None:
    outside = HOME.copy()
    outside[0] = 3.5
    refused = chunk_at(outside) if bad == "outside" else far_chunk()
    robot = Robot(ScriptedPolicy(lambda decision: refused if decision < 2 else chunk_at(HOME)))
    travelled = 0.0
    for _ in range(10):
        robot.decide()
        travelled = max(travelled, np.abs(joint1(robot.frames(5))).max())
    assert travelled < 0.05


def test_a_plan_that_was_dropped_for_another_reason_is_not_called_non_finite() -> None:
    robot = Robot(ScriptedPolicy(lambda _: ramp(10)))
    robot.decide()
    robot.controller.drop_plan(NO_VALID_POLICY, "RuntimeError: the GPU is gone")
    command = robot.frame()
    assert "the GPU is gone" in command.detail
    assert command.hold_reason == NO_VALID_POLICY


# -- episodes and decisions --------------------------------------------------------------------------------------------


def test_decisions_count_from_zero_in_each_episode() -> None:
    policy = ScriptedPolicy(lambda _: ramp(10))
    robot = Robot(policy, seed=5)
    for _ in range(3):
        robot.decide()
    robot.controller.start_episode(9)
    observation = Observation(robot.now, {}, MEASURED, "task")
    numbers = [robot.controller.decide(observation, None).number for _ in range(2)]
    assert numbers == [0, 1]
    assert policy.numbers == [0, 1, 2, 0, 1]
    assert policy.seeds == [5, 9]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [0.3, np.nan])
def test_an_episode_does_not_see_the_one_before(bad: float) -> None:
    """Commands and signals after a restart equal those of a new controller, also when the arm stood still by fault."""

    def chunk(number: int) -> np.ndarray:
        return ramp(10) * (bad if number == 3 else 1.0) if used.busy else ramp(10, 0.01 * (number + 1))

    class Switch:
        busy = False

    used = Switch()

    def episode(robot: Robot) -> tuple[list[np.ndarray], np.ndarray]:
        vectors, commands = [], []
        for _ in range(4):
            vectors.append(robot.decide().values)
            commands += [command.position for command in robot.frames(5)]
        return vectors, np.array(commands)

    expected = episode(Robot(ScriptedPolicy(chunk)))
    robot = Robot(ScriptedPolicy(chunk))
    used.busy = True
    episode(robot)
    used.busy = False
    robot.controller.start_episode(5)
    robot.measured, robot.now = MEASURED, 3 * STEP
    assert robot.controller.plan_age_ns(robot.now) is None
    got = episode(robot)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_deciding_alone_moves_nothing() -> None:
    robot = Robot(ScriptedPolicy(lambda _: away()))
    robot.controller.decide(Observation(robot.now, {}, MEASURED, "task"), None)
    assert robot.controller.command_in_force is None
    assert robot.controller.plan_age_ns(robot.now) is None
    assert robot.frame().hold_reason == NO_DECISION_YET


def test_the_command_in_force_is_the_last_one_sent() -> None:
    robot = Robot(ScriptedPolicy(lambda _: ramp(10)))
    assert robot.controller.command_in_force is None
    robot.decide()
    last = robot.frames(7)[-1]
    np.testing.assert_array_equal(robot.controller.command_in_force, last.position[:7])


def test_signals_compare_the_arm_with_the_command_it_was_given() -> None:
    robot = Robot(ScriptedPolicy(lambda _: ramp(10)))
    robot.decide()
    robot.frames(5)
    robot.measured = robot.measured.copy()
    robot.measured[2] += 0.25  # the arm is not where it was told to be
    assert robot.decide().values[NAMES.index("execution_error")] == pytest.approx(0.25, rel=1e-5)


def test_the_plan_is_the_mean_over_members_and_samples() -> None:
    chunks = np.stack([np.stack([ramp(10, a), ramp(10, b)]) for a, b in ((0.0, 0.02), (0.03, 0.03))])
    robot = Robot(ScriptedPolicy(lambda _: chunks))
    robot.decide()
    np.testing.assert_allclose(joint1(robot.frames(20))[-1], 0.02 + 15 * 0.004, atol=1e-9)


def test_the_hold_policy_holds_where_the_episode_found_the_arm() -> None:
    robot = Robot(HoldPolicy(), np.append(HOME, [0.03, 0.02]))
    expected = np.append(HOME, [0.025, 0.025])
    for _ in range(3):
        robot.decide()
        for command in robot.frames(5):
            assert (command.hold_reason, command.limited) == ("", False)
            np.testing.assert_allclose(command.position, expected, atol=1e-12)
    robot.controller.start_episode(1)
    robot.measured = np.append(HOME + 0.1, [0.04, 0.04])
    robot.decide()
    np.testing.assert_allclose(robot.frames(5)[-1].position, np.append(HOME + 0.1, [0.04, 0.04]), atol=1e-12)
