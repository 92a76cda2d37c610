"""A prediction as a message: every number under its name, and the alarm in words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from drawn_predictor import drawn_predictor
from salus_msgs.msg import FailurePrediction, SafetySignals
from salus_vla.contract.errors import MessageError
from salus_vla.ros.adapters.prediction_messages import failure_prediction
from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.decision_assembly import HeardSignals
from salus_vla.safety.prediction.failure_predictor import Prediction

EVENTS = np.array([[0.01, 0.02, 0.03], [0.04, 0.05, 0.06], [0.07, 0.08, 0.09]])


def said(alarm: str) -> Prediction:
    return Prediction(
        decision=4,
        events=EVENTS,
        slip=0.25,
        failure=0.5,
        spread=0.125,
        scores=np.log(np.array([0.5, 0.03, 0.06, 0.09, 0.25]) / (1.0 - np.array([0.5, 0.03, 0.06, 0.09, 0.25]))),
        thresholds=np.array([0.0, -1.0, -2.0, -3.0, -4.0]),
        alarm=alarm,
    )


def test_every_number_has_its_name() -> None:
    predictor = drawn_predictor()
    message = failure_prediction(said(""), predictor, 3_100_000_000, 17)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.decision) == (3, 100_000_000, 17)
    for row, kind in enumerate(("collision", "drop", "miss")):
        found = [getattr(message, f"{kind}_{horizon}") for horizon in ("0_25s", "0_5s", "1s")]
        np.testing.assert_allclose(found, EVENTS[row], rtol=1e-6)
    assert (message.slip, message.failure, message.spread) == (0.25, 0.5, 0.125)
    assert message.failure_threshold == 0.5
    np.testing.assert_allclose(message.slip_threshold, 1.0 / (1.0 + math.exp(4.0)), rtol=1e-6)
    np.testing.assert_allclose(message.alpha, 0.05, rtol=1e-6)
    assert (message.alarm, message.alarm_kind, message.detail) == (False, "", "")
    assert message.predictor == predictor.digest


@pytest.mark.parametrize(
    ("alarm", "words"),
    [
        ("failure", "the episode will probably fail: 50%, threshold 50%"),
        ("slip", "what is held slips: 25%, threshold 2%"),
        ("miss", "the hand closes on nothing within 1 s: 9%, threshold 5%"),
    ],
)
def test_an_alarm_is_said_in_words(alarm: str, words: str) -> None:
    message = failure_prediction(said(alarm), drawn_predictor(), 0, 0)
    assert message.alarm
    assert (message.alarm_kind, message.detail) == (alarm, words)
    assert {getattr(FailurePrediction, f"KIND_{name.upper()}") for name in SCORES} == set(SCORES)


def test_a_predictor_that_is_not_calibrated_has_no_thresholds() -> None:
    prediction = replace(said(""), thresholds=np.full(len(SCORES), np.nan))
    message = failure_prediction(prediction, replace(drawn_predictor(), band=None), 0, 0)
    assert message.alpha == 0.0
    assert math.isnan(message.failure_threshold)


def test_signals_that_are_not_valid_are_not_known() -> None:
    message = SafetySignals(valid=0b101, epistemic_uncertainty=0.5, max_joint_disagreement=0.25, decision=3)
    message.header.stamp.sec = 2
    heard = HeardSignals.of(message)
    assert (heard.stamp_ns, heard.decision) == (2_000_000_000, 3)
    assert heard.signals[[0, 2]].tolist() == [0.5, 0.25]
    assert np.isnan(heard.signals[[1, *range(3, 12)]]).all()
    assert heard.expert_state is None  # of a policy without a network, and in version 1
    assert heard.prefix_parts is None
    message.prefix_parts, message.prefix_part_count = [0.0] * 7, 2
    with pytest.raises(MessageError, match="7 values of prefix_parts in 2 parts"):
        HeardSignals.of(message)
