"""What Qt makes of the saved layout of rqt; a process of its own, because a screen's size belongs to one."""

from __future__ import annotations

import ast
import json
import struct
import sys
from pathlib import Path

from PyQt5.QtCore import QByteArray, QRect
from PyQt5.QtWidgets import QApplication

from rqt_perspective import main_window

Rect = tuple[int, int, int, int]


def geometry_and_docks() -> tuple[Rect, dict[str, Rect]]:
    """Place of the window with its frame, and of each dock in it, of the file that is the first argument [pixels]."""
    keys = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["groups"]["mainwindow"]["keys"]
    saved = {name: _bytes(item["repr(QByteArray.hex)"]) for name, item in keys.items()}
    _, _, _, *numbers = struct.unpack(">IHH4i4iiBBi4i", saved["geometry"])
    left, top, right, bottom = numbers[:4]
    inner = QRect(numbers[4], numbers[5], numbers[6] - numbers[4] + 1, numbers[7] - numbers[5] + 1)
    application = QApplication.instance() or QApplication(["check"])
    window, docks = main_window()
    window.setGeometry(inner)
    window.show()
    assert window.restoreState(QByteArray(saved["state"]))
    application.processEvents()
    places = {dock.objectName(): _rect(dock.geometry()) for dock in docks}
    return (left, top, right - left + 1, bottom - top + 1), places


def _bytes(words: str) -> bytes:
    value = ast.literal_eval(words.removeprefix("QtCore.QByteArray(").removesuffix(")"))
    return bytes.fromhex(value.decode())


def _rect(rect: QRect) -> Rect:
    return rect.x(), rect.y(), rect.width(), rect.height()
