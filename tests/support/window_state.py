"""Reads what Qt 5's QMainWindow.saveState() writes: which docks stand where, and how much is left for the middle.

The format is that of qtbase 5.15, qmainwindowlayout.cpp and qdockarealayout.cpp; big endian, as QDataStream writes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

LEFT, RIGHT, TOP, BOTTOM = range(4)
_WINDOW, _DOCKS, _SEQUENCE, _WIDGET = 0xFF, 0xFD, 0xFC, 0xFB


@dataclass
class Area:
    """Docks of one side of a window: its size, and name -> size along the area [px]."""

    width: int
    height: int
    vertical: bool
    docks: dict[str, int] = field(default_factory=dict)


@dataclass
class WindowState:
    """Areas by side, and the size of the middle [px]."""

    areas: dict[int, Area]
    middle: tuple[int, int]


class _Stream:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(f">{layout}", self._data, self._at)
        self._at += struct.calcsize(f">{layout}")
        return values

    def text(self) -> str:
        (size,) = self.take("I")
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw.decode("utf-16-be")


def read_window_state(hex_text: str) -> WindowState:
    """Reads the hex digits of a layout file; docks in a flat row or column, none floating or in tabs.

    Raises:
        ValueError: it is something else.
    """
    stream = _Stream(bytes.fromhex(hex_text))
    marker, _, docks, count = stream.take("iiBi")
    if (marker, docks) != (_WINDOW, _DOCKS):
        raise ValueError(f"no state of a window: markers {marker:#x} and {docks:#x}")
    areas = dict(_area(stream) for _ in range(count))
    width, height = stream.take("ii")
    return WindowState(areas, (width, height))


def _area(stream: _Stream) -> tuple[int, Area]:
    side, width, height, marker, orientation, count = stream.take("iiiBBi")
    if marker != _SEQUENCE:
        raise ValueError(f"expected a row of docks, found marker {marker:#x}")
    area = Area(width, height, vertical=orientation == 2)
    for _ in range(count):
        (kind,) = stream.take("B")
        if kind != _WIDGET:
            raise ValueError(f"expected a dock, found marker {kind:#x}")
        name = stream.text()
        flags, _, size, _, _ = stream.take("Biiii")
        if flags != 1:
            raise ValueError(f"dock {name!r} is hidden or floats")
        area.docks[name] = size
    return side, area
