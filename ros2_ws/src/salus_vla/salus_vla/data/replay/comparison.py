"""Compares two sequences of decisions, or predictions, on the same observations, field by field and bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.contract.message_readers import stamp_of
from salus_vla.contract.types import FloatArray
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.signals.safety_signals import NAMES

COUNTS = ("decision", "schema_version", "members", "noise_samples", "valid", "prefix_part_count")
EVIDENCE = "member_actions"
STATES = ("expert_state", "prefix_parts")  # since version 2
# Everything in SafetySignals.msg but the wall time that the decision took.
FIELDS = (*COUNTS, *NAMES, EVIDENCE, *STATES)
_WITH_STATES = 2
_HORIZONS = tuple(f"{kind}_{horizon}" for kind in ("collision", "drop", "miss") for horizon in ("0_25s", "0_5s", "1s"))
PROBABILITIES = (*_HORIZONS, "slip", "failure", "spread", *(f"{name}_threshold" for name in PREDICTED), "alpha")
# Everything in FailurePrediction.msg but the alarm in words, which are of these numbers, and which predictor said it.
PREDICTION_FIELDS = (*PROBABILITIES, "alarm", "alarm_kind")


@dataclass(frozen=True)
class RecordedDecision:
    """One message on /salus/safety_signals.

    Attributes:
        stamp_ns: of the observation that was decided on, sim time [ns].
        counts: the fields of `COUNTS`, by name.
        signals: shape (12,), float32, in the order of `signals.NAMES`; NaN where not computable.
        member_actions: first row of each member's mean chunk, flat, float32 [rad].
        expert_state, prefix_parts: flat, float32; empty in version 1.
    """

    stamp_ns: int
    counts: dict[str, int]
    signals: NDArray[np.float32]
    member_actions: NDArray[np.float32]
    expert_state: NDArray[np.float32]
    prefix_parts: NDArray[np.float32]

    @staticmethod
    def of(message: Any) -> RecordedDecision:
        """What a SafetySignals message says, one of rclpy or of rosbags."""
        return RecordedDecision(
            stamp_of(message),
            {name: int(getattr(message, name, 0)) for name in COUNTS},
            np.array([getattr(message, name) for name in NAMES], dtype=np.float32),
            np.array(message.member_actions, dtype=np.float32),
            *(np.array(getattr(message, name, ()), dtype=np.float32) for name in STATES),
        )

    @property
    def number(self) -> int:
        """Of the decision."""
        return self.counts["decision"]

    def value(self, field: str) -> NDArray[Any]:
        """Of a field in `FIELDS`."""
        if field in COUNTS:
            return np.array([self.counts[field]])
        if field in NAMES:
            return self.signals[NAMES.index(field) :][:1]
        found: NDArray[np.float32] = getattr(self, field)
        return found


@dataclass(frozen=True)
class RecordedPrediction:
    """One message on /salus/failure_prediction, or what would be in it.

    Attributes:
        stamp_ns: of the observation that was decided on, sim time [ns].
        number: of the decision.
        values: of the fields in `PREDICTION_FIELDS`.
        predictor: hash of the predictor.
    """

    stamp_ns: int
    number: int
    values: Mapping[str, NDArray[Any]]
    predictor: str

    @classmethod
    def of(cls, message: Any) -> Self:
        """What a message says, one of rclpy or of rosbags."""
        fields = {name: getattr(message, name) for name in (*PREDICTION_FIELDS, "predictor")}
        return cls.of_fields(stamp_of(message), int(message.decision), fields)

    @classmethod
    def of_fields(cls, stamp_ns: int, number: int, fields: Mapping[str, Any]) -> Self:
        """From the fields of a message by their names."""
        values: dict[str, NDArray[Any]] = {name: np.array([fields[name]], dtype=np.float32) for name in PROBABILITIES}
        values |= {"alarm": np.array([int(fields["alarm"])]), "alarm_kind": np.array([str(fields["alarm_kind"])])}
        return cls(stamp_ns, number, values, str(fields["predictor"]))

    def value(self, field: str) -> NDArray[Any]:
        """Of a field in `PREDICTION_FIELDS`."""
        return self.values[field]


class Repeatable(Protocol):
    """What two runs say of the same observation."""

    @property
    def stamp_ns(self) -> int:
        """Of the observation [ns]."""

    @property
    def number(self) -> int:
        """Of the decision."""

    def value(self, field: str) -> NDArray[Any]:
        """What a field says."""


@dataclass(frozen=True)
class Difference:
    """One field that is not the same in all decisions.

    Attributes:
        field: its name in the message.
        count: decisions in which it differs.
        largest: largest absolute difference; infinite where only one side has a value, and of words.
        first: number of the first decision in which it differs, as recorded.
    """

    field: str
    count: int
    largest: float
    first: int


@dataclass(frozen=True)
class Comparison:
    """What two sequences of decisions have in common.

    Attributes:
        compared: decisions on the same observation.
        missing: stamps [ns] of recorded decisions that were not made again; extra: of new ones that were not recorded.
        differences: fields that differ, in the order of the message.
    """

    compared: int
    missing: tuple[int, ...]
    extra: tuple[int, ...]
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether every decision was made again, bit for bit."""
        return self.compared > 0 and not (self.missing or self.extra or self.differences)


def compare(recorded: Sequence[RecordedDecision], repeated: Sequence[RecordedDecision]) -> Comparison:
    """Compares decisions on observations of the same stamp, to half a frame."""
    # A recording of an older version is compared in what it holds.
    older = all(decision.counts["schema_version"] < _WITH_STATES for decision in recorded)
    return _compare(
        recorded,
        repeated,
        [field for field in FIELDS if not older or field not in ("schema_version", "prefix_part_count", *STATES)],
    )


def compare_predictions(recorded: Sequence[RecordedPrediction], repeated: Sequence[RecordedPrediction]) -> Comparison:
    """Compares what was foreseen from decisions on observations of the same stamp, to half a frame."""
    return _compare(recorded, repeated, PREDICTION_FIELDS)


def _compare[T: Repeatable](recorded: Sequence[T], repeated: Sequence[T], fields: Sequence[str]) -> Comparison:
    pairs, missing = [], []
    left = sorted(repeated, key=lambda decision: decision.stamp_ns)
    for decision in sorted(recorded, key=lambda decision: decision.stamp_ns):
        found = min(left, key=lambda other: abs(other.stamp_ns - decision.stamp_ns), default=None)
        if found is None or abs(found.stamp_ns - decision.stamp_ns) > HALF_FRAME_NS:
            missing.append(decision.stamp_ns)
            continue
        left.remove(found)
        pairs.append((decision, found))
    differences = [_difference(field, pairs) for field in fields]
    return Comparison(
        compared=len(pairs),
        missing=tuple(missing),
        extra=tuple(decision.stamp_ns for decision in left),
        differences=tuple(difference for difference in differences if difference is not None),
    )


def _difference[T: Repeatable](field: str, pairs: Sequence[tuple[T, T]]) -> Difference | None:
    found = [(old.number, _distance(old.value(field), new.value(field))) for old, new in pairs]
    differing = [(number, distance) for number, distance in found if distance is not None]
    if not differing:
        return None
    return Difference(field, len(differing), max(distance for _, distance in differing), differing[0][0])


def _distance(old: NDArray[Any], new: NDArray[Any]) -> float | None:
    """Largest absolute difference of two arrays; None when they have the same bits, NaN being one value."""
    if old.shape != new.shape:
        return float("inf")
    if old.dtype.kind == "U":
        return None if bool(np.all(old == new)) else float("inf")
    both_unset = np.isnan(old) & np.isnan(new)
    bits = f"u{old.dtype.itemsize}"  # 0.0 and -0.0 are equal as numbers
    if bool(np.all((old.view(bits) == new.view(bits)) | both_unset)):
        return None
    distance: FloatArray = np.abs(old.astype(np.float64) - new.astype(np.float64))[~both_unset]
    return float(np.where(np.isfinite(distance), distance, np.inf).max())
