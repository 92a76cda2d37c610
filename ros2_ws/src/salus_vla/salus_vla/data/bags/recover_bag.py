"""Makes a normal bag of an interrupted one. The interrupted bag is not touched.

Killing the recorder loses what its last, unfinished chunk holds: at most 64 KiB and 40 ms of messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mcap.records import Channel, Message, Metadata, Schema

from salus_vla.contract import EPISODE, STREAM, TOPICS, Source, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.data.bags.audit import Audit
from salus_vla.data.bags.bag_metadata import METADATA_FILE, from_yaml
from salus_vla.data.bags.bag_writer import WriterOptions
from salus_vla.data.bags.episode_decoder import EpisodeDecoder
from salus_vla.data.bags.mcap_writer import McapBagWriter
from salus_vla.data.bags.message_types import MessageType, MessageTypes
from salus_vla.data.bags.open_episode import DECISION_NS
from salus_vla.data.bags.partial_mcap import read_records
from salus_vla.data.bags.run_folder import RunFolder, discard_bag, free_path, hidden_bag, is_in_progress, reveal_bag
from salus_vla.data.bags.run_records import AUDIT_FILE, RUN_FILE, EpisodeEntry, EpisodeRecord, read_record

NO_END = "the recording was interrupted"


@dataclass(frozen=True)
class Recovered:
    """A recovered bag: where it is, from what, how many messages, and its entry in run.json if it is in a run."""

    path: Path
    source: Path
    messages: int
    entry: EpisodeEntry | None


def recover(path: Path) -> list[Recovered]:
    """Recovers an interrupted bag, or every one of a run that was not recovered before.

    Args:
        path: folder of a run, of an interrupted bag, or the hidden folder around one.

    Raises:
        RecordingError: `path` is neither, is being written, is a complete bag, or holds no message; of a run, a bag in
            it cannot be read, or the disk refuses: the others have been recovered.
    """
    path = path.resolve()
    if (path / RUN_FILE).is_file():
        return _recover_in_run(path, None)
    bag = _bag_folder(path)
    run = bag.parent.parent
    if is_in_progress(bag) and (run / RUN_FILE).is_file():
        return _recover_in_run(run, bag)
    if (bag / METADATA_FILE).is_file():
        raise RecordingError(f"{bag}: is a complete bag, there is nothing to recover")
    content = _scan(bag)
    target = hidden_bag(bag.parent, free_path(bag.with_name(f"{bag.name}_recovered"), "_").name, "recovering")
    _copy(content, target)
    return [Recovered(reveal_bag(target), bag, content.messages, None)]


def _recover_in_run(path: Path, only: Path | None) -> list[Recovered]:
    run = RunFolder.open_existing(path)
    try:
        done = {
            read_record(path / entry.path / AUDIT_FILE, EpisodeRecord).recovered_from
            for entry in run.episodes
            if entry.recovered
        }
        if only is not None and only.parent.name in done:
            raise RecordingError(f"{only}: was recovered before")
        recovered = []
        unreadable = []
        for bag in run.interrupted:
            if bag.parent.name in done or only not in (None, bag) or (only is None and _never_begun(bag)):
                continue
            try:
                content = _scan(bag)
                if content.messages or only is not None:
                    recovered.append(_recover_episode(run, bag, content))
            except RecordingError as error:
                unreadable.append(str(error))  # the other bags of the run are not to suffer
        if unreadable:
            others = f"\nrecovered: {', '.join(item.path.name for item in recovered)}" if recovered else ""
            raise RecordingError("\n".join(unreadable) + others)
        return recovered
    finally:
        run.close()


def _never_begun(bag: Path) -> bool:
    """Killed before the first byte reached the file, or before there was one."""
    return not any(file.stat().st_size for file in bag.glob("*.mcap"))


def _recover_episode(run: RunFolder, bag: Path, content: _Content) -> Recovered:
    try:
        number, seed = int(content.custom_data["episode"]), int(content.custom_data["seed"])
    except (KeyError, ValueError) as error:
        raise RecordingError(f"{content.file}: its provenance has no valid episode and seed ({error})") from error
    target = run.new_recovered_bag(number)
    audit = _copy(content, target)
    end = content.ended
    end_ns = end.stamp_ns if end else content.last_ns
    started_ns = content.started_ns if content.started_ns is not None else content.first_ns
    report = audit.finish(started_ns, end_ns)
    passed = max(0, -(-(end_ns - started_ns) // DECISION_NS))  # begun ones included, as of an episode that is aborted
    entry = EpisodeEntry(
        number=number,
        seed=seed,
        task=content.custom_data.get("task", ""),
        policy_source=content.custom_data.get("policy_source", ""),
        outcome=end.outcome if end else "ABORTED",
        decisions=end.decisions if end else passed,
        start_ns=report.start_ns,
        end_ns=end_ns,
        wall_s=None,
        event_stamp_ns=end.event_stamp_ns if end else None,
        detail=end.detail if end else NO_END,
        path=target.name,
        messages=report.messages,
        gaps=report.gaps,
        surplus=report.surplus,
        recovered=True,
    )
    record = EpisodeRecord(run.run_id, entry, content.provenance, report, recovered_from=bag.parent.name)
    run.finish_bag(target, record)
    return Recovered(run.path / entry.path, bag, content.messages, entry)


@dataclass
class _Content:
    """What a first reading of an interrupted file found."""

    file: Path
    custom_data: Mapping[str, str] = field(default_factory=dict)
    channels: dict[int, tuple[Channel, Schema]] = field(default_factory=dict)
    messages: int = 0
    first_ns: int = 2**63 - 1
    last_ns: int = 0
    started_ns: int | None = None
    ended: EpisodeEvent | None = None

    @property
    def provenance(self) -> dict[str, str]:
        return {**self.custom_data, "recovered": "true"}

    def message(self, message: Message) -> None:
        self.messages += 1
        self.first_ns = min(self.first_ns, message.log_time)
        self.last_ns = max(self.last_ns, message.log_time)

    def event(self, event: EpisodeEvent) -> None:
        if event.kind is EventKind.STARTED:
            self.started_ns = event.stamp_ns
        elif event.kind is EventKind.ENDED:
            self.ended = event


def _bag_folder(path: Path) -> Path:
    if not path.is_dir():
        raise RecordingError(f"{path}: is not a folder; expected a run or an interrupted bag")
    inner = [folder for folder in path.iterdir() if folder.is_dir()]
    return inner[0] if not list(path.glob("*.mcap")) and len(inner) == 1 else path


def _scan(bag: Path) -> _Content:
    files = sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise RecordingError(f"{bag}: expected one .mcap file, found {len(files)}")
    content = _Content(files[0])
    schemas: dict[int, Schema] = {}
    decoders: dict[int, EpisodeDecoder] = {}
    for record in read_records(content.file):
        if isinstance(record, Metadata):
            content.custom_data = _custom_data(record) or content.custom_data
        elif isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.schema_id in schemas:
            content.channels[record.id] = (record, schemas[record.schema_id])
            if record.topic == EPISODE.name:
                decoders[record.id] = EpisodeDecoder(schemas[record.schema_id].data.decode())
        elif isinstance(record, Message) and record.channel_id in content.channels:
            content.message(record)
            if record.channel_id in decoders:
                content.event(decoders[record.channel_id].decode(record.data))
    return content


def _custom_data(record: Metadata) -> dict[str, str] | None:
    """The provenance in the metadata that rosbag2 keeps inside the mcap file."""
    if record.name != "rosbag2":
        return None
    try:
        information = from_yaml(record.metadata.get("serialized_metadata", ""))
    except yaml.YAMLError:
        return None
    custom_data = information.get("custom_data") if isinstance(information, dict) else None
    return {str(key): str(value) for key, value in custom_data.items()} if isinstance(custom_data, dict) else None


def _copy(content: _Content, target: Path) -> Audit:
    """Writes the messages of an interrupted file into a new bag.

    Raises:
        RecordingError: there is no message, or the disk refuses.
    """
    if not content.messages:
        discard_bag(target)
        raise RecordingError(f"{content.file}: holds no message, there is nothing to recover")
    topics = {number: _topic(channel.topic, schema.name) for number, (channel, schema) in content.channels.items()}
    audit = Audit(topics.values())
    try:
        writer = McapBagWriter(target, content.provenance, MessageTypes(()), WriterOptions())
        for channel, schema in content.channels.values():
            type_hash = channel.metadata.get("topic_type_hash", "")
            kind = MessageType(schema.name, schema.data.decode(), type_hash, schema.encoding)
            writer.add_channel(channel.topic, kind, _qos(channel))
        for record in read_records(content.file):
            if isinstance(record, Message) and record.channel_id in topics:
                name = topics[record.channel_id].name
                writer.write(name, record.data, record.log_time, record.publish_time)
                audit.observe(name, record.log_time, len(record.data))
        writer.close()
    except RecordingError:
        discard_bag(target)
        raise
    return audit


def _topic(name: str, type_name: str) -> Topic:
    known = next((topic for topic in TOPICS if (topic.name, topic.type) == (name, type_name)), None)
    return known or Topic(name, type_name, STREAM, Source.NODES)


def _qos(channel: Channel) -> list[dict[str, Any]]:
    try:
        qos = from_yaml(channel.metadata.get("offered_qos_profiles", ""))
    except yaml.YAMLError:
        return []
    return qos if isinstance(qos, list) else []
