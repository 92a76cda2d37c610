"""How long the last messages of an episode are waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.data.bags.closing_wait import QUIET_S, ClosingWait

gaps = st.lists(st.floats(0.001, 2.0, allow_nan=False), max_size=30)


def test_nothing_is_given_up_while_nothing_is_waited_for() -> None:
    wait = ClosingWait(5.0)
    assert not wait.over(1e9)
    wait.begin(0.0, aborted=True)
    wait.end()
    wait.heard(1.0)
    assert not wait.over(1e9)


@pytest.mark.parametrize(("aborted", "seconds"), [(False, 5.0), (True, QUIET_S)])
def test_a_world_that_stands_still_is_waited_for_only_where_it_may_go_on(aborted: bool, seconds: float) -> None:
    wait = ClosingWait(5.0)
    wait.begin(100.0, aborted=aborted)
    assert not wait.over(100.0 + seconds)
    assert wait.over(100.0 + seconds + 0.01)


@given(gaps, st.booleans())
def test_messages_prolong_the_wait_of_an_abort_up_to_the_longest(between: list[float], aborted: bool) -> None:
    wait, now, last = ClosingWait(5.0), 0.0, 0.0
    wait.begin(now, aborted=aborted)
    for gap in between:
        now += gap
        silent = aborted and now > last + QUIET_S
        assert wait.over(now) == (silent or now > 5.0)
        if wait.over(now):
            return
        wait.heard(now)
        last = now
