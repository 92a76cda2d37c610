"""Predictions of a failure predictor that was never run: as messages of a bag, and as what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salus_vla.contract import FAILURE_PREDICTION
from salus_vla.contract.foreseen_risk import PREDICTED, ForeseenRisk
from samples import cdr, header, make

THRESHOLD = 0.5


def prediction(stamp_ns: int, decision: int, failure: float, alarm: str = "", **changes: Any) -> bytes:
    """A message in which an alarm above 0.5 is of the kind `alarm`."""
    horizons = [f"{kind}_{horizon}" for kind in ("collision", "drop", "miss") for horizon in ("0_25s", "0_5s", "1s")]
    fields: dict[str, Any] = {
        "header": header(stamp_ns),
        "schema_version": 1,
        "decision": decision,
        **dict.fromkeys(horizons, 0.01),
        "slip": float("nan"),
        "failure": failure,
        "spread": 0.1,
        **{f"{name}_threshold": THRESHOLD for name in PREDICTED},
        "alpha": 0.05,
        "alarm": bool(alarm),
        "alarm_kind": alarm,
        "detail": f"{alarm}: {failure:.0%}, threshold 50%" if alarm else "",
        "predictor": "feedfeedfeed",
    }
    return cdr(FAILURE_PREDICTION, make(FAILURE_PREDICTION.type, **(fields | changes)))


def risk(
    decision: int, failure: float = 0.1, alarm: str = "", *, alpha: float = 0.05, stamp_ns: int = 0
) -> ForeseenRisk:
    """The same, read; without alpha there is no threshold."""
    limit = THRESHOLD if alpha else float("nan")
    return ForeseenRisk(
        stamp_ns=stamp_ns,
        decision=decision,
        values=dict.fromkeys(PREDICTED, 0.01) | {"failure": failure, "slip": float("nan")},
        thresholds=dict.fromkeys(PREDICTED, limit),
        alarm=alarm,
        detail=f"{alarm}: {failure:.0%}, threshold 50%" if alarm else "",
        alpha=alpha,
    )


def episode_of(
    start_ns: int, period_ns: int, alarms: Sequence[str], failure: float = 0.1, alpha: float = 0.05
) -> list[ForeseenRisk]:
    """One per decision, with these alarms."""
    return [
        risk(number, failure, alarm, alpha=alpha, stamp_ns=start_ns + number * period_ns)
        for number, alarm in enumerate(alarms)
    ]
