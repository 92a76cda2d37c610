"""Disturbances: what they do to targets, that a seed decides, and that they stay between plan and limiter."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.forward_kinematics import tool_height
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.control.controller import Controller
from salus_vla.control.disturbance import Disturbance, Disturbances

FRAME = 20_000_000
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
OPEN, CLOSED = np.append(HOME, 0.08), np.append(HOME, 0.0)
LOW = np.append([0.0, 0.277, 0.0, -2.6, 0.0, 2.802, 0.785], 0.08)  # the tool near the table
NONE = Disturbances(noise=0.0, offset=0.0, pause_share=0.0, regrasp_share=0.0, early_share=0.0, loss_share=0.0)


def disturb(chosen: Disturbances, targets: FloatArray, seed: int = 3, start: int = 0) -> FloatArray:
    """Targets (n, 8), one per frame, as they are commanded."""
    disturbance = Disturbance(chosen)
    disturbance.start_episode(seed)
    return np.array([disturbance.apply(target, start + i * FRAME) for i, target in enumerate(targets)])


def held(target: FloatArray, seconds: float = 10.0) -> FloatArray:
    return np.tile(target, (round(seconds / 0.02), 1))


def moving(seconds: float = 10.0) -> FloatArray:
    targets = held(OPEN, seconds)
    targets[:, 0] = np.linspace(-0.5, 0.5, len(targets))
    return targets


def test_without_any_strength_nothing_changes() -> None:
    assert np.array_equal(disturb(NONE, moving()), moving())


def test_a_seed_gives_the_same_whatever_ran_before_and_whenever_it_starts() -> None:
    once = disturb(Disturbances(), moving())
    again = Disturbance()
    for target in moving(1.7):
        again.apply(target, 0)
    again.start_episode(3)
    later = 77 * FRAME
    assert np.array_equal(once, [again.apply(target, later + i * FRAME) for i, target in enumerate(moving())])
    assert not np.array_equal(once, disturb(Disturbances(), moving(), seed=4))


def test_noise_has_its_strength_is_slow_and_leaves_out_the_gripper() -> None:
    always = replace(NONE, noise=0.01, noise_s=0.1, noise_on_s=1e9)
    noise = disturb(always, held(OPEN, 120.0)) - OPEN
    assert noise[:, :7].std(axis=0) == pytest.approx(0.01, rel=0.2)
    assert np.abs(noise[:, 7]).max() == 0.0
    kept = np.mean(noise[5:, :7] * noise[:-5, :7]) / np.mean(noise[:, :7] ** 2)
    assert kept == pytest.approx(np.exp(-1.0), abs=0.08)


def test_noise_comes_and_goes() -> None:
    noise = disturb(replace(NONE, noise=0.01, noise_s=0.02), held(OPEN, 100.0))[:, 0] - OPEN[0]
    strength = np.abs(noise.reshape(-1, 10)).max(axis=1)
    assert 0.25 < np.mean(strength < 1e-3) < 0.75


def test_an_offset_is_smooth_and_bounded() -> None:
    chosen = replace(NONE, offset=0.03, event_gap_s=(0.5, 1.0))
    offsets = (disturb(chosen, held(OPEN, 60.0)) - OPEN)[:, :7]
    assert 0.02 < np.abs(offsets).max() <= 0.03
    assert np.abs(np.diff(offsets, axis=0)).max() < 0.03 * np.pi / (0.5 / 0.02) + 1e-9
    assert (offsets == 0.0).all(axis=1).mean() > 0.2


def test_near_the_table_there_are_no_offsets_and_little_noise() -> None:
    assert tool_height(LOW[:7]) < Disturbances().contact_heights[0]
    assert tool_height(HOME) == pytest.approx(0.4869, abs=1e-4)
    offsets = disturb(replace(NONE, offset=0.03), held(LOW, 20.0)) - LOW
    assert np.abs(offsets).max() == 0.0
    noisy = replace(NONE, noise=0.01, noise_on_s=1e9, contact_noise=0.25)
    low, high = disturb(noisy, held(LOW)) - LOW, disturb(noisy, held(OPEN)) - OPEN
    assert np.abs(high).max() > 0.01
    assert low == pytest.approx(0.25 * high, abs=1e-9)


def test_a_pause_keeps_the_target_for_its_time() -> None:
    chosen = replace(NONE, pause_share=1.0, pause_s=(0.6, 0.6), event_gap_s=(1.0, 1.0))
    commanded = disturb(chosen, moving())
    still = (np.diff(commanded, axis=0) == 0.0).all(axis=1)
    assert not still[: round(1.0 / 0.02) - 1].any()
    begin = int(np.argmax(still))
    assert still[begin : begin + 29].all()
    assert np.array_equal(commanded[begin + 31], moving()[begin + 31])


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_the_gripper_opens_once_after_it_began_to_close(delay: float) -> None:
    chosen = replace(NONE, regrasp_share=1.0, regrasp_delay_s=(delay, delay), regrasp_s=0.6)
    targets = np.concatenate([held(OPEN, 1.0), held(CLOSED, 3.0), held(OPEN, 1.0), held(CLOSED, 1.0)])
    wrong = np.flatnonzero(disturb(chosen, targets)[:, 7] != targets[:, 7]) * 0.02
    assert wrong[0] == pytest.approx(1.0 + delay)
    assert wrong[-1] == pytest.approx(1.6 + delay - 0.02)
    assert len(wrong) == 30


def test_the_share_of_regrasps() -> None:
    chosen = replace(NONE, regrasp_share=0.3)
    targets = np.concatenate([held(OPEN, 0.1), held(CLOSED, 0.9)])
    hit = [bool((disturb(chosen, targets, seed)[5:, 7] > 0.0).any()) for seed in range(100)]
    assert 0.15 < np.mean(hit) < 0.45


def test_the_gripper_closes_early_low_over_the_table_while_the_arm_stands_a_little_off() -> None:
    chosen = replace(NONE, early_share=1.0, early_heights=(0.1, 0.1), early_s=(0.8, 0.8))
    targets = np.concatenate([held(OPEN, 1.0), held(LOW, 3.0)])
    found = disturb(chosen, targets)
    wrong = np.flatnonzero((found != targets).any(axis=1)) * 0.02
    assert wrong[0] == pytest.approx(1.02)  # the ramp begins with nothing
    closed = np.flatnonzero(found[:, 7] == 0.0) * 0.02
    assert closed[0] == pytest.approx(1.3)
    assert len(closed) == 40
    off = np.abs(found[round(1.4 / 0.02)] - LOW)[:7]
    assert (off[:6] <= 0.02).all()
    assert off[6] <= 0.3
    assert off.max() > 0.01
    assert np.array_equal(found[round(2.2 / 0.02) :], targets[round(2.2 / 0.02) :])


def test_high_above_the_table_or_behind_the_first_closing_it_does_not_close_early() -> None:
    chosen = replace(NONE, early_share=1.0)
    assert np.array_equal(disturb(chosen, held(OPEN, 5.0)), held(OPEN, 5.0))
    low_closed = np.append(LOW[:7], 0.0)
    targets = np.concatenate([held(OPEN, 0.5), held(low_closed, 1.0), held(LOW, 3.0)])
    assert np.array_equal(disturb(chosen, targets), targets)


def test_what_is_carried_is_lost_once() -> None:
    chosen = replace(NONE, loss_share=1.0, loss_delay_s=(1.5, 1.5), loss_s=0.4)
    targets = np.concatenate([held(OPEN, 1.0), held(CLOSED, 5.0), held(OPEN, 1.0), held(CLOSED, 1.0)])
    wrong = np.flatnonzero(disturb(chosen, targets)[:, 7] != targets[:, 7]) * 0.02
    assert wrong[0] == pytest.approx(2.5)
    assert len(wrong) == 20


@given(
    target=st.tuples(*(st.floats(low, high) for low, high in zip(PANDA.all_lower, PANDA.all_upper, strict=True))),
    seed=st.integers(-(2**31), 2**31),
    strength=st.floats(0.0, 10.0),
)
@settings(max_examples=50, deadline=None)
def test_no_strength_leaves_the_joint_limits(target: tuple[float, ...], seed: int, strength: float) -> None:
    chosen = Disturbances(noise=strength, offset=strength, event_gap_s=(0.0, 0.1), regrasp_share=1.0)
    chosen = replace(chosen, early_share=1.0, early_heights=(0.0, 2.0), early_turn=strength, early_offset=strength)
    commanded = disturb(chosen, held(np.array(target), 0.6), seed)
    assert (commanded >= PANDA.all_lower).all()
    assert (commanded <= PANDA.all_upper).all()


def test_events_without_length_do_not_stop_the_clock() -> None:
    chosen = replace(NONE, event_gap_s=(0.0, 0.0), offset_s=(0.0, 0.0), offset=0.1)
    assert np.abs(disturb(chosen, held(OPEN, 0.2)) - OPEN).max() <= 0.1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise_s": 0.0}, "noise_s"),
        ({"offset": float("nan")}, "offset"),
        ({"pause_share": 1.5}, "pause_share"),
        ({"pause_s": (1.0, 0.5)}, "pause_s"),
        ({"contact_heights": (-0.1, 0.2)}, "contact_heights"),
        ({"regrasp_s": float("inf")}, "regrasp_s"),
        ({"early_share": -0.1}, "early_share"),
        ({"early_heights": (0.2, 0.1)}, "early_heights"),
        ({"early_turn": float("nan")}, "early_turn"),
        ({"loss_delay_s": (2.0, 1.0)}, "loss_delay_s"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Disturbances(**changes)


class _Still:
    """Asks for home, whatever is seen."""

    source = "still"

    def __init__(self) -> None:
        self.chunk = held(OPEN, 0.2)[None, None]

    def start_episode(self, seed: int) -> None:
        pass

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        return PolicyOutput(self.chunk)

    def provenance(self) -> dict[str, str]:
        return {}


def drive(disturbance: Disturbance | None, seconds: float, seed: int = 3) -> tuple[FloatArray, list[FloatArray], int]:
    """Commands (n, 8), the chunks decided on, and how many targets were refused, of an arm that follows at once."""
    controller = Controller(
        _Still(), frame_dt_ns=FRAME, control_dt_ns=5 * FRAME, filters=[disturbance] if disturbance else []
    )
    controller.start_episode(seed)
    measured = np.append(HOME, [0.04, 0.04])
    commands, chunks, refused = [], [], 0
    for frame in range(round(seconds / 0.02)):
        now = frame * FRAME
        if frame % 5 == 0:
            decision = controller.decide(Observation(now, {}, measured, ""), controller.command_in_force)
            assert decision.chunk is not None
            chunks.append(decision.chunk)
            controller.accept(decision, now, measured)
        command = controller.command(now, measured)
        refused += bool(command.hold_reason)
        measured = command.position
        commands.append(np.append(measured[:7], measured[7:].sum()))
    return np.array(commands), chunks, refused


def test_the_plan_and_the_label_stay_clean() -> None:
    """An offset ends, and the arm is back where the chunk wants it: nothing of it went into the plan."""
    chosen = replace(NONE, offset=0.1, event_gap_s=(0.5, 0.5), offset_s=(0.5, 0.5))
    commands, chunks, refused = drive(Disturbance(chosen), 1.6)
    assert refused == 0
    assert all(np.array_equal(chunk, chunks[0]) for chunk in chunks)
    away = np.abs(commands - OPEN).max(axis=1)
    assert away[round(0.75 / 0.02)] > 0.03
    assert away[round(1.3 / 0.02) : round(1.5 / 0.02)].max() < 1e-6


def test_however_strong_it_is_the_limiter_refuses_nothing_and_limits_everything() -> None:
    violent = Disturbances(noise=5.0, noise_s=0.02, noise_on_s=1e9, offset=5.0, event_gap_s=(0.1, 0.2))
    commands, _, refused = drive(Disturbance(violent), 3.0)
    assert refused == 0
    velocity = np.diff(commands, axis=0) / 0.02
    assert (np.abs(velocity) <= PANDA.all_velocity * (1 + 1e-9)).all()
    assert (np.abs(np.diff(velocity, axis=0) / 0.02) <= PANDA.all_acceleration * (1 + 1e-6)).all()
    assert np.ptp(commands[:, 0]) > 0.3


def test_a_pause_ends_before_the_plan_is_a_jump_away() -> None:
    targets = held(OPEN, 4.0)
    targets[:, 0] = np.linspace(-2.0, 2.0, len(targets))
    chosen = replace(NONE, pause_share=1.0, pause_s=(3.0, 3.0), event_gap_s=(0.5, 0.5))
    behind = np.abs(disturb(chosen, targets) - targets)[:, 0]
    assert 0.5 < behind.max() < 0.65


def test_each_episode_is_disturbed_anew() -> None:
    disturbance = Disturbance()
    first = drive(disturbance, 2.0, seed=1)[0]
    other = drive(disturbance, 2.0, seed=2)[0]
    assert not np.array_equal(first, other)
    assert np.array_equal(first, drive(disturbance, 2.0, seed=1)[0])
