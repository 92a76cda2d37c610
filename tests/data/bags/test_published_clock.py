"""The sim time of messages without a stamp, from when they were published and in whatever order they are taken."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.data.bags.published_clock import PublishedClock

FRAME_NS = 20_000_000


def test_nothing_is_known_before_the_first_clock() -> None:
    clock = PublishedClock()
    assert (clock.newest_ns, clock.at(5), clock.is_past(5)) == (None, None, False)
    clock.tick(10, 100)
    assert clock.at(9) is None
    assert clock.at(10) == 100


def test_a_later_clock_makes_it_final() -> None:
    clock = PublishedClock()
    clock.tick(10, 100)
    assert not clock.is_past(10)
    clock.tick(20, 200)
    assert clock.is_past(15)
    assert (clock.at(15), clock.at(20)) == (100, 200)


def test_a_clock_that_jumped_back_is_the_one_that_counts() -> None:
    clock = PublishedClock()
    clock.tick(10, 900)
    clock.tick(20, 40)
    assert (clock.at(15), clock.at(25), clock.newest_ns) == (900, 40, 40)


@given(st.lists(st.integers(2, 10**9), min_size=1, max_size=200), st.integers(0, 2**32))
def test_a_message_gets_the_frame_in_which_it_was_published(gaps: list[int], seed: int) -> None:
    clock, chance, sent_ns = PublishedClock(), random.Random(seed), 10**18
    published = []
    for frame, gap in enumerate(gaps):
        clock.tick(sent_ns, frame * FRAME_NS)
        published.append((sent_ns + chance.randrange(1, gap), frame * FRAME_NS))
        sent_ns += gap
    for sent, stamp_ns in published:
        assert clock.at(sent) == stamp_ns
