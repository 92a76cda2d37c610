"""What the intervention chose, what the nodes say, and the episodes, beside the curves."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from PyQt5.QtCore import Qt
from PyQt5.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from salus_vla.views.graph_monitor import RoleLine
from salus_vla.views.window.window_colors import ACT, MUTED
from salus_vla.views.window.window_content import EpisodeRow, MotionContent, WindowContent

_COLUMNS: Final = ("#", "seed", "outcome", "dec.", "alarm")
_WIDTHS: Final = (26, 50, 76, 34)  # pixels, of all but the last
_SHOWN_RISKS: Final = 5


class SidePanel(QWidget):
    """A column of words."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(3)
        self._motion, self._roles = _words(), _words()
        self._tally = QLabel()
        self._tally.setTextFormat(Qt.TextFormat.PlainText)
        self._tally.setWordWrap(True)
        self._episodes = _table()
        self._rows: tuple[EpisodeRow, ...] = ()
        for title, widget in (("intervention", self._motion), ("nodes", self._roles)):
            layout.addWidget(_title(title))
            layout.addWidget(widget)
        layout.addWidget(_title("episodes"))
        layout.addWidget(self._tally)
        layout.addWidget(self._episodes, 1)

    def draw(self, content: WindowContent) -> None:
        """Says everything."""
        _set(self._motion, _motion_words(content.motion))
        _set(self._roles, _role_words(content.roles))
        _set(self._tally, content.tally or "none has ended")
        if content.episodes != self._rows:
            self._rows = content.episodes
            self._fill()

    def _fill(self) -> None:
        self._episodes.setRowCount(len(self._rows))
        for index, row in enumerate(self._rows):
            decisions = "" if row.decisions is None else str(row.decisions)
            tip = "\n".join(filter(None, (f"run {row.run_id}", row.detail, row.motions)))
            cells = (str(row.episode), str(row.seed), row.outcome, decisions, row.alarm.removeprefix("decision "))
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                item.setToolTip(tip)
                if column in (0, 1, 3):
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                self._episodes.setItem(index, column, item)


def _title(words: str) -> QLabel:
    label = QLabel(words)
    label.setObjectName("title")
    return label


def _words() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setMinimumHeight(60)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    if rows is not None and columns is not None:
        rows.hide()
        rows.setDefaultSectionSize(18)
        rows.setMinimumSectionSize(16)
        columns.setMinimumSectionSize(20)
        columns.setStretchLastSection(True)
        for column, width in enumerate(_WIDTHS):
            table.setColumnWidth(column, width)
    return table


def _set(label: QLabel, words: str) -> None:
    if label.text() != words:
        label.setText(words)


def _motion_words(motion: MotionContent | None) -> str:
    if motion is None:
        return _muted("none was heard in this episode")
    lines = [f"<b>{escape(motion.title)}</b>"]
    if motion.why:
        lines.append(escape(motion.why))
    known = [(name, risk) for name, risk in motion.risks if math.isfinite(risk)][:_SHOWN_RISKS]
    if known:
        cells = "".join(
            f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td align=right>{risk:.0%}</td></tr>" for name, risk in known
        )
        lines.append(_muted("failure foreseen with"))
        return "<br>".join(lines) + f"<table cellspacing=0>{cells}</table>" + _story(motion)
    return "<br>".join(lines) + _story(motion)


def _story(motion: MotionContent) -> str:
    return f"<br>{_muted(escape(motion.story))}" if motion.story else ""


def _role_words(roles: tuple[RoleLine, ...]) -> str:
    if not roles:
        return _muted("none was heard")
    lines = []
    for line in roles:
        state = line.state.lower()
        words = f'<span style="color:{ACT}"><b>{state}</b></span>' if line.state == "FAILED" else state
        reason = f" {_muted(escape(line.reason.replace('_', ' ')))}" if line.reason else ""
        lines.append(f"<tr><td>{escape(line.role)}&nbsp;&nbsp;</td><td>{words}{reason}</td></tr>")
    return f"<table cellspacing=0>{''.join(lines)}</table>"


def _muted(words: str) -> str:
    return f'<span style="color:{MUTED}">{words}</span>'
