"""Rates, latencies and memory as parts of the diagnostics: right numbers, and a warning for a topic that starves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.health.meters import LatencyMeter, Level, RateMeter, disk, resources

S = 1_000_000_000
FRAME = S // 50


def second(meter: RateMeter, number: int, keep: float = 1.0) -> None:
    """A second of 50 Hz, of which only a share comes."""
    for frame in range(round(50 * keep)):
        meter.add(number * S + frame * FRAME)


def test_what_comes_as_expected_is_ok_with_its_rate_and_its_longest_gap() -> None:
    meter = RateMeter(50.0)
    for number in range(3):
        second(meter, number)
        part = meter.part("joints", (number + 1) * S)
    assert (part.name, part.level, part.message) == ("joints", Level.OK, "ok")
    assert part.values == {"rate_hz": 50.0, "expected_hz": 50.0, "longest_gap_s": 0.02, "messages": 150}


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.7])
def test_a_starved_topic_is_a_warning_and_recovers(keep: float) -> None:
    meter = RateMeter(50.0)
    second(meter, 0)
    meter.part("joints", S)
    second(meter, 1, keep)
    part = meter.part("joints", 2 * S)
    assert part.level is Level.WARN
    assert part.message == f"{50 * keep:.1f} Hz, expected 50 Hz"
    assert part.values["longest_gap_s"] == pytest.approx(1.0 - keep + 0.02, abs=1e-6)
    second(meter, 2)
    assert meter.part("joints", 3 * S).level is Level.OK


def test_a_patient_meter_warns_at_the_second_report() -> None:
    meter = RateMeter(50.0, patience=2)
    second(meter, 0)
    levels = [meter.part("joints", number * S).level for number in range(1, 5)]
    assert levels == [Level.OK, Level.OK, Level.WARN, Level.WARN]


def test_a_topic_that_never_came_is_stale_not_slow() -> None:
    part = RateMeter(10.0).part("camera front", 5 * S)
    assert (part.level, part.values["messages"]) == (Level.STALE, 0)


def test_a_clock_that_jumps_back_begins_again() -> None:
    meter = RateMeter(50.0)
    second(meter, 100)
    meter.part("joints", 101 * S)
    second(meter, 0)
    part = meter.part("joints", S)
    assert part.level is Level.OK
    assert part.values["rate_hz"] == 50.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**62))), st.floats(0.1, 1000.0))
def test_any_stamps_give_finite_numbers_that_are_not_negative(events: list[tuple[bool, int]], hz: float) -> None:
    meter = RateMeter(hz)
    for is_message, stamp in events:
        if is_message:
            meter.add(stamp)
        else:
            values = np.array(list(meter.part("x", stamp).values.values()))
            assert np.isfinite(values).all()
            assert (values >= 0).all()


def test_latencies_are_given_as_median_and_99th_percentile() -> None:
    meter = LatencyMeter(keep=101)
    assert meter.values("decide") == {}
    for milliseconds in [1e6, *range(101)]:
        meter.add(milliseconds)
    assert meter.values("decide") == {"decide_ms_p50": 50.0, "decide_ms_p99": 99.0}


def test_little_disk_space_is_a_warning_with_both_numbers() -> None:
    assert disk(3 * 10**9, 2.0).level is Level.OK
    low = disk(1_500_000_000, 2.0)
    assert (low.level, low.message) == (Level.WARN, "1.50 GB left, warned below 2 GB")


def test_this_process_has_a_memory() -> None:
    assert 10.0 < resources().values["process_memory_mb"] < 1e5
