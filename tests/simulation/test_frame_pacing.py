"""Frames wait for their commands in lockstep, for the clock on the wall otherwise, and for nobody after a reset."""

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.simulation.frame_pacing import FramePacer

DT, FRAME = 0.02, 20_000_000
TIMEOUT = 3.0


def pacer(*, lockstep: bool = True) -> FramePacer:
    return FramePacer(frame_dt_ns=FRAME, lockstep=lockstep, timeout_s=TIMEOUT, wall_s=100.0)


def test_before_the_first_reset_frames_come_by_the_clock() -> None:
    paced = pacer()
    paced.frame(FRAME, 100.0)
    assert 0.0 < paced.wait_s(100.0) <= DT
    assert paced.wait_s(100.0 + DT) == 0.0


def test_after_a_reset_a_frame_waits_for_the_command_that_answers_it() -> None:
    paced = pacer()
    paced.frame(FRAME, 100.0)
    paced.reset()
    assert paced.wait_s(100.0) == 0.0  # the first frame of the new world comes at once
    paced.frame(2 * FRAME, 101.0)
    assert paced.wait_s(101.5) == TIMEOUT - 0.5
    paced.answered(FRAME)
    assert paced.wait_s(101.5) > 0.0
    paced.answered(2 * FRAME + FRAME // 4)  # to half a frame, never equality
    assert paced.wait_s(101.5) == 0.0


def test_a_reset_while_a_frame_waits_ends_the_wait_and_the_new_frame_has_its_whole_time() -> None:
    paced = pacer()
    paced.reset()
    paced.frame(FRAME, 100.0)
    paced.reset()
    assert paced.wait_s(102.9) == 0.0
    paced.frame(2 * FRAME, 102.9)
    assert paced.wait_s(102.9) == TIMEOUT
    paced.answered(FRAME)
    assert paced.wait_s(102.9) > 0.0


def test_a_frame_that_nobody_answers_gives_the_lockstep_up_once_until_the_next_reset() -> None:
    paced = pacer()
    paced.reset()
    paced.frame(FRAME, 100.0)
    assert paced.gave_up() is None
    assert paced.wait_s(100.0 + TIMEOUT) == 0.0
    assert (paced.gave_up(), paced.gave_up(), paced.timeouts) == (FRAME, None, 1)
    paced.frame(2 * FRAME, 103.0)
    assert 0.0 < paced.wait_s(103.0) <= DT
    paced.reset()
    paced.frame(3 * FRAME, 103.1)
    assert paced.wait_s(103.1) == TIMEOUT


def test_in_realtime_a_reset_changes_nothing_but_the_frame_that_waits() -> None:
    paced = pacer(lockstep=False)
    paced.frame(FRAME, 100.0)
    paced.reset()
    paced.frame(2 * FRAME, 100.01)
    assert 0.0 < paced.wait_s(100.01) <= 2 * DT
    assert paced.timeouts == 0


@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=200))
def test_in_realtime_frames_keep_their_rate_over_time_and_catch_up(work: list[float]) -> None:
    paced = pacer(lockstep=False)
    wall, stamp = 100.0, 0
    for busy in work:
        stamp += FRAME
        wall += busy
        paced.frame(stamp, wall)
        wait = paced.wait_s(wall)
        assert 0.0 <= wait <= DT + 1e-9
        wall += wait
        assert wall >= 100.0 + stamp * 1e-9 - 1e-6
