"""The window for watching a policy: everything that matters about it at one glance, from 1280 x 800 pixels on."""

from __future__ import annotations

from typing import Final

from PyQt5.QtCore import Qt, pyqtSignal
from PyQt5.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from salus_vla.contract.types import ImageArray
from salus_vla.views.window.camera_column import CameraColumn
from salus_vla.views.window.side_panel import SidePanel
from salus_vla.views.window.signal_plots import SignalPlots
from salus_vla.views.window.window_colors import ACT, INK, MUTED, ON_ACT, PAPER, RULE
from salus_vla.views.window.window_content import Buttons, Urgency, WindowContent

_STYLE = f"""
QWidget#SalusWindow {{ background: {PAPER}; color: {INK}; }}
#SalusWindow QLabel, #SalusWindow QPushButton {{ color: {INK}; font-size: 9pt; }}
#SalusWindow QPushButton:disabled {{ color: #a0a0a0; }}
#SalusWindow QLabel#title {{ color: {INK}; font-weight: bold; border-bottom: 1px solid {RULE}; }}
#SalusWindow QLabel#where {{ color: {MUTED}; }}
#SalusWindow QLabel#headline {{ font-size: 15pt; font-weight: bold; }}
#SalusWindow QTableWidget {{ background: {PAPER}; color: {INK}; border: 0; font-size: 8pt; }}
#SalusWindow QHeaderView::section {{ background: {PAPER}; color: {MUTED}; border: 0; font-size: 8pt; }}
QFrame#head[act="true"] {{ background: {ACT}; }}
#SalusWindow QFrame#head[act="true"] QLabel, #SalusWindow QFrame#head[act="true"] QLabel#where {{ color: {ON_ACT}; }}
#SalusWindow QPushButton#reset[act="true"] {{ background: {ON_ACT}; color: {ACT}; font-weight: bold; }}
"""
_LEAST: Final = (1100, 640)  # pixels
_HOLD, _GO_ON, _RESET = "Hold the arm", "Let it go on", "Reset the hold"


class Head(QFrame):
    """State and reason in words, and the buttons."""

    hold_asked = pyqtSignal()
    go_on_asked = pyqtSignal()
    reset_asked = pyqtSignal()

    def __init__(self) -> None:
        """Nothing heard yet."""
        super().__init__()
        self.setObjectName("head")
        self._headline, self._detail, self._where, self._answer = (
            _line("headline"),
            _line(""),
            _line("where"),
            _line("where"),
        )
        self._hold, self._reset = QPushButton(_HOLD), QPushButton(_RESET)
        self._reset.setObjectName("reset")
        self._hold.setToolTip(
            "deactivates vla_ensemble: the arm brakes along its path and holds; the episode ends as ABORTED"
        )
        self._reset.setToolTip("/salus/reset_hold: ends a hold that the watchdog latched")
        self._hold.clicked.connect(self._on_hold)
        self._reset.clicked.connect(self.reset_asked)
        self._buttons = Buttons()
        words = QVBoxLayout()
        words.setSpacing(0)
        for label in (self._headline, self._detail, self._where):
            words.addWidget(label)
        asked = QVBoxLayout()
        row = QHBoxLayout()
        row.addWidget(self._hold)
        row.addWidget(self._reset)
        asked.addLayout(row)
        self._answer.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._answer.setFixedWidth(260)
        asked.addWidget(self._answer)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 3, 8, 3)
        layout.addLayout(words, 1)
        layout.addLayout(asked)
        self._set_act(False)

    def draw(self, content: WindowContent) -> None:
        """Says the headline and enables what can be asked."""
        told = content.headline
        self._headline.setText(told.title)
        self._detail.say(told.detail)
        self._where.say(f"{content.where}: {content.task}" if content.task else content.where)
        self._buttons = content.buttons
        self._hold.setText(_GO_ON if content.buttons.go_on else _HOLD)
        self._hold.setEnabled(content.buttons.hold or content.buttons.go_on)
        self._reset.setEnabled(content.buttons.reset)
        self._set_act(told.urgency is Urgency.ACT)

    def answer(self, words: str) -> None:
        """Shows what a service answered."""
        self._answer.say(words)

    def _on_hold(self) -> None:
        (self.go_on_asked if self._buttons.go_on else self.hold_asked).emit()

    def _set_act(self, act: bool) -> None:
        if self.property("act") == act and self._reset.property("act") == (act and self._reset.isEnabled()):
            return
        self.setProperty("act", act)
        self._reset.setProperty("act", act and self._reset.isEnabled())
        for widget in (self, self._headline, self._detail, self._where, self._answer, self._reset):
            style = widget.style()
            if style is not None:  # a changed property asks for it
                style.unpolish(widget)
                style.polish(widget)


class _Line(QLabel):
    """One line of words that is cut off where there is no room; all of it is in the tool tip."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def say(self, words: str) -> None:
        """Shows words."""
        if words != self.toolTip():
            self.setToolTip(words)
        shown = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, max(50, self.width()))
        if shown != self.text():
            self.setText(shown)


def _line(name: str) -> _Line:
    return _Line(name)


class SalusWindow(QWidget):
    """The whole window; `draw` shows a content, `show_image` a camera's picture.

    Signals:
        hold_asked, go_on_asked, reset_asked: a button was pressed.
    """

    hold_asked = pyqtSignal()
    go_on_asked = pyqtSignal()
    reset_asked = pyqtSignal()

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.setObjectName("SalusWindow")
        self.setWindowTitle("SALUS")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(_STYLE)
        self.setMinimumSize(*_LEAST)  # rqt opens a window of 600 x 450 otherwise
        self._head, self._cameras, self._plots, self._side = Head(), CameraColumn(), SignalPlots(), SidePanel()
        self._side.setMinimumWidth(230)
        self._side.setMaximumWidth(380)
        body = QHBoxLayout()
        body.setSpacing(4)
        body.addWidget(self._cameras)
        body.addWidget(self._plots, 4)
        body.addWidget(self._side, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addWidget(self._head)
        layout.addLayout(body, 1)
        self._head.hold_asked.connect(self.hold_asked)
        self._head.go_on_asked.connect(self.go_on_asked)
        self._head.reset_asked.connect(self.reset_asked)

    def draw(self, content: WindowContent, *, curves: bool = True) -> None:
        """Shows a content; without `curves` the words only."""
        self._head.draw(content)
        self._cameras.say(content.cameras)
        self._side.draw(content)
        if curves:
            self._plots.draw(content)

    def show_image(self, camera: str, pixels: ImageArray) -> None:
        """Shows a camera's picture, rgb8, shape (height, width, 3)."""
        self._cameras.show_image(camera, pixels)

    def answer(self, words: str) -> None:
        """Shows what a service answered."""
        self._head.answer(words)
