"""The plugin `SALUS` of rqt: puts the window into rqt and the graph into the window.

rqt wants an object with these methods and no base class (see rqt_gui_py's Plugin).
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from PyQt5.QtCore import QTimer

from salus_vla.ros.clients.window_link import GO_ON, HOLD, RESET, WindowLink
from salus_vla.views.window.salus_window import SalusWindow
from salus_vla.views.window.watched_graph import WatchedGraph

_TURN_MS: Final = 200  # people see no more of curves; the graph has the processor
_WORDS_S: Final = 1.0  # times in words, while nothing else changes


class SalusPlugin:
    """One window of rqt."""

    def __init__(self, context: Any) -> None:
        """Adds the window and begins to listen.

        Args:
            context: of rqt; `add_widget` and `serial_number` are used.
        """
        self._window = SalusWindow()
        if context.serial_number() > 1:
            self._window.setWindowTitle(f"SALUS ({context.serial_number()})")
        context.add_widget(self._window)
        self._watched = WatchedGraph(time.monotonic(), os.environ.get("ROS_DOMAIN_ID", "0"))
        self._link = WindowLink()
        self._drawn = -1
        self._words_s = 0.0
        self._window.hold_asked.connect(lambda: self._link.ask(HOLD))
        self._window.go_on_asked.connect(lambda: self._link.ask(GO_ON))
        self._window.reset_asked.connect(lambda: self._link.ask(RESET))
        self._timer = QTimer()
        self._timer.timeout.connect(self.turn)
        self._timer.start(_TURN_MS)

    def turn(self) -> None:
        """Takes what was heard, and draws it where it can be seen."""
        self._link.drain(self._watched)
        for words in self._link.answers():
            self._window.answer(words)
        now_s = time.monotonic()
        changed = self._watched.revision != self._drawn
        if not self._window.isVisible() or not (changed or now_s - self._words_s >= _WORDS_S):
            return
        self._words_s, self._drawn = now_s, self._watched.revision
        self._window.draw(self._watched.content(now_s), curves=changed)
        for camera, pixels in self._link.pictures():
            self._window.show_image(camera, pixels)

    def shutdown_plugin(self) -> None:
        """Leaves the graph."""
        self._timer.stop()
        self._link.close()
