"""The message of a decision: every signal stands in the field of its name."""

from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from salus_msgs.msg import MemberChunks, SafetySignals
from salus_vla.contract import message_readers
from salus_vla.contract.errors import MessageError
from salus_vla.contract.message_readers import policy_states
from salus_vla.control.decision import Decision
from salus_vla.ros.adapters.signal_messages import member_chunks, safety_signals
from salus_vla.signals.safety_signals import NAMES, SignalVector

STAMP, TIME = 12_020_000_000, Time(sec=12, nanosec=20_000_000)
NONE = np.zeros((0, 0), dtype=np.float32)
VECTOR = SignalVector(
    values=np.array([*np.arange(1, 12) / 8.0, np.nan], dtype=np.float32),
    member_actions=np.arange(21, dtype=np.float32).reshape(3, 7) / 16.0,
    members=3,
    noise_samples=2,
)
DECISION = Decision(
    number=41,
    stamp_ns=STAMP,
    chunk=None,
    signals=VECTOR,
    inference_ms=12.5,
    expert_state=np.arange(3, dtype=np.float32) / 4.0,
    member_chunks=np.arange(84, dtype=np.float32).reshape(3, 4, 7) / 8.0,
    prefix_parts=np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32),
)


def test_every_signal_stands_in_the_field_of_its_name() -> None:
    sent = safety_signals(DECISION)
    for name, value in zip(NAMES[:-1], np.arange(1, 12) / 8.0, strict=True):
        assert getattr(sent, name) == value, name
    assert np.isnan(sent.activation_novelty)
    assert sent.valid == 0b0111_1111_1111


def test_the_message_of_signals_says_where_they_come_from() -> None:
    sent = safety_signals(DECISION)
    assert (sent.header.stamp, sent.header.frame_id) == (TIME, "")
    assert (sent.decision, sent.inference_ms) == (41, 12.5)
    assert (sent.members, sent.noise_samples) == (3, 2)
    assert sent.schema_version == SafetySignals.SCHEMA_VERSION
    assert len(NAMES) == SafetySignals.SIGNAL_COUNT
    assert list(sent.member_actions) == list(np.arange(21) / 16.0)


def test_what_the_policy_saw_comes_back_in_its_shape() -> None:
    expert, parts = policy_states(safety_signals(DECISION))
    np.testing.assert_array_equal(expert, DECISION.expert_state)
    np.testing.assert_array_equal(parts, DECISION.prefix_parts)


def test_a_policy_without_a_network_has_no_states() -> None:
    expert, parts = policy_states(
        safety_signals(replace(DECISION, expert_state=np.zeros(0, np.float32), prefix_parts=NONE))
    )
    assert (expert.shape, parts.shape) == ((0,), (0, 0))


def test_the_members_chunks_come_back_in_their_shape() -> None:
    sent = member_chunks(DECISION, 0.1)
    assert (sent.header.stamp, sent.header.frame_id, sent.decision) == (TIME, "", 41)
    assert (sent.schema_version, sent.members, sent.rows) == (MemberChunks.SCHEMA_VERSION, 3, 4)
    assert sent.row_s == pytest.approx(0.1)
    np.testing.assert_array_equal(message_readers.member_chunks(sent), DECISION.member_chunks)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("members", 2, "has 84 values of arm, expected 2 members x 4 rows x 7"),
        ("row_s", 0.0, "has row_s 0.0, expected a time above 0 s"),
        ("row_s", float("nan"), "has row_s nan, expected a time above 0 s"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(field: str, value: float, said: str) -> None:
    broken = member_chunks(DECISION, 0.1)
    setattr(broken, field, value)
    with pytest.raises(MessageError, match=said):
        message_readers.member_chunks(broken)


def test_parts_of_different_lengths_are_refused() -> None:
    broken = safety_signals(DECISION)
    broken.prefix_part_count = 3
    with pytest.raises(MessageError, match="8 values of prefix_parts in 3 parts"):
        policy_states(broken)


def test_the_generated_message_has_the_signals_in_vector_order() -> None:
    fields = SafetySignals.get_fields_and_field_types()
    floats = [name for name, kind in fields.items() if kind == "float"]
    assert [name for name in floats if name != "inference_ms"] == list(NAMES)


def test_nothing_valid_is_a_message_too() -> None:
    sent = safety_signals(replace(DECISION, signals=replace(VECTOR, values=np.full(12, np.nan, np.float32))))
    assert sent.valid == 0
    assert all(np.isnan(getattr(sent, name)) for name in NAMES)
