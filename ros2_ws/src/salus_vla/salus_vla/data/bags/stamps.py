"""Reads the stamp of a serialized message from its bytes, without deserializing it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import Typesdict

from salus_vla.contract.errors import MessageError
from salus_vla.data.bags.message_types import element_type

_HEADER = 4  # CDR encapsulation: two bytes of representation, two of options
# Plain CDR and plain CDR2, big and little endian: in all of them the first fields lie at the same offset.
_ENDIANNESS = {b"\x00\x00": ">", b"\x00\x01": "<", b"\x00\x06": ">", b"\x00\x07": "<"}
_NS = 1_000_000_000
_STAMP = "builtin_interfaces/msg/Time"


@dataclass(frozen=True)
class StampLayout:
    """Where the stamp is: in the first field, or in the first element of a sequence that is the first field."""

    in_sequence: bool

    def read(self, topic: str, cdr: bytes) -> int | None:
        """Stamp of a serialized message [ns], or None when its sequence is empty.

        Raises:
            MessageError: the message is not CDR, too short, or its stamp is not a time; names the topic.
        """
        order = _ENDIANNESS.get(cdr[:2])
        offset = _HEADER
        try:
            if order is None:
                raise MessageError(f"{topic}: a message with the unknown encapsulation 0x{cdr[:2].hex()}")
            if self.in_sequence:
                (count,) = struct.unpack_from(f"{order}I", cdr, offset)
                if count == 0:
                    return None
                offset += 4
            seconds, nanoseconds = struct.unpack_from(f"{order}iI", cdr, offset)
        except struct.error as error:
            raise MessageError(f"{topic}: a message of {len(cdr)} bytes is too short for its type") from error
        if seconds < 0 or nanoseconds >= _NS:
            raise MessageError(
                f"{topic}: a message with the stamp {seconds} s and {nanoseconds} ns, which is not a time"
            )
        return int(seconds) * _NS + int(nanoseconds)


def stamp_layout(types: Typesdict, name: str) -> StampLayout | None:
    """Where messages of type `name` carry their stamp; None for a type without one.

    Args:
        types: fields of the type and of all that it uses.
        name: `package/msg/Name`.
    """
    fields = types[name][1]
    in_sequence = bool(fields) and fields[0][1][0] == Nodetype.SEQUENCE  # tf2_msgs/TFMessage: of the first transform
    kind, detail = element_type(fields[0][1]) if fields else (None, None)
    while kind == Nodetype.NAME and detail != _STAMP:
        fields = types[str(detail)][1]
        kind, detail = fields[0][1] if fields else (None, None)
    return StampLayout(in_sequence) if kind == Nodetype.NAME else None
