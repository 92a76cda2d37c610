"""What run.json and audit.json would say of a bag that another recorder made, such as `ros2 bag record`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from salus_vla.contract import (
    CAMERAS,
    DECISION_HZ,
    EPISODE,
    JOINT_STATES,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    TOPICS,
    image_topic,
)
from salus_vla.contract.errors import MessageError, RecordingError
from salus_vla.contract.message_readers import EventKind, stamp_of, to_ns
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.bags.audit import SECOND_NS, Audit, AuditReport
from salus_vla.data.bags.bag_metadata import METADATA_FILE
from salus_vla.data.bags.recorded_observations import (
    connections_of,
    episode_of,
    holds,
    messages_of,
    opened_bag,
    said_of,
)
from salus_vla.data.bags.run_info import read_bag
from salus_vla.data.bags.run_records import EpisodeEntry, EpisodeRecord
from salus_vla.data.bags.stamps import stamp_layout

# What an episode must have at each of its observations, as far as it was recorded.
_COMMON = (JOINT_STATES.name, *(image_topic(camera).name for camera in CAMERAS), SAFETY_SIGNALS.name)


def bags_in(path: Path) -> tuple[Path, ...]:
    """A finished bag itself, else the finished bags in a folder by name; empty where there are none."""
    if (path / METADATA_FILE).is_file():
        return (path,)
    if not path.is_dir():
        return ()
    return tuple(sorted(item for item in path.iterdir() if item.name[0] != "." and (item / METADATA_FILE).is_file()))


def foreign_record(
    bag: Path, number: int, episode: int | None = None, assumed: Assumed = NOTHING_ASSUMED
) -> EpisodeRecord:
    """Reads everything of an episode of a bag that its own recorder would have noted.

    A bag without /salus/episode is one episode, from the first to the last stamp that all of its cameras, joints and
    signals have. Its seed is not known: a negative number stands for it, the same whenever this bag is read.

    Args:
        bag: folder of a finished bag.
        number: that the episode gets in its run.
        episode: its number in the bag; None where that holds one or none.
        assumed: what the bag does not say.

    Raises:
        RecordingError: no readable bag, no start of exactly one such episode in it, or it ends before it starts.
    """
    custom_data = read_bag(bag).custom_data
    with opened_bag(bag) as reader:
        if not holds(reader, EPISODE):
            return _unsaid(reader, bag, number, assumed, custom_data)
        found = episode_of(reader, bag, episode)
        said = said_of(reader, bag, episode)
        started = next((message for message in said if message.kind == EventKind.STARTED), None)
        if started is None:
            raise RecordingError(f"{bag}: {EPISODE.name} does not start an episode")
        ended = next((message for message in reversed(said) if message.kind == EventKind.ENDED), None)
        start_ns = stamp_of(started)
        stamps = list(_stamps(reader))
        end_ns = stamp_of(ended) if ended is not None else max((stamp for _, stamp, _ in stamps), default=start_ns)
        if end_ns < start_ns:
            raise RecordingError(f"{bag}: {EPISODE.name}: the episode ends before it starts")
        audit = _audit(stamps, start_ns, end_ns)
        provenance = {**_facts(reader, bag), **custom_data}
    passed = -(-(end_ns - start_ns) * round(DECISION_HZ) // SECOND_NS)
    event_ns = to_ns(ended.event_stamp) if ended is not None and ended.event else None
    entry = EpisodeEntry(
        number=number,
        seed=found.seed,
        task=found.task,
        policy_source=str(started.policy_source),
        outcome=found.outcome.name if ended is not None else (assumed.outcome or Outcome.RUNNING).name,
        decisions=int(ended.decisions) if ended is not None else passed,
        start_ns=start_ns,
        end_ns=end_ns,
        wall_s=None,
        event_stamp_ns=event_ns,
        detail=str(ended.detail) if ended is not None else assumed.detail,
        path=bag.name,
        messages=audit.messages,
        gaps=audit.gaps,
        surplus=audit.surplus,
    )
    return EpisodeRecord(str(started.run_id), entry, provenance, audit)


def _unsaid(reader: AnyReader, bag: Path, number: int, assumed: Assumed, custom_data: dict[str, str]) -> EpisodeRecord:
    """The episode of a bag without /salus/episode."""
    connections_of(reader, bag, (JOINT_STATES,))  # it must have them
    stamps = list(_stamps(reader))
    by_topic: dict[str, list[int]] = {}
    for topic, stamp_ns, _ in stamps:
        by_topic.setdefault(topic, []).append(stamp_ns)
    common = [by_topic[topic] for topic in _COMMON if topic in by_topic]
    start_ns, end_ns = max(min(found) for found in common), min(max(found) for found in common)
    if end_ns < start_ns:
        raise RecordingError(f"{bag}: its cameras, joints and signals are not of one time")
    provenance = {**_facts(reader, bag), **custom_data}
    audit = _audit(stamps, start_ns, end_ns)
    entry = EpisodeEntry(
        number=number,
        seed=-1 - zlib.crc32((bag / METADATA_FILE).read_bytes()),
        task=assumed.task,
        policy_source=json_text(provenance.get("policy.param.policy", "")) or "unknown",
        outcome=(assumed.outcome or Outcome.RUNNING).name,
        decisions=-(-(end_ns - start_ns) * round(DECISION_HZ) // SECOND_NS),
        start_ns=start_ns,
        end_ns=end_ns,
        wall_s=None,
        event_stamp_ns=None,
        detail=assumed.detail,
        path=bag.name,
        messages=audit.messages,
        gaps=audit.gaps,
        surplus=audit.surplus,
    )
    return EpisodeRecord(bag.resolve().name, entry, provenance, audit)


def json_text(text: str) -> str:
    """A string that may be recorded as JSON."""
    return text.strip('"')


def node_facts(bag: Path) -> dict[str, str]:
    """What the nodes said of themselves, `ROLE.NAME`: custom data of the bag, else their recorded status.

    Tools that convert bags drop custom data.

    Raises:
        RecordingError: no readable bag; names it.
    """
    custom_data = read_bag(bag).custom_data
    if any(name.startswith("policy.") for name in custom_data):
        return custom_data
    with opened_bag(bag) as reader:
        return custom_data | _facts(reader, bag)


def _facts(reader: AnyReader, bag: Path) -> dict[str, str]:
    facts: dict[str, str] = {}
    if any(item.topic == STATUS_TOPIC.name and item.msgcount for item in reader.connections):
        for _, message in messages_of(reader, connections_of(reader, bag, (STATUS_TOPIC,))):
            facts |= {f"{message.role}.{item.key}": str(item.value) for item in message.facts}
    return facts


def _stamps(reader: AnyReader) -> Iterator[tuple[str, int, int]]:
    """Topic, stamp [ns] and size [bytes] of the messages that have one, of topics of the contract."""
    types = {topic.name: topic.type for topic in TOPICS}
    connections = [item for item in reader.connections if types.get(item.topic) == item.msgtype and item.msgcount]
    layouts = {item.msgtype: stamp_layout(reader.typestore.fielddefs, item.msgtype) for item in connections}
    for connection, _, raw in reader.messages(connections) if connections else ():
        layout: Any = layouts[connection.msgtype]
        try:
            stamp_ns = layout.read(connection.topic, bytes(raw)) if layout is not None else None
        except MessageError:
            continue  # whoever needs it says so
        if stamp_ns is not None:
            yield connection.topic, stamp_ns, len(raw)


def _audit(stamps: list[tuple[str, int, int]], start_ns: int, end_ns: int) -> AuditReport:
    """The audit of the episode's own time: others record longer."""
    present = {topic for topic, _, _ in stamps}
    audit = Audit(topic for topic in TOPICS if topic.name in present)
    margin_ns = SECOND_NS // 100
    for topic, stamp_ns, size in stamps:
        if start_ns - margin_ns <= stamp_ns <= end_ns + margin_ns:
            audit.observe(topic, stamp_ns, size)
    return audit.finish(start_ns, end_ns)
