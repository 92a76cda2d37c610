"""What a failure predictor said while a bag was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from salus_vla.contract import FAILURE_PREDICTION
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.data.bags.recorded_observations import connections_of, messages_of, opened_bag
from salus_vla.data.recording import Predictions


def predictions_of(bag: Path, is_inside: Callable[[int], bool] = lambda stamp_ns: True) -> Predictions | None:
    """From /salus/failure_prediction; None where nothing was foreseen.

    Args:
        bag: folder of a finished bag.
        is_inside: whether a stamp [ns] is of the episode.

    Raises:
        RecordingError: the bag cannot be read or is damaged; names it.
    """
    try:
        return Predictions.of(_risks(_messages(bag), is_inside))
    except Exception:  # another storage, compressed files, or damage, which the other reader names
        with opened_bag(bag) as reader:
            if not any(item.topic == FAILURE_PREDICTION.name and item.msgcount for item in reader.connections):
                return None
            connections = connections_of(reader, bag, (FAILURE_PREDICTION,))
            return Predictions.of(_risks((message for _, message in messages_of(reader, connections)), is_inside))


def _risks(messages: Iterable[Any], is_inside: Callable[[int], bool]) -> Iterator[ForeseenRisk]:
    return (risk for risk in map(ForeseenRisk.of, messages) if is_inside(risk.stamp_ns))


def _messages(bag: Path) -> Iterator[Any]:
    """The messages of one topic through the index of the file: a run of 500 bags is asked for its alarms in seconds.

    rosbags parses the definitions of all topics of a bag before it gives a message, a tenth of a second each.
    """
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as opened:
        for schema, _, message in make_reader(opened).iter_messages(FAILURE_PREDICTION.name):
            if schema is None or schema.name != FAILURE_PREDICTION.type:
                raise ValueError(f"{FAILURE_PREDICTION.name} has schema {schema}")
            yield _types(schema.data.decode(), schema.name).deserialize_cdr(message.data, schema.name)


@lru_cache(maxsize=8)
def _types(text: str, name: str) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, name))
    return store
