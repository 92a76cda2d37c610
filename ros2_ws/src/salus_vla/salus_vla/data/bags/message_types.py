"""Definition text and type hash of ROS messages, from the .msg files of the installed packages.

A bag that carries both can be read on a machine without ROS and without this repository.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc, Typesdict
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from salus_vla.contract.errors import RecordingError

SEPARATOR = "=" * 80  # between the definitions of one schema text, as real rosbag2 writes it


@dataclass(frozen=True)
class MessageType:
    """A ROS message type as it is stored in a bag.

    Attributes:
        name: `package/msg/Name`.
        definition: the .msg text, followed by that of every type it uses.
        type_hash: `RIHS01_...`, or empty when unknown (a recovered bag that has none).
        encoding: of the definition; `ros2idl` only in a bag that SALUS did not record.
    """

    name: str
    definition: str
    type_hash: str
    encoding: str = "ros2msg"


def default_folders() -> tuple[Path, ...]:
    """share/ of every prefix in $AMENT_PREFIX_PATH, then of this Python environment (where the ROS wheels are)."""
    prefixes = [Path(part) for part in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if part]
    return tuple(dict.fromkeys(prefix / "share" for prefix in [*prefixes, Path(sys.prefix)]))


class MessageTypes:
    """Looks up message types in `folders`, each of which holds `package/msg/Name.msg`.

    Attributes:
        folders: where it looks.
        store: rosbags' store of the types that were asked for, to serialize and deserialize without ROS.
    """

    def __init__(self, folders: Iterable[Path] | None = None) -> None:
        """Uses `folders` in their order, or `default_folders()`."""
        self.folders = tuple(default_folders() if folders is None else folders)
        self.store: Typestore = get_typestore(Stores.EMPTY)
        self._texts: dict[str, str] = {}
        self._types: dict[str, MessageType] = {}

    def get(self, name: str) -> MessageType:
        """The type called `name` (`package/msg/Name`).

        Raises:
            RecordingError: no folder has it, or its definition cannot be parsed.
        """
        if name not in self._types:
            self._load(name)
            self._types[name] = MessageType(name, self._definition(name), self.store.hash_rihs01(name))
        return self._types[name]

    @cached_property
    def _bundled(self) -> Typestore:
        return get_typestore(Stores.ROS2_JAZZY)

    def _load(self, name: str) -> None:
        if name in self._texts:
            return
        text = self._find(name)
        self._texts[name] = text
        try:
            parsed: Typesdict = get_types_from_msg(text, name)
            for dependency in _used_types(parsed, name):
                self._load(dependency)
            self.store.register(parsed)
        except TypesysError as error:
            raise RecordingError(f"{name}: its .msg definition cannot be used ({error})") from error

    def _find(self, name: str) -> str:
        package, kind, short = [*name.split("/"), "", ""][:3]
        if kind == "msg" and short:
            for folder in self.folders:
                path = folder / package / "msg" / f"{short}.msg"
                if path.is_file():
                    return path.read_text(encoding="utf-8")
        # tf2_msgs is not on PyPI: rosbags knows Jazzy's own types, whose hashes equal the installed ones.
        if name in self._bundled.fielddefs:
            text, _ = self._bundled.generate_msgdef(name, ros_version=2)
            return text.split(f"{SEPARATOR}\n", 1)[0]
        searched = ", ".join(str(folder) for folder in self.folders)
        raise RecordingError(f"message type {name} is not installed (looked for its .msg below {searched})")

    def _definition(self, name: str) -> str:
        parts = [self._texts[name]]
        seen = {name}

        def append(parent: str) -> None:
            for dependency in _used_types(self.store.fielddefs, parent):
                if dependency not in seen:
                    seen.add(dependency)
                    package, _, short = dependency.split("/")
                    parts.append(f"{SEPARATOR}\nMSG: {package}/{short}\n{self._texts[dependency]}")
                    append(dependency)

        append(name)
        return "\n".join(parts)


def _used_types(types: Typesdict, name: str) -> list[str]:
    """Names of the messages that are fields of `name`, sorted as rosbag2 sorts them."""
    used = set()
    for _, field in types[name][1]:
        kind, detail = element_type(field)
        if kind == Nodetype.NAME:
            used.add(str(detail))
    return sorted(used)


def element_type(field: FieldDesc) -> tuple[object, object]:
    """Kind and detail of a field in rosbags' terms, or of the elements of a field that is an array or a sequence."""
    kind, detail = field
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        element = detail[0]
        return element[0], element[1]
    return kind, detail
