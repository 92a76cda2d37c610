"""Wilson's interval: published values, its definition, and what must hold for every count."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.learning.evaluation.intervals import Share, Z, wilson

unhurried = settings(deadline=None)  # other processes may have the machine


@st.composite
def counts(draw: st.DrawFn, largest: int = 3000) -> tuple[int, int]:
    total = draw(st.integers(1, largest))
    return draw(st.integers(0, total)), total


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Table I of Newcombe 1998, Stat. Med. 17:857-872, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(count: int, total: int, low: float, high: float) -> None:
    found = wilson(count, total)
    assert [round(limit, 4) for limit in found] == [low, high]


@unhurried
@given(counts())
def test_the_limits_are_the_shares_that_a_score_test_just_does_not_reject(case: tuple[int, int]) -> None:
    count, total = case
    for limit in wilson(count, total):
        if 0.0 < limit < 1.0:
            assert abs(count / total - limit) == pytest.approx(Z * math.sqrt(limit * (1 - limit) / total), rel=1e-6)


@unhurried
@given(counts())
def test_it_stays_in_bounds_and_holds_the_share(case: tuple[int, int]) -> None:
    count, total = case
    low, high = wilson(count, total)
    assert 0.0 <= low <= count / total <= high <= 1.0
    assert low < high
    assert (low == 0.0) == (count == 0)
    assert (high == 1.0) == (count == total)


@unhurried
@given(counts())
def test_more_successes_give_a_higher_interval(case: tuple[int, int]) -> None:
    count, total = case
    if count < total:
        lower, higher = wilson(count, total), wilson(count + 1, total)
        assert lower[0] < higher[0]
        assert lower[1] < higher[1]


@unhurried
@given(counts())
def test_failures_have_the_mirrored_interval(case: tuple[int, int]) -> None:
    count, total = case
    low, high = wilson(count, total)
    assert wilson(total - count, total) == pytest.approx((1.0 - high, 1.0 - low), abs=1e-12)


@unhurried
@given(counts(300), st.integers(2, 50))
def test_more_episodes_give_a_narrower_interval(case: tuple[int, int], times: int) -> None:
    (low, high), (closer_low, closer_high) = wilson(*case), wilson(case[0] * times, case[1] * times)
    assert closer_high - closer_low < high - low


def test_nothing_is_known_of_no_episodes() -> None:
    assert (Share(0, 0).share, Share(0, 0).low, Share(0, 0).high) == (None, 0.0, 1.0)


@pytest.mark.parametrize(("count", "total"), [(3, 2), (-1, 2), (1, 0)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ConfigError, match=f"count is {count} of {total}"):
        wilson(count, total)
