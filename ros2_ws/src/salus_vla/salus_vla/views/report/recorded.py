"""What the report needs of a recorded episode: plain arrays, from bags and from rollouts alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from salus_vla.contract import JOINTS
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.data.bags.audit import AuditReport
from salus_vla.signals.safety_signals import NAMES


def seconds(stamps_ns: ArrayLike, start_ns: int = 0) -> FloatArray:
    """Stamps [ns] as times from a start [s]; subtracted before they are rounded."""
    return (np.asarray(stamps_ns, dtype=np.int64) - start_ns).astype(np.float64) * 1e-9


@dataclass(frozen=True)
class Facts:
    """What is known of an episode in a line.

    Attributes:
        name: of its bag's folder or of its file.
        number: in its run, from 0.
        seed, task, policy: as recorded.
        outcome: its name; RUNNING when the end is not recorded.
        decisions: periods of 100 ms that passed.
        duration_s: from the first to the terminal observation, sim time [s].
        wall_s: wall time that it took [s]; None where that is not recorded.
        event_s: when the event that ended it was found, from the start [s]; None without one.
        detail: the event in words.
        gaps: found by its audit; None where there is none.
        recovered: made from an interrupted bag.
        counted: False for what was recovered of an episode that was made again.
    """

    name: str
    number: int
    seed: int
    task: str
    policy: str
    outcome: str
    decisions: int
    duration_s: float
    wall_s: float | None
    event_s: float | None
    detail: str
    gaps: int | None
    recovered: bool = False
    counted: bool = True


@dataclass(frozen=True)
class Event:
    """Something that happened in an episode: when, from its start [s], what in a word, and in words."""

    time_s: float
    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Decisions:
    """The decisions of an episode; the one on the terminal observation may be among them.

    Attributes:
        times_s: of the observations, ascending, (D,) [s].
        numbers: of the decisions, (D,).
        signals: as `signals.NAMES`, (D, 12); NaN where a signal is not valid.
        latency_ms: wall time from the observation to the chunk, (D,) [ms]; NaN where it is not recorded.
    """

    times_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    signals: FloatArray = field(default_factory=lambda: np.zeros((0, len(NAMES))))
    latency_ms: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Joints:
    """Positions of the nine joints over time: ascending times (T,) [s] and positions (T, 9) [rad, m]."""

    times_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    positions: FloatArray = field(default_factory=lambda: np.zeros((0, len(JOINTS))))


@dataclass(frozen=True, eq=False)
class Recorded:
    """An episode as it was recorded; all times count from its first observation.

    Attributes:
        facts: in a line.
        events: what happened, in order.
        decisions: with their signals.
        measured, commanded: the joints.
        picture_times_s: of the camera sets, ascending, (P,) [s]; empty without images.
        pictures: camera -> P images.
        audit: of its messages; None where no messages were recorded.
        provenance: facts of the nodes, for a bag.
    """

    facts: Facts
    events: tuple[Event, ...]
    decisions: Decisions
    measured: Joints
    commanded: Joints
    picture_times_s: FloatArray
    pictures: Mapping[str, Sequence[ImageArray]]
    audit: AuditReport | None
    provenance: Mapping[str, str]
