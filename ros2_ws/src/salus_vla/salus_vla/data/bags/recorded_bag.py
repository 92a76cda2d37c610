"""An episode of `salus collect` as a `Recording`: what its bag and its audit hold, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from salus_vla.config.scene import load_scene
from salus_vla.contract import (
    ARM_DOF,
    CAMERAS,
    CONTACT,
    ENTITIES,
    EPISODE,
    FAILURE_PREDICTION,
    JOINT_COMMAND,
    JOINT_STATES,
    JOINTS,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    Topic,
    image_topic,
    pose_topic,
)
from salus_vla.contract.bodies import CUBE, FINGER_BODIES
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import (
    EventKind,
    joint_positions,
    measured_joints,
    policy_states,
    stamp_of,
    to_contacts,
    to_ns,
    to_pose,
)
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.reasons import HANDED_OVER
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.data.bags.audit import AuditReport
from salus_vla.data.bags.bag_predictions import interventions_of, predictions_of
from salus_vla.data.bags.held_track import held_track
from salus_vla.data.bags.recorded_observations import (
    HALF_FRAME_NS,
    connections_of,
    episode_of,
    holds,
    messages_of,
    opened_bag,
    read_message,
    read_observations,
)
from salus_vla.data.bags.run_records import AUDIT_FILE, EpisodeEntry, EpisodeRecord, read_record
from salus_vla.data.intervention_events import intervention_events
from salus_vla.data.recording import (
    Decisions,
    Episode,
    HeldTrack,
    Interventions,
    JointTrack,
    Part,
    PoseTrack,
    Predictions,
    RecordedEvent,
    Recording,
    Summary,
    known_values,
)
from salus_vla.signals.safety_signals import NAMES

_CUBE = pose_topic(CUBE)
_IMAGES = (EPISODE, JOINT_STATES, *map(image_topic, CAMERAS))
_TOPICS = {
    Part.SIGNALS: (SAFETY_SIGNALS,),
    Part.COMMANDS: (JOINT_COMMAND,),
    Part.IMAGES: _IMAGES,
    Part.GROUND_TRUTH: (_CUBE,),
}
# Holds that belong to the course of every episode, and the one that an event of the task tells.
_USUAL = ("no_episode", "no_decision_yet", "run_complete", HANDED_OVER)


@dataclass(frozen=True)
class BagEpisode(Episode):
    """A bag in the folder of a run.

    Attributes:
        entry: its line in run.json.
        profile: randomisation profile.
        made: what audit.json would say of the bag of another recorder; None for our own.
        said: its number in the messages of a bag that holds several; None otherwise.
    """

    entry: EpisodeEntry
    profile: str
    made: EpisodeRecord | None = None
    said: int | None = None

    @cached_property
    def summary(self) -> Summary:
        """From run.json."""
        entry = self.entry
        return Summary(
            seed=entry.seed,
            profile=self.profile,
            policy=entry.policy_source,
            task=entry.task,
            outcome=Outcome[entry.outcome],
            decisions=entry.decisions,
            start_ns=entry.start_ns,
            end_ns=entry.end_ns,
            event_stamp_ns=entry.event_stamp_ns,
            detail=entry.detail,
            wall_s=entry.wall_s,
            gaps=entry.gaps,
            surplus=entry.surplus,
            recovered=entry.recovered,
        )

    def record(self) -> EpisodeRecord:
        """Its audit.json; raises RecordingError when it cannot be read."""
        if self.made is not None:
            return self.made
        return read_record(self.path / AUDIT_FILE, EpisodeRecord)

    def open(self) -> Recording:
        """Opens nothing yet: each method reads its own topics."""
        return BagRecording(self)


class BagRecording(Recording):
    """The messages of a bag; stamps are sim time."""

    def __init__(self, episode: BagEpisode) -> None:
        """Takes the episode."""
        self._episode, self._path = episode, episode.path
        self.summary = episode.summary

    @cached_property
    def _record(self) -> EpisodeRecord:
        return self._episode.record()

    def audit(self) -> AuditReport:
        """From audit.json."""
        return self._record.audit

    def provenance(self) -> dict[str, str]:
        """From audit.json."""
        return self._record.provenance

    def require(self, *parts: Part) -> None:
        """Compares seed, outcome and task with run.json, and looks for the topics."""
        with opened_bag(self._path) as reader:
            wanted = [topic for part in parts for topic in _TOPICS[part]]
            if self._episode.made is not None:  # read from these messages, or given where there are none
                connections_of(reader, self._path, [topic for topic in wanted if topic is not EPISODE])
                return
            found, listed = episode_of(reader, self._path), self.summary
            for what, here, there in (
                ("seed", found.seed, listed.seed),
                ("outcome", found.outcome.name, listed.outcome.name),
                ("task", found.task, listed.task),
            ):
                if here != there:
                    raise RecordingError(
                        f"{self._path}: has {what} {here!r}, run.json of {self._episode.run} says {there!r}"
                    )
            connections_of(reader, self._path, wanted)

    def decisions(self) -> Decisions:
        """From /salus/safety_signals."""
        where = f"{self._path}: {SAFETY_SIGNALS.name}"

        def row(message: Any) -> tuple[Any, ...]:
            values = [float(getattr(message, name)) for name in NAMES]
            latency_ms, plan = float(message.inference_ms), self._planned_arm(message)
            states = read_message(policy_states, message, where)
            return stamp_of(message), int(message.decision), latency_ms, int(message.valid), values, plan, *states

        rows = self._rows(SAFETY_SIGNALS, row)
        columns = zip(*rows, strict=True) if rows else ((),) * 8
        stamps, numbers, latencies, valid, values, plans, expert_states, prefix_parts = columns
        table = np.array(values, dtype=np.float64).reshape(-1, len(NAMES))
        return Decisions(
            stamps_ns=np.array(stamps, dtype=np.int64),
            numbers=np.array(numbers, dtype=np.int64),
            signals=known_values(table, np.array(valid, dtype=np.int64)),
            latency_ms=np.array(latencies, dtype=np.float64),
            planned=np.array(plans, dtype=np.float64).reshape(-1, ARM_DOF),
            expert_state=self._stacked(expert_states, "expert_state"),
            prefix_parts=self._stacked(prefix_parts, "prefix_parts"),
        )

    def _stacked(self, states: Sequence[NDArray[np.float32]], name: str) -> NDArray[np.float32] | None:
        """States of all decisions, NaN where one has none; None where none has any."""
        shapes = {state.shape for state in states if state.size}
        if not shapes:
            return None
        if len(shapes) > 1:
            raise RecordingError(
                f"{self._path}: {SAFETY_SIGNALS.name}: {name} has different shapes in one episode: {sorted(shapes)}"
            )
        unknown = np.full(next(iter(shapes)), np.nan, dtype=np.float32)
        return np.stack([state if state.size else unknown for state in states])

    def measured(self) -> JointTrack:
        """From /joint_states."""
        where = f"{self._path}: {JOINT_STATES.name}"
        rows = self._rows(
            JOINT_STATES, lambda message: (stamp_of(message), read_message(measured_joints, message, where))
        )
        table = np.array([measured for _, measured in rows], dtype=np.float64).reshape(-1, 3, len(JOINTS))
        stamps = np.array([stamp for stamp, _ in rows], dtype=np.int64)
        return JointTrack(stamps, table[:, 0], _unless_missing(table[:, 1]), _unless_missing(table[:, 2]))

    def commanded(self) -> JointTrack:
        """From /joint_command."""
        return self._joints(JOINT_COMMAND)

    def cube(self) -> PoseTrack:
        """From the cube's ground-truth pose."""

        def row(message: Any) -> tuple[int, list[float]]:
            pose = read_message(to_pose, message, f"{self._path}: {_CUBE.name}")
            return stamp_of(message), [*pose.position, *pose.quaternion]

        rows = self._rows(_CUBE, row)
        return PoseTrack(
            np.array([stamp for stamp, _ in rows], dtype=np.int64),
            np.array([pose for _, pose in rows], dtype=np.float64).reshape(-1, 7),
        )

    def held(self) -> HeldTrack | None:
        """The task's rules over the recorded frames again; None when joints, poses or contacts are missing."""
        topics = (JOINT_STATES, CONTACT, *map(pose_topic, ENTITIES))
        with opened_bag(self._path) as reader:
            if not all(holds(reader, topic) for topic in topics):
                return None
            frames = sorted(
                ((stamp_of(message), topic, message) for topic in topics for message in self._messages(reader, topic)),
                key=lambda item: item[0],
            )
        return held_track(frames, self.summary.start_ns, self.summary.end_ns, str(self._path))

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """None when a camera, the joints or the episode are missing in the bag."""
        with opened_bag(self._path) as reader:
            needed = [topic for topic in _IMAGES if topic is not EPISODE or self._episode.made is None]
            complete = all(holds(reader, topic) for topic in needed)
        task = None if self._episode.made is None else self.summary.task
        for number, observation in read_observations(self._path, task=task) if complete else ():
            if self._is_inside(observation.stamp_ns):
                yield number, observation

    def predictions(self) -> Predictions | None:
        """From /salus/failure_prediction."""
        return predictions_of(self._path, self._is_inside)

    def interventions(self) -> Interventions | None:
        """From /salus/intervention; None in a bag without."""
        return interventions_of(self._path, self._is_inside)

    def events(self) -> tuple[RecordedEvent, ...]:
        """Of the task, grasps, alarms, interventions, and nodes that held or failed while the episode went on."""
        with opened_bag(self._path) as reader:
            found = [
                *task_events(reader, self._path),
                *self._grasps(reader),
                *self._stops(reader),
                *self._alarms(reader),
            ]
        start_ns, outcome = self.summary.start_ns - HALF_FRAME_NS, self.summary.outcome
        found += intervention_events(self.interventions(), start_ns=start_ns, ended_by=outcome)
        found = [event for event in found if self._is_inside(event.stamp_ns)]
        return tuple(sorted(found, key=lambda event: event.stamp_ns))

    def _alarms(self, reader: AnyReader) -> Iterator[RecordedEvent]:
        """Where an alarm of the failure predictor begins or becomes another; a latched one may be from before."""
        start_ns, kind = self.summary.start_ns, ""
        for message in self._messages(reader, FAILURE_PREDICTION):
            if message.alarm and message.alarm_kind != kind and stamp_of(message) >= start_ns - HALF_FRAME_NS:
                yield RecordedEvent(stamp_of(message), "ALARM", str(message.detail))
            kind = str(message.alarm_kind)

    # -- topics --------------------------------------------------------------------------------------------------------

    def _messages(self, reader: AnyReader, topic: Topic) -> Iterator[Any]:
        return _messages(reader, topic, self._path)

    def _rows[RowT: tuple[Any, ...]](self, topic: Topic, row: Callable[[Any], RowT]) -> list[RowT]:
        """What is read of each message, in the order of its stamp, which comes first."""
        with opened_bag(self._path) as reader:
            rows = (row(message) for message in self._messages(reader, topic))
            return sorted((item for item in rows if self._is_inside(item[0])), key=lambda item: item[0])

    def _is_inside(self, stamp_ns: int) -> bool:
        """Whether a stamp is of the episode [ns]: only our own recorder ends with it."""
        if self._episode.made is None:
            return True
        entry = self._episode.entry
        return entry.start_ns - HALF_FRAME_NS <= stamp_ns <= entry.end_ns + HALF_FRAME_NS

    def _joints(self, topic: Topic) -> JointTrack:
        where = f"{self._path}: {topic.name}"
        rows = self._rows(topic, lambda message: (stamp_of(message), read_message(joint_positions, message, where)))
        return JointTrack(
            np.array([stamp for stamp, _ in rows], dtype=np.int64),
            np.array([position for _, position in rows], dtype=np.float64).reshape(-1, len(JOINTS)),
        )

    def _planned_arm(self, message: Any) -> FloatArray:
        """Mean over the members of the first row of their chunks, (7,) [rad]."""
        actions, members = np.asarray(message.member_actions, dtype=np.float64), int(message.members)
        if members < 1 or len(actions) != members * ARM_DOF:
            raise RecordingError(
                f"{self._path}: {SAFETY_SIGNALS.name}: has {len(actions)} member_actions of {members} members, "
                f"expected {ARM_DOF} each"
            )
        mean: FloatArray = actions.reshape(members, ARM_DOF).mean(axis=0)
        return mean

    def _grasps(self, reader: AnyReader) -> Iterator[RecordedEvent]:
        """When both fingers took the cube, and when one of them let go of it."""
        enough, held = load_scene().outcomes.grasp_force, False
        forces = dict.fromkeys(FINGER_BODIES, 0.0)
        for message in self._messages(reader, CONTACT):
            for contact in read_message(to_contacts, message, f"{self._path}: {CONTACT.name}"):
                for finger in forces.keys() & {contact.body_a, contact.body_b}:
                    if CUBE in (contact.body_a, contact.body_b):
                        forces[finger] = contact.force
            if (min(forces.values()) > 0.0) if held else (min(forces.values()) >= enough):
                if not held:
                    yield RecordedEvent(stamp_of(message), "grasped", "both fingers hold the cube")
                held = True
            elif held:
                yield RecordedEvent(stamp_of(message), "released", "the fingers let go of the cube")
                held = False

    def _stops(self, reader: AnyReader) -> Iterator[RecordedEvent]:
        start_ns, end_ns = self.summary.start_ns, self._episode.entry.end_ns
        for message in self._messages(reader, STATUS_TOPIC):
            stamp_ns = stamp_of(message)
            stopped = message.state in (message.HOLDING, message.FAILED) and message.reason not in _USUAL
            if start_ns < stamp_ns <= end_ns and stopped:
                kind = "holding" if message.state == message.HOLDING else "failed"
                text = f"{message.role}: {message.reason}" + (f": {message.detail}" if message.detail else "")
                yield RecordedEvent(stamp_ns, kind, text)


def _unless_missing(values: FloatArray) -> FloatArray | None:
    """None where nothing is known."""
    return values if np.isfinite(values).any() else None


def events_since_start(bag: Path) -> list[RecordedEvent]:
    """What happened in the task and what was done about it, with stamps since the start of the episode [ns].

    Empty without `/salus/episode`.

    Raises:
        RecordingError: the bag cannot be read.
    """
    with opened_bag(bag) as reader:
        starts = [stamp_of(item) for item in _messages(reader, EPISODE, bag) if item.kind == EventKind.STARTED]
        found = list(task_events(reader, bag))
    if not starts:
        return []
    handed = any(event.kind == Outcome.HANDED_OVER.name for event in found)
    found += intervention_events(
        interventions_of(bag),
        start_ns=starts[0] - HALF_FRAME_NS,
        ended_by=Outcome.HANDED_OVER if handed else Outcome.RUNNING,
    )
    found.sort(key=lambda event: event.stamp_ns)
    return [replace(event, stamp_ns=event.stamp_ns - starts[0]) for event in found]


def task_events(reader: AnyReader, path: Path) -> Iterator[RecordedEvent]:
    """Of `/salus/episode`: what ended the episode, tries that failed, and grasps that went wrong."""
    for message in _messages(reader, EPISODE, path):
        if message.kind == EventKind.EVENT:
            yield RecordedEvent(to_ns(message.event_stamp), str(message.event), str(message.detail))


def _messages(reader: AnyReader, topic: Topic, path: Path) -> Iterator[Any]:
    """Of a topic that the bag may lack."""
    if holds(reader, topic):
        for _, message in messages_of(reader, connections_of(reader, path, (topic,))):
            yield message
