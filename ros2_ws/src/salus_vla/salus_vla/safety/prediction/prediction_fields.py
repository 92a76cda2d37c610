"""What a salus_msgs/FailurePrediction says of a prediction, by the names of its fields."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.failure_predictor import FailurePredictor, Prediction
from salus_vla.safety.prediction.predictor_network import HORIZONS_S, FailureKind

_WORDS: Final = {
    "failure": "the episode will probably fail",
    "collision": "a collision within 1 s",
    "drop": "a drop within 1 s",
    "miss": "the hand closes on nothing within 1 s",
    "slip": "what is held slips",
}


def prediction_fields(prediction: Prediction, predictor: FailurePredictor) -> dict[str, Any]:
    """Every field but header, version and number of the decision."""
    thresholds = dict(zip(SCORES, map(_probability, prediction.thresholds), strict=True))
    events = {
        f"{kind.name.lower()}_{f'{horizon:g}'.replace('.', '_')}s": float(prediction.events[kind, place])
        for kind in FailureKind
        for place, horizon in enumerate(HORIZONS_S)
    }
    return {
        **events,
        "slip": prediction.slip,
        "failure": prediction.failure,
        "spread": prediction.spread,
        **{f"{name}_threshold": value for name, value in thresholds.items()},
        "alpha": 0.0 if predictor.band is None else predictor.band.alpha,
        "alarm": bool(prediction.alarm),
        "alarm_kind": prediction.alarm,
        "detail": _in_words(prediction, thresholds),
        "predictor": predictor.digest,
    }


def _in_words(prediction: Prediction, thresholds: dict[str, float]) -> str:
    if not prediction.alarm:
        return ""
    said = _probability(prediction.scores[SCORES.index(prediction.alarm)])
    return f"{_WORDS[prediction.alarm]}: {said:.0%}, threshold {thresholds[prediction.alarm]:.0%}"


def _probability(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50.0, 50.0))))
