"""Who counts as lost, and that a listener that slept accuses nobody."""

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.health.heartbeats import LONGEST_NAP_S, Heartbeats

TIMEOUT_S = 5.0


def watched(*names: str) -> Heartbeats:
    call = Heartbeats(TIMEOUT_S)
    for name in names:
        call.heard(name, 0.0)
    call.begin(10.0)
    return call


def look(call: Heartbeats, since: float, until: float, speaking: tuple[str, ...] = ()) -> tuple[str, float] | None:
    """Looks every half second."""
    wall = since
    while wall < until:
        wall += 0.5
        for name in speaking:
            call.heard(name, wall)
        lost = call.lost(wall)
        if lost is not None:
            return lost
    return None


def test_the_silence_begins_when_the_watch_does() -> None:
    assert look(watched("/a"), 10.0, 15.0) is None
    assert look(watched("/a"), 10.0, 15.5) == ("/a", 5.5)


def test_the_one_that_is_silent_is_named_and_not_the_others() -> None:
    assert look(watched("/a", "/b", "/c"), 10.0, 20.0, ("/a", "/c")) == ("/b", 5.5)


def test_who_is_heard_later_is_expected_from_then_on() -> None:
    call = watched("/a")
    call.heard("/late", 12.0)
    assert look(call, 10.0, 17.0, ("/a",)) is None
    assert look(call, 17.0, 30.0, ("/a",)) == ("/late", 5.5)


def test_nobody_is_expected_before_the_watch_or_after_it() -> None:
    call = Heartbeats(TIMEOUT_S)
    call.heard("/a", 0.0)
    assert call.lost(100.0) is None
    call.begin(100.0)
    call.dismiss()
    assert look(call, 100.0, 200.0) is None


@given(st.floats(LONGEST_NAP_S, 1e4, exclude_min=True))
def test_a_listener_that_slept_accuses_nobody_for_that_time(nap_s: float) -> None:
    call = watched("/a")
    assert look(call, 10.0, 12.0) is None
    assert call.lost(12.0 + nap_s) is None
    lost = look(call, 12.0 + nap_s, 40.0 + nap_s)
    assert lost is not None
    assert lost[0] == "/a"
    assert TIMEOUT_S < lost[1] <= TIMEOUT_S + LONGEST_NAP_S


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 1.0)), min_size=1, max_size=60))
def test_a_node_is_lost_exactly_when_it_was_silent_for_longer_than_allowed(events: list[tuple[str, float]]) -> None:
    call = watched("a", "b", "c")
    heard, wall = dict.fromkeys("abc", 10.0), 10.0
    for name, step in events:
        wall += step
        heard[name] = wall
        call.heard(name, wall)
        longest = max(wall - when for when in heard.values())
        lost = call.lost(wall)
        assert (lost is not None) == (longest > TIMEOUT_S)
