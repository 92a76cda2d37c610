"""A prediction as a ROS message."""

from __future__ import annotations

from salus_msgs.msg import FailurePrediction
from salus_vla.ros.adapters.standard_messages import header
from salus_vla.safety.prediction.failure_predictor import FailurePredictor, Prediction
from salus_vla.safety.prediction.prediction_fields import prediction_fields


def failure_prediction(
    prediction: Prediction, predictor: FailurePredictor, stamp_ns: int, decision: int
) -> FailurePrediction:
    """The message of one decision."""
    return FailurePrediction(
        header=header(stamp_ns),
        schema_version=FailurePrediction.SCHEMA_VERSION,
        decision=decision,
        **prediction_fields(prediction, predictor),
    )
