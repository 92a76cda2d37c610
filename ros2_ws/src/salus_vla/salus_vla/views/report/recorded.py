"""What the report shows of a recorded episode: all times count from its first observation [s]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from salus_vla.contract import CAMERAS
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.data.bags.audit import AuditReport
from salus_vla.data.recording import Decisions, Episode, Interventions, JointTrack, Predictions
from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode, foreseen_of
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode, evaluated_of


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
        surplus: messages that were too many, found likewise.
        recovered: made from an interrupted bag.
        counted: False for what was recovered of an episode that was made again.
        taken_over_s: from when on another policy acted, from the start [s]; None when none did.
        taken_over_by, taken_over_when: that policy, and why.
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
    surplus: int = 0
    recovered: bool = False
    counted: bool = True
    taken_over_s: float | None = None
    taken_over_by: str = ""
    taken_over_when: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened in an episode: when, from its start [s], what in a word, and in words."""

    time_s: float
    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Joints:
    """Positions of the nine joints over time: ascending times (T,) [s] and positions (T, 9) [rad, m]."""

    times_s: FloatArray
    positions: FloatArray


@dataclass(frozen=True, eq=False)
class Recorded:
    """An episode as it was recorded.

    Attributes:
        facts: in a line.
        events: what happened, in order.
        decisions: with their signals; the one on the terminal observation may be among them.
        predictions: what was foreseen; None where nothing was.
        prediction_times_s: of their observations, [s].
        foreseen: whether that was an alarm; None where nothing was foreseen.
        interventions: what was done about it; None where nobody could intervene.
        intervention_times_s: of their observations, [s].
        decision_times_s: of their observations, (D,) [s].
        measured, commanded: the joints.
        evaluated: as the evaluation counts it.
        picture_times_s: of the camera sets, ascending, (P,) [s]; empty without images.
        pictures: camera -> P images.
        audit: of its messages; None where no messages were recorded.
        provenance: facts of the nodes, for a bag.
    """

    facts: Facts
    events: tuple[Event, ...]
    decisions: Decisions
    decision_times_s: FloatArray
    measured: Joints
    commanded: Joints
    evaluated: EvaluatedEpisode
    picture_times_s: FloatArray
    pictures: Mapping[str, Sequence[ImageArray]]
    audit: AuditReport | None
    provenance: Mapping[str, str]
    predictions: Predictions | None = None
    prediction_times_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    foreseen: ForeseenEpisode | None = None
    interventions: Interventions | None = None
    intervention_times_s: FloatArray = field(default_factory=lambda: np.zeros(0))


def recorded_of(episode: Episode) -> Recorded:
    """Reads an episode; what its recording lacks is empty.

    Raises:
        RecordingError: it cannot be read or is damaged; names bag or file.
    """
    recording = episode.open()
    summary = recording.summary
    start_ns, event_ns = summary.start_ns, summary.event_stamp_ns
    assert summary.end_ns is not None  # only a rollout that was not opened does not know it

    def joints(track: JointTrack) -> Joints:
        return Joints(seconds(track.stamps_ns, start_ns), track.positions)

    stamps: list[int] = []
    images: dict[str, list[ImageArray]] = {}
    for _, observation in recording.observations():
        stamps.append(observation.stamp_ns)
        for camera in CAMERAS:
            if camera in observation.images:
                images.setdefault(camera, []).append(observation.images[camera])
    decisions, predictions, interventions = recording.decisions(), recording.predictions(), recording.interventions()
    facts = Facts(
        name=episode.name,
        number=episode.number,
        seed=summary.seed,
        task=summary.task,
        policy=summary.policy,
        outcome=summary.outcome.name,
        decisions=summary.decisions,
        duration_s=float(seconds(summary.end_ns, start_ns)),
        wall_s=summary.wall_s,
        event_s=None if event_ns is None else float(seconds(event_ns, start_ns)),
        detail=summary.detail,
        gaps=summary.gaps,
        surplus=summary.surplus,
        recovered=summary.recovered,
        counted=episode.counted,
        taken_over_s=None if summary.taken_over_ns is None else float(seconds(summary.taken_over_ns, start_ns)),
        taken_over_by=summary.taken_over_by,
        taken_over_when=summary.taken_over_when,
    )
    return Recorded(
        facts=facts,
        events=tuple(Event(float(seconds(e.stamp_ns, start_ns)), e.kind, e.text) for e in recording.events()),
        decisions=decisions,
        predictions=predictions,
        prediction_times_s=seconds(() if predictions is None else predictions.stamps_ns, start_ns),
        foreseen=foreseen_of(summary, predictions),
        interventions=interventions,
        intervention_times_s=seconds(() if interventions is None else interventions.stamps_ns, start_ns),
        decision_times_s=seconds(decisions.stamps_ns, start_ns),
        measured=joints(recording.measured()),
        commanded=joints(recording.commanded()),
        evaluated=evaluated_of(summary, decisions),
        picture_times_s=seconds(stamps, start_ns),
        pictures=images,
        audit=recording.audit(),
        provenance=recording.provenance(),
    )
