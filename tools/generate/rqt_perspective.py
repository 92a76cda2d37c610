"""The layout of rqt: our plugin above the bag browser, as rqt saves it.

`QT_QPA_PLATFORM=offscreen python tools/generate/rqt_perspective.py` prints `config/rqt/salus.perspective`.
Qt's own window writes the state.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any, Final

from PyQt5.QtCore import QRect, QSize, Qt
from PyQt5.QtWidgets import QApplication, QDockWidget, QMainWindow, QToolBar, QWidget

SCREEN: Final = (1920, 1080)
TITLE_PX: Final = 36  # of a window manager
BAR_PX: Final = 44  # of a desktop
# Plugin, name of its widget, title, height [pixels].
PLUGINS: Final = (("salus_vla/SALUS", "SalusWindow", "SALUS", 700), ("rqt_bag/Bag", "BagWidget", "Bag", 220))
WINDOW: Final = QRect(0, TITLE_PX, SCREEN[0], SCREEN[1] - TITLE_PX - BAR_PX)
_MENU_PX: Final = 24


class Placeholder(QWidget):
    """Stands for a plugin's widget."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Anything."""
        return QSize(200, 100)


def main_window() -> tuple[QMainWindow, list[QDockWidget]]:
    """A window as rqt has it: docks named by plugin, serial number and widget, in the lower area."""
    window = QMainWindow()
    window.setDockNestingEnabled(True)
    bar = QToolBar()
    bar.setObjectName("MinimizedDockWidgetsToolbar")
    window.addToolBar(Qt.ToolBarArea.BottomToolBarArea, bar)
    bar.hide()
    docks = []
    for plugin, widget, title, _ in PLUGINS:
        dock = QDockWidget(title)
        dock.setObjectName(f"{plugin.replace('/', '__')}__1__{widget}")
        dock.setWidget(Placeholder(widget))
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        docks.append(dock)
    return window, docks


def perspective() -> str:
    """The file."""
    window, docks = main_window()
    window.splitDockWidget(docks[0], docks[1], Qt.Orientation.Vertical)
    menu = window.menuBar()
    if menu is not None:
        menu.setFixedHeight(_MENU_PX)
    window.setGeometry(WINDOW)
    window.show()
    window.resizeDocks(docks, [height for *_, height in PLUGINS], Qt.Orientation.Vertical)
    QApplication.processEvents()
    settings = {"geometry": _bytes(_geometry()), "state": _bytes(bytes(window.saveState()))}
    bar = {"groups": {}, "keys": {"MinimizedDockWidgetsToolbar": _repr(int(Qt.ToolBarArea.BottomToolBarArea))}}
    content = {
        "groups": {
            "mainwindow": {"groups": {"toolbar_areas": bar}, "keys": settings},
            "pluginmanager": {
                "groups": {
                    f"plugin__{name.replace('/', '__')}__1": _plugin(widget, title)
                    for name, widget, title, _ in PLUGINS
                },
                "keys": {"running-plugins": _repr({name: [1] for name, *_ in PLUGINS})},
            },
        },
        "keys": {},
    }
    window.close()
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _plugin(widget: str, title: str) -> dict[str, Any]:
    keys = {"dock_widget_title": _repr(title), "dockable": _repr(True), "parent": _repr(None)}
    return {"groups": {f"dock_widget__{widget}": {"groups": {}, "keys": keys}}, "keys": {}}


def _repr(value: object) -> dict[str, str]:
    return {"repr": repr(value), "type": "repr"}


def _geometry() -> bytes:
    """What QWidget.saveGeometry of Qt 5 writes: magic, version, frame and normal geometry, screen, ..., geometry.

    Written here, because an offscreen screen is 800 pixels wide, and Qt then scales what it restores.
    """
    corners = (WINDOW.left(), WINDOW.top(), WINDOW.right(), WINDOW.bottom())
    frame = (corners[0], corners[1] - TITLE_PX, corners[2], corners[3])
    return struct.pack(">IHH4i4iiBBi4i", 0x1D9D0CB, 3, 0, *frame, *corners, 0, 0, 0, SCREEN[0], *corners)


def _bytes(value: bytes) -> dict[str, str]:
    hexadecimal = value.hex()
    return {"repr(QByteArray.hex)": f"QtCore.QByteArray(b'{hexadecimal}')", "type": "repr(QByteArray.hex)"}


if __name__ == "__main__":
    application = QApplication(sys.argv)
    print(perspective(), end="")
