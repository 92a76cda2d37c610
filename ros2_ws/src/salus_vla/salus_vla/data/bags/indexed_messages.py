"""Messages of one topic of a bag, read through the index of its file where that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from salus_vla.contract import Topic
from salus_vla.data.bags.recorded_observations import connections_of, messages_of, opened_bag, read_message


def read_topic[T](bag: Path, topic: Topic, read: Callable[[Any], T]) -> list[T]:
    """What `read` makes of each message of a topic; empty of a bag without.

    Raises:
        RecordingError: the bag cannot be read or is damaged, or a message is not of the contract; names it.
    """
    try:
        return list(map(read, _messages(bag, topic)))
    except Exception:  # another storage, compressed files, or damage, which the other reader names
        with opened_bag(bag) as reader:
            if not any(item.topic == topic.name and item.msgcount for item in reader.connections):
                return []
            found = messages_of(reader, connections_of(reader, bag, (topic,)))
            return [read_message(read, message, f"{bag}: {topic.name}") for _, message in found]


def _messages(bag: Path, topic: Topic) -> Iterator[Any]:
    """The messages through the index of the file: a run of 500 bags is asked for its alarms in seconds.

    rosbags parses the definitions of all topics of a bag before it gives a message, a tenth of a second each.
    """
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as opened:
        for schema, _, message in make_reader(opened).iter_messages(topic.name):
            if schema is None or schema.name != topic.type:
                raise ValueError(f"{topic.name} has schema {schema}")
            yield _types(schema.data.decode(), schema.name).deserialize_cdr(message.data, schema.name)


@lru_cache(maxsize=8)
def _types(text: str, name: str) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, name))
    return store
