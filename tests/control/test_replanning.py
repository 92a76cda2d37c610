"""Realtime pacing with late decisions: commands stay smooth, old chunks go on, and the arm holds at the end."""

import numpy as np
import pytest

from replanning_picture import DECISION_NS, FRAME_NS, WavingPolicy, simulate
from salus_vla.contract.reasons import CHUNK_EXHAUSTED, NO_DECISION_YET
from salus_vla.contract.robot_limits import PANDA

MS = 1_000_000
LATENCIES = [0, 20, 60, 100, 150, 260, 400, 700, 1000]
FRAME_S = FRAME_NS * 1e-9


@pytest.mark.parametrize("latency_ms", LATENCIES)
def test_no_latency_makes_the_velocity_jump(latency_ms: int) -> None:
    run = simulate(latency_ms * MS)
    accelerations = np.abs(np.diff(run.velocities, axis=0)) / FRAME_S
    assert (accelerations <= PANDA.acceleration + 1e-6).all()
    assert (np.abs(run.velocities) <= PANDA.velocity + 1e-9).all()


@pytest.mark.parametrize("latency_ms", LATENCIES)
def test_take_overs_are_gentle_enough_that_the_limiter_has_little_to_do(latency_ms: int) -> None:
    run = simulate(latency_ms * MS, policy=WavingPolicy(amplitude=0.15))
    assert sum(run.limited) <= 0.1 * len(run.limited)


@pytest.mark.parametrize("latency_ms", [latency for latency in LATENCIES if latency < 700])
def test_while_a_decision_is_made_the_old_chunk_goes_on(latency_ms: int) -> None:
    policy = WavingPolicy(disagreement=0.0)
    run = simulate(latency_ms * MS, policy=policy)
    began = int(run.switches[0] / FRAME_S) + round(0.6 / FRAME_S)  # after the first take-over
    assert not any(run.holds[began:])
    np.testing.assert_allclose(run.commands[began:, 0], policy.path(run.times[began:]), atol=0.02)


def test_before_the_first_decision_the_arm_holds_its_pose() -> None:
    run = simulate(400 * MS)
    waiting = round(0.4 / FRAME_S)
    assert set(run.holds[:waiting]) == {NO_DECISION_YET}
    assert np.ptp(run.commands[:waiting], axis=0).max() == 0.0
    assert run.holds[waiting] == ""


def test_when_the_chunk_is_used_up_the_arm_brakes_and_holds() -> None:
    run = simulate(0, until=3, policy=WavingPolicy(rows=8))
    last = 2 * DECISION_NS * 1e-9 + 8 * DECISION_NS * 1e-9  # end of the last chunk's last row
    exhausted = [hold == CHUNK_EXHAUSTED for hold in run.holds]
    first = exhausted.index(True)
    assert run.times[first] == pytest.approx(last + FRAME_S)
    assert all(exhausted[first:])
    speeds = np.linalg.norm(run.velocities[first - 1 :], axis=1)
    assert speeds[0] > 0.1
    assert (np.diff(speeds[: np.argmax(speeds == 0.0)]) < 0.0).all()
    assert speeds[-1] == 0.0


def test_a_chunk_that_comes_after_the_hold_starts_from_there() -> None:
    run = simulate(1000 * MS, policy=WavingPolicy(rows=14))
    back = [i for i in range(1, len(run.holds)) if run.holds[i - 1] == CHUNK_EXHAUSTED and not run.holds[i]]
    assert len(back) >= 2
    for i in back:
        assert np.abs(run.commands[i] - run.commands[i - 1]).max() < 0.01
