"""A prediction as a ROS message, and what it is made from."""

from __future__ import annotations

import math

import numpy as np

from salus_msgs.msg import FailurePrediction, SafetySignals
from salus_vla.contract.message_readers import policy_states
from salus_vla.ros.adapters.messages import to_ns
from salus_vla.ros.adapters.standard_messages import header
from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.decision_assembly import HeardSignals
from salus_vla.safety.prediction.failure_predictor import FailurePredictor, Prediction
from salus_vla.safety.prediction.predictor_network import HORIZONS_S, FailureKind
from salus_vla.signals.safety_signals import NAMES

_WORDS = {
    "failure": "the episode will probably fail",
    "collision": "a collision within 1 s",
    "drop": "a drop within 1 s",
    "miss": "the hand closes on nothing within 1 s",
    "slip": "what is held slips",
}


def heard_signals(message: SafetySignals) -> HeardSignals:
    """What the policy said of a decision.

    Raises:
        MessageError: the arrays of the message do not agree.
    """
    expert, prefix = policy_states(message)
    values = [getattr(message, name) if message.valid >> index & 1 else math.nan for index, name in enumerate(NAMES)]
    return HeardSignals(
        stamp_ns=to_ns(message.header.stamp),
        decision=int(message.decision),
        signals=np.array(values, dtype=np.float32),
        expert_state=expert if expert.size else None,
        prefix_parts=prefix if prefix.size else None,
    )


def failure_prediction(
    prediction: Prediction, predictor: FailurePredictor, stamp_ns: int, decision: int
) -> FailurePrediction:
    """The message of one decision."""
    thresholds = dict(zip(SCORES, map(_probability, prediction.thresholds), strict=True))
    events = {
        f"{kind.name.lower()}_{f'{horizon:g}'.replace('.', '_')}s": float(prediction.events[kind, place])
        for kind in FailureKind
        for place, horizon in enumerate(HORIZONS_S)
    }
    return FailurePrediction(
        header=header(stamp_ns),
        schema_version=FailurePrediction.SCHEMA_VERSION,
        decision=decision,
        **events,
        slip=prediction.slip,
        failure=prediction.failure,
        spread=prediction.spread,
        **{f"{name}_threshold": value for name, value in thresholds.items()},
        alpha=0.0 if predictor.band is None else predictor.band.alpha,
        alarm=bool(prediction.alarm),
        alarm_kind=prediction.alarm,
        detail=_in_words(prediction, thresholds),
        predictor=predictor.digest,
    )


def _in_words(prediction: Prediction, thresholds: dict[str, float]) -> str:
    if not prediction.alarm:
        return ""
    said = _probability(prediction.scores[SCORES.index(prediction.alarm)])
    return f"{_WORDS[prediction.alarm]}: {said:.0%}, threshold {thresholds[prediction.alarm]:.0%}"


def _probability(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50.0, 50.0))))
