"""Reads salus_msgs/Episode from its bytes, with the definition that is installed or stored in the bag."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from salus_vla.contract import EPISODE
from salus_vla.contract.errors import RecordingError


class Kind(IntEnum):
    """`kind` in Episode.msg."""

    STARTED = 0
    EVENT = 1
    ENDED = 2


# Names of `outcome` in Episode.msg, by value.
OUTCOMES = ("RUNNING", "SUCCESS", "COLLISION", "DROP", "MISS", "TIMEOUT", "ABORTED")


@dataclass(frozen=True)
class EpisodeNotice:
    """What one message on /salus/episode says; stamps in sim time [ns], `event_stamp_ns` None without an event."""

    kind: Kind
    stamp_ns: int
    run_id: str
    episode: int
    seed: int
    task: str
    policy_source: str
    outcome: str
    event: str
    event_stamp_ns: int | None
    decisions: int
    detail: str


class EpisodeDecoder:
    """Decodes serialized Episode messages."""

    def __init__(self, definition: str) -> None:
        """Take the definition text of the type.

        Raises:
            RecordingError: the text is no message definition.
        """
        self._store = get_typestore(Stores.EMPTY)
        try:
            self._store.register(get_types_from_msg(definition, EPISODE.type))
        except TypesysError as error:
            raise RecordingError(f"{EPISODE.type}: its definition cannot be used ({error})") from error

    def decode(self, cdr: bytes) -> EpisodeNotice:
        """Decode one message.

        Raises:
            RecordingError: the bytes are no Episode message of this definition.
        """
        try:
            message: Any = self._store.deserialize_cdr(cdr, EPISODE.type)
            outcome = OUTCOMES[message.outcome]
            return EpisodeNotice(
                kind=Kind(message.kind),
                stamp_ns=_nanoseconds(message.header.stamp),
                run_id=message.run_id,
                episode=message.episode,
                seed=message.seed,
                task=message.task,
                policy_source=message.policy_source,
                outcome=outcome,
                event=message.event,
                event_stamp_ns=_nanoseconds(message.event_stamp) or None,
                decisions=message.decisions,
                detail=message.detail,
            )
        except (SerdeError, ValueError, IndexError, AttributeError) as error:
            raise RecordingError(f"{EPISODE.name}: a message cannot be decoded ({error})") from error


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
