"""An episode of `salus collect` for the report: what its bag and its audit hold, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader

from salus_vla.contract import (
    CAMERAS,
    EPISODE,
    GRASPED,
    JOINT_COMMAND,
    JOINT_STATES,
    JOINTS,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    Topic,
    image_topic,
)
from salus_vla.contract.messages import EventKind, joint_positions, stamp_of
from salus_vla.contract.types import ImageArray
from salus_vla.data.bags import recorded_observations as bags
from salus_vla.data.bags.run_records import AUDIT_FILE, EpisodeEntry, EpisodeRecord, read_record
from salus_vla.learning.evaluation.evaluated_episodes import known_values
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.report.recorded import Decisions, Event, Facts, Joints, Recorded, seconds

# Holds that belong to the course of every episode.
_USUAL = ("no_episode", "no_decision_yet", "run_complete")


def read_bag(run: Path, entry: EpisodeEntry, *, counted: bool = True) -> Recorded:
    """Reads a bag of `salus collect`; a topic that it lacks leaves its part empty.

    Args:
        run: folder of the run.
        entry: the episode in its run.json.
        counted: False for what was recovered of an episode that was made again.

    Raises:
        RecordingError: the bag or its audit cannot be read, or a message is not of the contract; names the bag.
    """
    path = run / entry.path
    record = read_record(path / AUDIT_FILE, EpisodeRecord)
    event_ns = entry.event_stamp_ns
    facts = Facts(
        name=entry.path,
        number=entry.number,
        seed=entry.seed,
        task=entry.task,
        policy=entry.policy_source,
        outcome=entry.outcome,
        decisions=entry.decisions,
        duration_s=entry.duration_s,
        wall_s=entry.wall_s,
        event_s=None if event_ns is None else float(seconds(event_ns, entry.start_ns)),
        detail=entry.detail,
        gaps=entry.gaps,
        recovered=entry.recovered,
        counted=counted,
    )
    with bags.opened_bag(path) as reader:
        events = [*_task_events(reader, path, entry), *_grasps(reader, entry), *_stops(reader, path, entry)]
        decisions = _decisions(reader, path, entry)
        measured = _joints(reader, path, JOINT_STATES, entry)
        commanded = _joints(reader, path, JOINT_COMMAND, entry)
        with_pictures = all(_holds(reader, topic) for topic in (EPISODE, JOINT_STATES, *map(image_topic, CAMERAS)))
    stamps: list[int] = []
    pictures: dict[str, list[ImageArray]] = {camera: [] for camera in CAMERAS}
    if with_pictures:
        for _, observation in bags.read_observations(path):
            stamps.append(observation.stamp_ns)
            for camera in CAMERAS:
                pictures[camera].append(observation.images[camera])
    return Recorded(
        facts=facts,
        events=tuple(sorted(events, key=lambda event: event.time_s)),
        decisions=decisions,
        measured=measured,
        commanded=commanded,
        picture_times_s=seconds(stamps, entry.start_ns),
        pictures=pictures if stamps else {},
        audit=record.audit,
        provenance=record.provenance,
    )


def _holds(reader: AnyReader, topic: Topic) -> bool:
    return any(connection.topic == topic.name and connection.msgcount for connection in reader.connections)


def _messages(reader: AnyReader, path: Path, topic: Topic) -> Iterator[Any]:
    """Of a topic that the bag may lack."""
    if _holds(reader, topic):
        for _, message in bags.messages_of(reader, bags.connections_of(reader, path, (topic,))):
            yield message


def _decisions(reader: AnyReader, path: Path, entry: EpisodeEntry) -> Decisions:
    rows = [
        (
            stamp_of(message),
            int(message.decision),
            float(message.inference_ms),
            int(message.valid),
            [float(getattr(message, name)) for name in NAMES],
        )
        for message in _messages(reader, path, SAFETY_SIGNALS)
    ]
    rows.sort(key=lambda row: row[0])
    values = np.array([row[4] for row in rows], dtype=np.float64).reshape(-1, len(NAMES))
    return Decisions(
        times_s=seconds([row[0] for row in rows], entry.start_ns),
        numbers=np.array([row[1] for row in rows], dtype=np.int64),
        signals=known_values(values, np.array([row[3] for row in rows], dtype=np.int64)),
        latency_ms=np.array([row[2] for row in rows], dtype=np.float64),
    )


def _joints(reader: AnyReader, path: Path, topic: Topic, entry: EpisodeEntry) -> Joints:
    where = f"{path}: {topic.name}"
    rows = [
        (stamp_of(message), bags.read_message(joint_positions, message, where))
        for message in _messages(reader, path, topic)
    ]
    rows.sort(key=lambda row: row[0])
    return Joints(
        times_s=seconds([stamp for stamp, _ in rows], entry.start_ns),
        positions=np.array([position for _, position in rows], dtype=np.float64).reshape(-1, len(JOINTS)),
    )


def _task_events(reader: AnyReader, path: Path, entry: EpisodeEntry) -> Iterator[Event]:
    """What /salus/episode says happened: the event that ended it, and tries that failed."""
    for message in _messages(reader, path, EPISODE):
        if message.kind == EventKind.EVENT:
            stamp = int(message.event_stamp.sec) * 1_000_000_000 + int(message.event_stamp.nanosec)
            yield Event(float(seconds(stamp, entry.start_ns)), str(message.event), str(message.detail))


def _grasps(reader: AnyReader, entry: EpisodeEntry) -> Iterator[Event]:
    """When the cube was taken and let go; such a message has no stamp, so the one it was recorded with counts."""
    connections = [c for c in reader.connections if c.topic == GRASPED.name and c.msgtype == GRASPED.type]
    held = False
    for connection, log_ns, raw in reader.messages(connections) if connections else ():
        message: Any = reader.deserialize(raw, connection.msgtype)
        if bool(message.data) != held:
            held = not held
            text = "both fingers hold the cube" if held else "the fingers let go of the cube"
            yield Event(float(seconds(log_ns, entry.start_ns)), "grasped" if held else "released", text)


def _stops(reader: AnyReader, path: Path, entry: EpisodeEntry) -> Iterator[Event]:
    """Nodes that held or failed while the episode went on."""
    for message in _messages(reader, path, STATUS_TOPIC):
        stamp = stamp_of(message)
        if (
            entry.start_ns < stamp <= entry.end_ns
            and message.state in (message.HOLDING, message.FAILED)
            and message.reason not in _USUAL
        ):
            kind = "holding" if message.state == message.HOLDING else "failed"
            text = f"{message.role}: {message.reason}" + (f": {message.detail}" if message.detail else "")
            yield Event(float(seconds(stamp, entry.start_ns)), kind, text)
