"""A recording with the decisions of a policy that was not there: all that was recorded, and what is added to it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import Connection, MessageDefinitionFormat

from salus_vla.contract import Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_metadata import METADATA_FILE, from_yaml
from salus_vla.data.bags.bag_writer import WriterOptions
from salus_vla.data.bags.mcap_writer import McapBagWriter
from salus_vla.data.bags.message_types import MessageType, MessageTypes
from salus_vla.data.bags.recorded_observations import BagReader, opened_bag
from salus_vla.data.bags.run_folder import discard_bag, hidden_bag, reveal_bag
from salus_vla.data.bags.run_info import read_bag
from salus_vla.data.replay.recorded_inputs import FACTS

DECIDED_ON = "decided_on"  # custom data: name of the bag with the observations
_ENCODINGS = {MessageDefinitionFormat.MSG: "ros2msg", MessageDefinitionFormat.IDL: "ros2idl"}


def write_decided(
    bag: Path, out: Path, added: Sequence[tuple[Topic, bytes, int]], facts: Mapping[str, str], types: MessageTypes
) -> Path:
    """Writes a bag with everything of another one and what a policy decided on it.

    Args:
        bag: folder of a finished bag.
        out: folder of the new one; it must not exist.
        added: topic, serialized message, and when it belongs into the recording [ns].
        facts: what the policy's node says of itself, for the custom data.
        types: definitions of what is added, and of what the bag does not define itself.

    Raises:
        RecordingError: the bag cannot be read, `out` exists, or the disk refuses.
    """
    check_is_new(out)
    custom_data = read_bag(bag).custom_data | {f"{FACTS}{name}": text for name, text in facts.items()}
    custom_data[DECIDED_ON] = bag.resolve().name
    target = hidden_bag(out.resolve().parent, out.name, "deciding")
    try:
        writer = McapBagWriter(target, custom_data, types, WriterOptions())
        with opened_bag(bag) as reader:
            offered, known = _offered_qos(bag), {}
            for connection in reader.connections:
                if connection.topic not in known:
                    known[connection.topic] = connection.msgtype
                    writer.add_channel(connection.topic, _type_of(connection, types), offered.get(connection.topic, []))
            for topic in dict.fromkeys(topic for topic, _, _ in added):
                if topic.name not in known:
                    writer.add_topic(topic.name, topic.type, topic.qos)
            for time_ns, name, raw in heapq.merge(_recorded(reader), _sorted(added), key=lambda item: item[0]):
                writer.write(name, raw, time_ns)
        writer.close()
    except RecordingError:
        discard_bag(target)
        raise
    return reveal_bag(target)


def check_is_new(out: Path) -> None:
    """Raises RecordingError where something has this name already, or there is no folder for it."""
    if out.exists() or out.is_symlink():
        raise RecordingError(f"--out {out}: exists already, it is never overwritten")
    if not out.resolve().parent.is_dir():
        raise RecordingError(f"--out {out}: there is no folder {out.resolve().parent}")


def _recorded(reader: BagReader) -> Iterable[tuple[int, str, bytes]]:
    for connection, time_ns, raw in reader.messages():
        yield time_ns, connection.topic, bytes(raw)


def _sorted(added: Sequence[tuple[Topic, bytes, int]]) -> list[tuple[int, str, bytes]]:
    return sorted(((time_ns, topic.name, raw) for topic, raw, time_ns in added), key=lambda item: item[0])


def _type_of(connection: Connection, types: MessageTypes) -> MessageType:
    """As the bag defines it; old ones of sqlite3 have no definitions."""
    definition = connection.msgdef
    if definition.format not in _ENCODINGS or not definition.data:
        return types.get(connection.msgtype)
    return MessageType(connection.msgtype, definition.data, str(connection.digest or ""), _ENCODINGS[definition.format])


def _offered_qos(bag: Path) -> dict[str, list[dict[str, Any]]]:
    """What the publishers of each topic offered, as metadata.yaml lists it; before version 9 that was a text."""
    text = (bag / METADATA_FILE).read_text(encoding="utf-8")
    offered: dict[str, list[dict[str, Any]]] = {}
    for item in from_yaml(text)["rosbag2_bagfile_information"]["topics_with_message_count"]:
        qos = item["topic_metadata"].get("offered_qos_profiles") or []
        try:
            qos = from_yaml(qos) if isinstance(qos, str) else qos
        except yaml.YAMLError:
            qos = []
        offered[str(item["topic_metadata"]["name"])] = qos if isinstance(qos, list) else []
    return offered
