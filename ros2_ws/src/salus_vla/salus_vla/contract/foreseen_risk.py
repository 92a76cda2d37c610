"""What a salus_msgs/FailurePrediction says, read from messages of rclpy and of bags with the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Any, Final, Self

from salus_vla.contract.message_readers import stamp_of

PREDICTED: Final = ("failure", "collision", "drop", "miss", "slip")  # the middle ones within 1 s
_FIELDS: Final = {name: f"{name}_1s" if name in ("collision", "drop", "miss") else name for name in PREDICTED}


@dataclass(frozen=True)
class ForeseenRisk:
    """What is foreseen at a decision.

    Attributes:
        stamp_ns: of the observation that was decided on, sim time [ns].
        decision: its number.
        values: probabilities by name in `PREDICTED`; NaN where one means nothing.
        thresholds: above which each is an alarm, likewise; NaN of a predictor that was not calibrated.
        alarm: kind of the alarm, or empty.
        detail: the alarm in words, or empty.
        alpha: share of successful episodes that may ever alarm; 0 of a predictor that was not calibrated.
    """

    stamp_ns: int
    decision: int
    values: Mapping[str, float]
    thresholds: Mapping[str, float]
    alarm: str
    detail: str
    alpha: float

    @classmethod
    def of(cls, message: Any) -> Self:
        """Reads a message."""
        return cls(
            stamp_ns=stamp_of(message),
            decision=int(message.decision),
            values={name: float(getattr(message, field)) for name, field in _FIELDS.items()},
            thresholds={name: float(getattr(message, f"{name}_threshold")) for name in PREDICTED},
            alarm=str(message.alarm_kind) if message.alarm else "",
            detail=str(message.detail),
            alpha=float(message.alpha),
        )

    @property
    def failure(self) -> float:
        """Probability that the episode does not succeed."""
        return self.values["failure"]

    @property
    def threshold(self) -> float:
        """Above which that is an alarm; NaN of a predictor that was not calibrated."""
        return self.thresholds["failure"]

    @property
    def relative(self) -> float:
        """The probability that is nearest to its threshold, as a share of it: 1 and more is an alarm.

        Without thresholds the probability that the episode does not succeed; NaN where nothing is known.
        """
        if not any(map(isfinite, self.thresholds.values())):
            return self.failure
        shares = [value / max(self.thresholds[name], 1e-9) for name, value in self.values.items()]
        return max((share for share in shares if not isnan(share)), default=nan)

    @property
    def in_words(self) -> str:
        """The probability of failure beside what would be an alarm: `12 %, alarm above 63 %`."""
        if not isfinite(self.failure):
            return "not known"
        limit = f"alarm above {self.threshold:.0%}" if isfinite(self.threshold) else "not calibrated"
        return f"{self.failure:.0%}, {limit}"
