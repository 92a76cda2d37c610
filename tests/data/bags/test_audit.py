"""The audit finds what is missing in a recording, exactly where it is missing."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract import (
    CLOCK,
    CONTACT,
    DIAGNOSTICS,
    JOINT_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    SAFETY_SIGNALS,
    TF,
    Topic,
)
from salus_vla.data.bags.audit import Audit, Gap, TopicAudit

PERIOD = 20_000_000  # of /joint_states [ns]
START = 5_000_000_000


def audited(topic: Topic, stamps: list[int], start: int, end: int) -> TopicAudit:
    audit = Audit([topic])
    for stamp in stamps:
        audit.observe(topic.name, stamp, 10)
    (report,) = audit.finish(start, end).topics
    return report


@given(st.integers(3, 200), st.data())
def test_gaps_are_found_exactly_where_messages_were_removed(count: int, data: st.DataObject) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    report = audited(JOINT_STATES, [START + index * PERIOD for index in kept], START, START + (count - 1) * PERIOD)
    expected = [
        Gap(START + earlier * PERIOD, START + later * PERIOD, later - earlier - 1)
        for earlier, later in pairwise(kept)
        if later - earlier > 1
    ]
    if kept[0] > 1:
        expected.insert(0, Gap(START, START + kept[0] * PERIOD, kept[0]))
    if count - 1 - kept[-1] > 1:
        expected.append(Gap(START + kept[-1] * PERIOD, START + (count - 1) * PERIOD, count - 1 - kept[-1]))
    assert list(report.gaps) == expected
    assert report.count == len(kept)


@given(st.lists(st.integers(-9_000_000, 9_000_000), min_size=2, max_size=100))
def test_jitter_below_half_a_period_is_no_gap(jitter: list[int]) -> None:
    # Two neighbours may move apart by twice the jitter, so it stays below a quarter of the period here.
    stamps = [START + index * PERIOD + shift // 2 for index, shift in enumerate(jitter)]
    assert audited(JOINT_STATES, stamps, START, START + (len(jitter) - 1) * PERIOD).gaps == ()


def test_counts_bytes_stamps_and_rate() -> None:
    report = audited(JOINT_STATES, [START + index * PERIOD for index in range(51)], START, START + 50 * PERIOD)
    assert (report.count, report.size) == (51, 510)
    assert (report.first_ns, report.last_ns) == (START, START + 50 * PERIOD)
    assert (report.rate_hz, report.expected_hz) == (50.0, 50.0)
    assert (report.longest_ns, report.missing) == (PERIOD, 0)


def test_a_late_first_message_and_an_early_last_one_are_gaps() -> None:
    stamps = [START + index * PERIOD for index in range(5, 10)]
    report = audited(JOINT_STATES, stamps, START, START + 20 * PERIOD)
    assert report.gaps == (Gap(START, stamps[0], 5), Gap(stamps[-1], START + 20 * PERIOD, 11))


def test_a_periodic_topic_that_never_came_is_one_gap_over_the_episode() -> None:
    assert audited(CLOCK, [], START, START + 50 * PERIOD).gaps == (Gap(START, START + 50 * PERIOD, 51),)


def test_a_topic_that_never_came_has_a_gap_only_where_something_was_due() -> None:
    def gaps(periods: float) -> int:
        return len(audited(JOINT_STATES, [], START, START + int(periods * PERIOD)).gaps)

    assert [gaps(periods) for periods in (0, 1, 1.5, 1.6, 2)] == [0, 0, 0, 1, 1]


def test_an_optional_topic_that_never_came_is_no_gap() -> None:
    assert audited(TF, [], START, START + 50 * PERIOD).gaps == ()


def test_topics_on_event_and_of_many_publishers_have_no_gaps() -> None:
    assert audited(CONTACT, [START], START, START + 500 * PERIOD).gaps == ()
    assert audited(DIAGNOSTICS, [START], START, START + 500 * PERIOD).gaps == ()


def test_duplicate_and_backward_stamps_are_counted_and_are_no_gaps() -> None:
    stamps = [START, START + PERIOD, START + PERIOD, START + 3 * PERIOD, START + 2 * PERIOD, START + 4 * PERIOD]
    report = audited(JOINT_STATES, stamps, START, START + 4 * PERIOD)
    assert (report.duplicates, report.backward, report.gaps) == (1, 1, ())


def test_messages_after_the_end_are_counted_apart() -> None:
    stamps = [START + index * PERIOD for index in range(10)]
    report = audited(JOINT_STATES, stamps, START, START + 5 * PERIOD)
    assert (report.count, report.after_end, report.gaps) == (10, 4, ())


@given(st.integers(0, 400), st.floats(0.0, 3.0))
def test_what_one_publisher_cannot_have_sent_is_a_surplus(periods: int, times: float) -> None:
    end, count = START + periods * PERIOD, int((periods + 1) * times)
    stamps = [START + (index % (periods + 1)) * PERIOD for index in range(count)]
    surplus = audited(JOINT_STATES, stamps, START, end).surplus
    assert surplus == (count - periods - 1 if count > 1.1 * (periods + 1) + 2 else 0)


def test_two_gates_that_command_at_once_are_a_surplus_without_a_gap() -> None:
    stamps = [START + index * PERIOD + shift for index in range(100) for shift in (0, 3_000_000)]
    report = audited(JOINT_COMMAND, stamps, START, START + 99 * PERIOD)
    assert (report.gaps, report.surplus) == ((), 100)
    assert audited(DIAGNOSTICS, stamps, START, START + 99 * PERIOD).surplus == 0  # every node has its own


def test_commands_may_share_the_stamp_of_the_observation_they_answer() -> None:
    decision = 100_000_000
    stamps = [START + index * decision for index in range(2, 20) for _ in range(5)]
    report = audited(JOINT_COMMAND, stamps, START, START + 20 * decision)
    assert report.gaps == ()
    half = [stamp for index, stamp in enumerate(stamps) if index % 2 == 0]
    assert audited(JOINT_COMMAND, half, START, START + 20 * decision).missing > 30


@given(st.integers(0, 60), st.integers(0, 60))
def test_commands_of_which_the_beginning_was_lost_have_a_gap_there(wanted: int, sent: int) -> None:
    """Both begin with the first decision, however late that is."""
    audit, end = Audit([JOINT_TARGET, JOINT_COMMAND]), START + 100 * PERIOD
    for topic, first in ((JOINT_TARGET, wanted), (JOINT_COMMAND, sent)):
        for index in range(first, 101):
            audit.observe(topic.name, START + index * PERIOD, 10)
    gaps = {topic.name: topic.gaps for topic in audit.finish(START, end).topics}
    for name, own, other in ((JOINT_TARGET.name, wanted, sent), (JOINT_COMMAND.name, sent, wanted)):
        late = own - other
        assert gaps[name] == ((Gap(START + other * PERIOD, START + own * PERIOD, late),) if late > 1 else ())


def test_commands_that_never_came_are_one_gap() -> None:
    audit, end = Audit([JOINT_TARGET, JOINT_COMMAND]), START + 100 * PERIOD
    for index in range(101):
        audit.observe(JOINT_TARGET.name, START + index * PERIOD, 10)
    gaps = {topic.name: topic.gaps for topic in audit.finish(START, end).topics}
    assert gaps == {JOINT_TARGET.name: (), JOINT_COMMAND.name: (Gap(START, end, 101),)}


def test_a_missing_decision_is_a_gap() -> None:
    decision = 100_000_000
    stamps = [START + index * decision for index in range(10) if index != 4]
    assert audited(SAFETY_SIGNALS, stamps, START, START + 9 * decision).gaps == (Gap(stamps[3], stamps[4], 1),)
