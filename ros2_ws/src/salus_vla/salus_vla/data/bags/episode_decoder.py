"""Reads salus_msgs/Episode from its bytes, with the definition that is installed or stored in the bag."""

from __future__ import annotations

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from salus_vla.contract import EPISODE
from salus_vla.contract.errors import MessageError, RecordingError
from salus_vla.contract.message_readers import EpisodeEvent


class EpisodeDecoder:
    """Decodes serialized Episode messages."""

    def __init__(self, definition: str) -> None:
        """Takes the definition text of the type.

        Raises:
            RecordingError: the text is not a message definition.
        """
        self._store = get_typestore(Stores.EMPTY)
        try:
            self._store.register(get_types_from_msg(definition, EPISODE.type))
        except TypesysError as error:
            raise RecordingError(f"{EPISODE.type}: its definition cannot be used ({error})") from error

    def decode(self, cdr: bytes) -> EpisodeEvent:
        """Decodes one message.

        Raises:
            RecordingError: the bytes are no Episode message of this definition.
        """
        try:
            return EpisodeEvent.of(self._store.deserialize_cdr(cdr, EPISODE.type))
        except (SerdeError, MessageError, ValueError, IndexError, AttributeError) as error:
            raise RecordingError(f"{EPISODE.name}: a message cannot be decoded ({error})") from error
