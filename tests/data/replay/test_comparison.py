"""Decisions are equal only bit for bit, and whatever differs is named with its size and where it begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.data.replay.comparison import COUNTS, EVIDENCE, FIELDS, STATES, RecordedDecision, compare
from salus_vla.signals.safety_signals import NAMES

PERIOD_NS = 100_000_000


def decisions(count: int = 4) -> list[RecordedDecision]:
    random = np.random.default_rng(3)
    made = []
    for number in range(count):
        signals = random.random(12).astype(np.float32)
        signals[11] = np.nan
        counts = {"decision": number, "schema_version": 2, "members": 5, "noise_samples": 2, "valid": 2047}
        counts["prefix_part_count"] = 4
        evidence = (random.random(size).astype(np.float32) for size in (35, 6, 20))
        made.append(RecordedDecision(number * PERIOD_NS, counts, signals, *evidence))
    return made


def of_version_1(decision: RecordedDecision) -> RecordedDecision:
    empty = np.zeros(0, dtype=np.float32)
    counts = decision.counts | {"schema_version": 1, "prefix_part_count": 0}
    return dataclasses.replace(decision, counts=counts, expert_state=empty, prefix_parts=empty)


def with_signal(decision: RecordedDecision, index: int, value: float) -> RecordedDecision:
    signals = decision.signals.copy()
    signals[index] = value
    return dataclasses.replace(decision, signals=signals)


def test_the_same_decisions_are_equal_with_nan_and_in_any_order() -> None:
    result = compare(decisions(), decisions()[::-1])
    assert result.equal
    assert result.compared == 4


def test_nothing_compared_is_not_equal() -> None:
    assert not compare([], []).equal


def test_the_last_bit_counts() -> None:
    changed = decisions()
    changed[2] = with_signal(changed[2], 4, np.nextafter(changed[2].signals[4], np.float32(2)))
    (difference,) = compare(decisions(), changed).differences
    assert (difference.field, difference.count, difference.first) == (NAMES[4], 1, 2)
    assert 0.0 < difference.largest < 1e-6


def test_minus_zero_is_not_zero() -> None:
    one, other = with_signal(decisions(1)[0], 0, 0.0), with_signal(decisions(1)[0], 0, -0.0)
    (difference,) = compare([one], [other]).differences
    assert (difference.field, difference.largest) == (NAMES[0], 0.0)


def test_a_value_on_one_side_only_differs_without_bound() -> None:
    changed = decisions()
    changed[1] = with_signal(changed[1], 11, 0.5)
    (difference,) = compare(decisions(), changed).differences
    assert (difference.field, difference.largest, difference.first) == (NAMES[11], np.inf, 1)


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_is_compared(name: str) -> None:
    changed = decisions()
    changed[3] = dataclasses.replace(changed[3], counts=changed[3].counts | {name: 77})
    (difference,) = compare(decisions(), changed).differences
    assert (difference.field, difference.largest) == (name, abs(77 - decisions()[3].counts[name]))


def test_the_evidence_is_compared_in_shape_and_value() -> None:
    fewer = [dataclasses.replace(decision, member_actions=decision.member_actions[:-7]) for decision in decisions()]
    (difference,) = compare(decisions(), fewer).differences
    assert (difference.field, difference.count, difference.largest) == (EVIDENCE, 4, np.inf)


@pytest.mark.parametrize("name", STATES)
def test_what_the_policy_saw_is_compared(name: str) -> None:
    changed = decisions()
    changed[2] = dataclasses.replace(changed[2], **{name: getattr(changed[2], name) + np.float32(0.5)})
    (difference,) = compare(decisions(), changed).differences
    assert (difference.field, difference.first, difference.largest) == (name, 2, pytest.approx(0.5))


def test_a_recording_of_version_1_is_compared_in_what_it_holds() -> None:
    recorded = [of_version_1(decision) for decision in decisions()]
    assert compare(recorded, decisions()).equal
    changed = decisions()
    changed[1] = with_signal(changed[1], 4, 9.0)
    assert [difference.field for difference in compare(recorded, changed).differences] == [NAMES[4]]
    assert not compare(decisions(), recorded).equal


def test_missing_and_extra_decisions_are_listed_by_stamp() -> None:
    recorded, repeated = decisions(), decisions()
    result = compare([recorded[0], *recorded[2:]], repeated[:3])
    assert (result.compared, result.missing, result.extra) == (2, (3 * PERIOD_NS,), (PERIOD_NS,))
    assert not result.equal


def test_stamps_within_half_a_frame_are_one_observation() -> None:
    shifted = [dataclasses.replace(decision, stamp_ns=decision.stamp_ns + 9_000_000) for decision in decisions()]
    assert compare(decisions(), shifted).equal


@given(st.lists(st.floats(width=32), min_size=12, max_size=12), st.integers(0, 11), st.floats(width=32))
def test_only_what_was_changed_differs(values: list[float], index: int, value: float) -> None:
    one = dataclasses.replace(decisions(1)[0], signals=np.array(values, dtype=np.float32))
    other = with_signal(one, index, value)
    names = [difference.field for difference in compare([one], [other]).differences]
    old, new = one.signals[index], other.signals[index]
    same = old.tobytes() == new.tobytes() or (np.isnan(old) and np.isnan(new))
    assert names == ([] if same else [NAMES[index]])


def test_every_field_of_the_message_but_its_duration_is_compared() -> None:
    from salus_msgs.msg import SafetySignals

    fields = set(SafetySignals.get_fields_and_field_types()) - {"header", "inference_ms"}
    assert set(FIELDS) == fields
