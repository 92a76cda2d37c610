"""A recorded episode as its readers see it, whether it is a bag of the graph or a file of `salus rollout`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import JOINTS
from salus_vla.contract.foreseen_risk import PREDICTED, ForeseenRisk
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.data.bags.audit import AuditReport
from salus_vla.safety.intervention.told_motion import ToldMotion
from salus_vla.signals.safety_signals import NAMES


class Part(Enum):
    """What a recording may lack."""

    SIGNALS = "safety signals"
    COMMANDS = "commands"
    IMAGES = "images"
    GROUND_TRUTH = "ground truth"


@dataclass(frozen=True)
class Summary:
    """What is known of a finished episode without its messages or arrays; all stamps as its recording has them.

    Attributes:
        seed: of the scene and the policy's noise.
        profile: randomisation profile.
        policy: `policy_source`.
        task: instruction given to the policy.
        outcome: how it ended; RUNNING when the end is not recorded.
        decisions: periods of 100 ms that passed; the decision on the terminal observation is not counted.
        start_ns: stamp of the first observation [ns].
        end_ns: of the terminal one, where the summary knows it [ns].
        event_stamp_ns: when the event that ended it was found [ns]; None without one.
        detail: the event in words.
        wall_s: wall time that it took [s]; None where that is not recorded.
        gaps: found by its audit; None where there is none.
        surplus: messages that were too many, found likewise: two graphs were mixed.
        recovered: made from an interrupted bag.
        taken_over_ns: stamp of the first decision that another policy made, until the end [ns]; None when none did.
        taken_over_by: that policy; empty when none did.
        taken_over_when: the condition that held.
    """

    seed: int
    profile: str
    policy: str
    task: str
    outcome: Outcome
    decisions: int
    start_ns: int
    end_ns: int | None
    event_stamp_ns: int | None
    detail: str
    wall_s: float | None = None
    gaps: int | None = None
    surplus: int = 0
    recovered: bool = False
    taken_over_ns: int | None = None
    taken_over_by: str = ""
    taken_over_when: str = ""

    @property
    def taken_over(self) -> bool:
        """Whether another policy ended it: how it ended says nothing of the one that began it."""
        return self.taken_over_ns is not None


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions in the order of their observations; the one on the terminal observation may be among them.

    Attributes:
        stamps_ns: of the observations, ascending, (D,) [ns].
        numbers: of the decisions, (D,).
        signals: as `signals.NAMES`, (D, 12); NaN where a signal is not valid.
        latency_ms: wall time from the observation to the chunk, (D,) [ms]; NaN where it is not recorded.
        planned: what the policy wanted 100 ms later: arm [rad] and, where it was recorded, gripper width [m];
            (D, 7) or (D, 8).
        expert_state: see `PolicyOutput`, float32 (D, E); None where it was not recorded.
        prefix_parts: see `PolicyOutput`, float32 (D, C + 1, W); None where it was not recorded.
    """

    stamps_ns: NDArray[np.int64]
    numbers: NDArray[np.int64]
    signals: FloatArray
    latency_ms: FloatArray
    planned: FloatArray
    expert_state: NDArray[np.float32] | None = None
    prefix_parts: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a failure predictor foresaw, in the order of the observations.

    Attributes:
        stamps_ns: of the observations, ascending, (D,) [ns].
        numbers: of the decisions, (D,).
        values: probabilities by name in `PREDICTED`, (D,) each; NaN where one means nothing.
        thresholds: above which each is an alarm, likewise; NaN of a predictor that was not calibrated.
        alarms: kind of the alarm, or empty, D.
        details: the alarm in words, or empty, D.
        alpha: share of successful episodes that may ever alarm; 0 of a predictor that was not calibrated.
    """

    stamps_ns: NDArray[np.int64]
    numbers: NDArray[np.int64]
    values: Mapping[str, FloatArray]
    thresholds: Mapping[str, FloatArray]
    alarms: tuple[str, ...]
    details: tuple[str, ...]
    alpha: float

    @classmethod
    def of(cls, risks: Iterable[ForeseenRisk]) -> Self | None:
        """Puts what was said of an episode in order; None of nothing."""
        said = sorted(risks, key=lambda risk: risk.stamp_ns)
        if not said:
            return None
        return cls(
            stamps_ns=np.array([risk.stamp_ns for risk in said], dtype=np.int64),
            numbers=np.array([risk.decision for risk in said], dtype=np.int64),
            values={name: np.array([risk.values[name] for risk in said]) for name in PREDICTED},
            thresholds={name: np.array([risk.thresholds[name] for risk in said]) for name in PREDICTED},
            alarms=tuple(risk.alarm for risk in said),
            details=tuple(risk.detail for risk in said),
            alpha=said[-1].alpha,
        )


@dataclass(frozen=True, eq=False)
class Interventions:
    """What was done about foreseen failures, in the order of the observations.

    Attributes:
        told: of each decision, D.
    """

    told: tuple[ToldMotion, ...]

    @classmethod
    def of(cls, told: Iterable[ToldMotion]) -> Self | None:
        """Puts what was told of an episode in order; None of nothing."""
        found = tuple(sorted(told, key=lambda item: item.stamp_ns))
        return cls(found) if found else None

    @cached_property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Of the observations, ascending, (D,) [ns]."""
        return np.array([item.stamp_ns for item in self.told], dtype=np.int64)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Name in `candidates.CHOICES` of what was followed, or would have been, D."""
        return tuple(item.chosen for item in self.told)

    @cached_property
    def probability(self) -> FloatArray:
        """That it was drawn with, (D,); 1 where it was not drawn."""
        return np.array([item.probability for item in self.told])

    @cached_property
    def failure(self) -> Mapping[str, FloatArray]:
        """Probability of failure with each motion that was weighed, by name, (D,) each; NaN where it was not."""
        names = dict.fromkeys(name for item in self.told for name in item.failure)
        return {name: np.array([item.failure.get(name, np.nan) for item in self.told]) for name in names}

    @cached_property
    def acted(self) -> NDArray[np.bool_]:
        """Whether the arm followed it, (D,)."""
        return np.array([item.acted for item in self.told], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class JointTrack:
    """The nine joints over time.

    Attributes:
        stamps_ns: ascending, (T,) [ns].
        positions: (T, 9) [rad, m].
        velocities: (T, 9) [rad/s, m/s]; None for commands, and where they were not recorded.
        efforts: (T, 9) [N m, N]; likewise, and NaN for a message without: a robot may not measure them.
    """

    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    positions: FloatArray = field(default_factory=lambda: np.zeros((0, len(JOINTS))))
    velocities: FloatArray | None = None
    efforts: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Poses in the world: ascending stamps (T,) [ns]; x y z [m] and quaternion x y z w, (T, 7)."""

    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    poses: FloatArray = field(default_factory=lambda: np.zeros((0, 7)))


@dataclass(frozen=True, eq=False)
class HeldTrack:
    """Whether both fingers hold the cube: ascending stamps of frames (T,) [ns], and (T,)."""

    stamps_ns: NDArray[np.int64]
    held: NDArray[np.bool_]


@dataclass(frozen=True)
class RecordedEvent:
    """Something that happened: when [ns], what in a word, and in words."""

    stamp_ns: int
    kind: str
    text: str


class Recording(ABC):
    """An opened episode. What it lacks is empty, unless `require` was asked for it.

    Every method raises RecordingError, naming bag or file, when the recording is damaged or breaks the contract.
    """

    summary: Summary

    @abstractmethod
    def require(self, *parts: Part) -> None:
        """Checks that this is the episode that its run lists, with these parts.

        Raises:
            RecordingError: it is another one, or lacks a part; names bag or file.
        """

    @abstractmethod
    def decisions(self) -> Decisions:
        """Signals and plans."""

    @abstractmethod
    def measured(self) -> JointTrack:
        """Joints as measured in each frame."""

    @abstractmethod
    def commanded(self) -> JointTrack:
        """What the frames were answered with."""

    @abstractmethod
    def cube(self) -> PoseTrack:
        """Ground truth: where the cube was."""

    @abstractmethod
    def held(self) -> HeldTrack | None:
        """Whether the cube was held, from ground truth; None where that was not recorded."""

    def predictions(self) -> Predictions | None:
        """What was foreseen while it was recorded; None where nothing was."""
        return None

    def interventions(self) -> Interventions | None:
        """What was done about foreseen failures while it was recorded; None where nobody could intervene."""
        return None

    @abstractmethod
    def observations(self) -> Iterator[tuple[int, Observation]]:
        """Number of the decision and what was decided on, in order; the terminal one may be among them."""

    @abstractmethod
    def events(self) -> tuple[RecordedEvent, ...]:
        """What happened, in order."""

    @abstractmethod
    def audit(self) -> AuditReport | None:
        """Of its messages; None where no messages were recorded."""

    @abstractmethod
    def provenance(self) -> Mapping[str, str]:
        """Facts of the nodes that recorded it; empty where there were none."""


@dataclass(frozen=True)
class Episode(ABC):
    """A finished episode of a run, before it is read; can be sent to another process.

    Attributes:
        path: folder of the bag, or file of the rollout.
        run: id of its run.
        name: in its run.
        number: in its run, from 0.
        seed: that the run lists.
        counted: False for what was recovered of an episode that was made again.
    """

    path: Path
    run: str
    name: str
    number: int
    seed: int
    counted: bool

    @property
    @abstractmethod
    def summary(self) -> Summary:
        """What is known of it without reading it; raises RecordingError, naming the file, when that is damaged."""

    @abstractmethod
    def open(self) -> Recording:
        """Opens it; raises RecordingError, naming bag or file, when it cannot be read."""


def known_values(values: np.ndarray, valid: np.ndarray) -> FloatArray:
    """Signals (D, 12) as float64, with NaN where the bit of `valid` (D,) is 0 or the value is not finite."""
    bits = (valid.astype(np.int64)[:, None] >> np.arange(len(NAMES))) & 1
    wide = values.astype(np.float64)
    return np.where((bits == 1) & np.isfinite(wide), wide, np.nan)
