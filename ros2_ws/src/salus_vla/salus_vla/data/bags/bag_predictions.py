"""What a failure predictor said while a bag was recorded, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from salus_vla.contract import FAILURE_PREDICTION, INTERVENTION
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.data.bags.indexed_messages import read_topic
from salus_vla.data.recording import Interventions, Predictions
from salus_vla.safety.intervention.told_motion import ToldMotion


def predictions_of(bag: Path, is_inside: Callable[[int], bool] = lambda stamp_ns: True) -> Predictions | None:
    """From /salus/failure_prediction; None where nothing was foreseen.

    Args:
        bag: folder of a finished bag.
        is_inside: whether a stamp [ns] is of the episode.

    Raises:
        RecordingError: the bag cannot be read or is damaged; names it.
    """
    said = read_topic(bag, FAILURE_PREDICTION, ForeseenRisk.of)
    return Predictions.of(risk for risk in said if is_inside(risk.stamp_ns))


def interventions_of(bag: Path, is_inside: Callable[[int], bool] = lambda stamp_ns: True) -> Interventions | None:
    """From /salus/intervention; None in a bag without.

    Args:
        bag: folder of a finished bag.
        is_inside: whether a stamp [ns] is of the episode.

    Raises:
        RecordingError: the bag cannot be read or is damaged; names it.
    """
    told = read_topic(bag, INTERVENTION, ToldMotion.of)
    return Interventions.of(item for item in told if is_inside(item.stamp_ns))
