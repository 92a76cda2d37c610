"""The plan in force: timing of rows, fading between chunks, and what happens at the ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.control.chunking import ChunkManager

MS = 1_000_000
STEP, FRAME, BLEND = 100 * MS, 20 * MS, 100 * MS
START = np.array([1.0, -2.0])


def manager(blend_ns: int = BLEND) -> ChunkManager:
    return ChunkManager(STEP, blend_ns)


def ramp(first: float, slope: float, length: int = 10) -> np.ndarray:
    """Two columns: `first`, `first + slope`, ... and twice that."""
    column = first + slope * np.arange(length)
    return np.column_stack([column, 2.0 * column])


def at(plan: ChunkManager, when_ns: int) -> np.ndarray:
    target = plan.target(when_ns)
    assert target is not None
    return target


def test_without_a_chunk_there_is_no_target() -> None:
    plan = manager()
    assert not plan.has_plan
    assert plan.target(0) is None
    assert plan.age_ns(0) is None


def test_row_i_is_reached_at_the_end_of_step_i() -> None:
    plan = manager()
    chunk = ramp(1.5, 0.25, 4)
    plan.install(chunk, 7 * STEP, 7 * STEP, START)
    np.testing.assert_allclose(at(plan, 7 * STEP), START)
    for i in range(4):
        np.testing.assert_allclose(at(plan, (8 + i) * STEP), chunk[i], atol=1e-12)


def test_between_rows_the_plan_is_linear() -> None:
    plan = manager(blend_ns=0)
    plan.install(np.array([[2.0, -2.0], [4.0, -3.0]]), 0, 0, START)
    np.testing.assert_allclose(at(plan, 20 * MS), [1.2, -2.0], atol=1e-12)
    np.testing.assert_allclose(at(plan, 125 * MS), [2.5, -2.25], atol=1e-12)


def test_the_plan_is_used_up_after_its_last_row() -> None:
    plan = manager()
    plan.install(ramp(0.0, 0.1, 3), 0, 0, START)
    assert plan.target(3 * STEP) is not None
    assert plan.target(3 * STEP + 1) is None
    assert plan.has_plan


def test_age_counts_from_the_observation_and_not_from_the_switch() -> None:
    plan = manager()
    plan.install(ramp(0.0, 0.1), STEP, 3 * STEP, START)
    assert plan.age_ns(4 * STEP) == 3 * STEP


def test_rows_that_passed_while_the_policy_was_thinking_are_skipped() -> None:
    plan = manager(blend_ns=0)
    chunk = ramp(0.0, 1.0)
    plan.install(chunk, 0, 250 * MS, START)
    np.testing.assert_allclose(at(plan, 250 * MS), (chunk[1] + chunk[2]) / 2.0, atol=1e-12)
    np.testing.assert_allclose(at(plan, 3 * STEP), chunk[2], atol=1e-12)


def test_a_chunk_that_passed_completely_gives_no_target() -> None:
    plan = manager()
    plan.install(ramp(0.0, 0.1, 3), 0, 4 * STEP, START)
    assert plan.target(4 * STEP) is None


def test_the_command_in_force_matters_to_the_first_chunk_only() -> None:
    plan = manager(blend_ns=0)
    plan.install(ramp(1.0, 0.0), 0, 0, np.array([1.0, 2.0]))
    plan.install(ramp(1.0, 0.0), STEP, STEP, np.array([50.0, 50.0]))
    np.testing.assert_allclose(at(plan, STEP + FRAME), [1.0, 2.0], atol=1e-12)


@given(
    latency_ms=st.integers(0, 1000),
    offset=st.floats(-1.0, 1.0),
    slope=st.floats(-0.2, 0.2),
    blend_ms=st.integers(40, 400),
)
@settings(max_examples=60, deadline=None)
def test_a_new_chunk_begins_where_the_old_plan_was(latency_ms: int, offset: float, slope: float, blend_ms: int) -> None:
    """Sampled each frame, the switch adds no more motion than the fade between the two plans."""
    first, second = ramp(0.0, 0.05, 40), ramp(offset, slope, 40)
    stamp, now = 8 * STEP, 8 * STEP + latency_ms * MS
    faded, old, new = manager(blend_ms * MS), manager(blend_ns=0), manager(blend_ns=0)
    faded.install(first, 0, 0, np.zeros(2))
    old.install(first, 0, 0, np.zeros(2))
    new.install(second, stamp, now, at(old, stamp))
    faded.install(second, stamp, now, np.zeros(2))
    np.testing.assert_allclose(at(faded, now), at(old, now), rtol=0.0, atol=1e-12)
    times = [now + i * FRAME for i in range(25)]
    apart = np.array([at(new, t) - at(old, t) for t in range(now, now + blend_ms * MS + 1, MS)])
    own_motion = max(np.abs(np.diff(np.vstack([at(old, stamp), plan]), axis=0)).max() for plan in (first[8:], second))
    bound = own_motion * FRAME / STEP + 1.5 * np.abs(apart).max() * FRAME / (
        blend_ms * MS
    )  # a smooth step is at most 1.5 times as steep as a ramp
    samples = np.array([at(faded, t) for t in times])
    assert np.abs(np.diff(samples, axis=0)).max() <= bound + 1e-9


@pytest.mark.parametrize("latency_ms", [0, 37, 100, 480, 1000])
def test_plans_that_stand_still_fade_in_a_smooth_step(latency_ms: int) -> None:
    plan = manager(BLEND)
    plan.install(np.full((30, 2), 1.0), 0, 0, np.ones(2))
    now = 5 * STEP + latency_ms * MS
    plan.install(np.full((30, 2), 2.0), 5 * STEP, now, np.zeros(2))
    # The new plan leaves the old one's value at its stamp and reaches row 0 one step later.
    first = [1.0 + min((latency_ms + 20 * i) / 100.0, 1.0) for i in range(7)]
    passed = [min(i / 5.0, 1.0) for i in range(7)]
    weights = [p * p * (3.0 - 2.0 * p) for p in passed]
    expected = [(1.0 - w) + w * value for w, value in zip(weights, first, strict=True)]
    got = [at(plan, now + i * FRAME)[0] for i in range(7)]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_after_the_fade_only_the_new_plan_counts() -> None:
    faded, alone = manager(), manager()
    faded.install(ramp(5.0, -1.0, 20), 0, 0, START)
    faded.install(ramp(0.0, 0.5, 20), 3 * STEP, 4 * STEP, START)
    alone.install(ramp(0.0, 0.5, 20), 3 * STEP, 4 * STEP, START)
    for when in range(4 * STEP + BLEND, 23 * STEP, FRAME):
        np.testing.assert_allclose(at(faded, when), at(alone, when), atol=1e-12)
    assert not np.allclose(at(faded, 4 * STEP + BLEND // 2), at(alone, 4 * STEP + BLEND // 2))


def test_without_a_fade_the_new_plan_takes_over_at_once() -> None:
    plan = manager(blend_ns=0)
    plan.install(np.zeros((10, 2)), 0, 0, np.zeros(2))
    plan.install(np.ones((10, 2)), 2 * STEP, 4 * STEP, np.zeros(2))
    np.testing.assert_allclose(at(plan, 4 * STEP), [1.0, 1.0])


def test_a_chunk_that_arrives_during_a_fade_starts_from_the_blend() -> None:
    plan = manager(blend_ns=200 * MS)
    plan.install(np.zeros((20, 2)), 0, 0, np.zeros(2))
    plan.install(np.ones((20, 2)), 0, 3 * STEP, np.zeros(2))
    middle = 4 * STEP
    np.testing.assert_allclose(at(plan, middle), [0.5, 0.5], atol=1e-12)
    plan.install(np.full((20, 2), 3.0), 0, middle, np.zeros(2))
    np.testing.assert_allclose(at(plan, middle), [0.5, 0.5], atol=1e-12)
    # 80 ms later the old fade would have passed .9 of its time, and the new one .4 of its way to 3.
    old, weight = 0.9**2 * (3.0 - 2.0 * 0.9), 0.4**2 * (3.0 - 2.0 * 0.4)
    np.testing.assert_allclose(at(plan, middle + 80 * MS), [(1.0 - weight) * old + weight * 3.0] * 2, atol=1e-12)


def test_a_large_gap_takes_longer_to_close_so_that_the_acceleration_stays_in_bounds() -> None:
    limit = np.array([10.0, 5.0])
    plan = ChunkManager(STEP, BLEND, limit)
    plan.install(np.zeros((30, 2)), 0, 0, np.zeros(2))
    plan.install(np.full((30, 2), 0.5), 5 * STEP, 10 * STEP, np.zeros(2))
    samples = np.array([at(plan, 10 * STEP + i * FRAME) for i in range(60)])
    accelerations = np.abs(np.diff(samples, n=2, axis=0)) / (FRAME * 1e-9) ** 2
    assert (accelerations <= limit + 1e-9).all()
    assert samples[0, 0] == 0.0
    assert samples[-1, 0] == 0.5


def test_what_is_meant_is_the_newest_chunk_without_the_fade() -> None:
    plan = manager()
    plan.install(np.zeros((20, 2)), 0, 0, np.zeros(2))
    plan.install(np.ones((20, 2)), 5 * STEP, 7 * STEP, np.zeros(2))
    assert plan.requested(7 * STEP) is not None
    np.testing.assert_allclose(plan.requested(7 * STEP), [1.0, 1.0])
    np.testing.assert_allclose(at(plan, 7 * STEP), [0.0, 0.0], atol=1e-12)


def test_reset_forgets_the_plan_and_its_fade() -> None:
    plan = manager()
    plan.install(ramp(5.0, 1.0), 0, 0, START)
    plan.install(ramp(9.0, 1.0), STEP, STEP, START)
    plan.reset()
    assert not plan.has_plan
    assert plan.target(STEP) is None
    assert plan.age_ns(STEP) is None
    plan.install(ramp(0.0, 0.0), STEP, STEP, START)
    np.testing.assert_allclose(at(plan, STEP), START)
