"""Parameters of the failure predictor's node, with their units and ranges."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.parameters import parameter
from salus_vla.config.paths import DEFAULT_PREDICTOR


@dataclass(frozen=True)
class PredictorParameters:
    """Parameters of failure_predictor."""

    predictor: str = parameter(
        DEFAULT_PREDICTOR,
        f"folder of a predictor, refused for another ensemble; {DEFAULT_PREDICTOR} is that of the ensemble that comes "
        "with SALUS, and says nothing of another one",
    )
    predictions_to: str = parameter(
        "bag_recorder", "node that must hear the predictions before this one is ready; empty where none has to"
    )
    autostart: bool = parameter(True, "configure and activate by itself; false where another node manages this one")
