"""Small multiples: a plot for each signal and for each kind of risk, all on one time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from PyQt5.QtCore import QPointF, QRectF, Qt
from PyQt5.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PyQt5.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

# pyqtgraph takes the binding of Qt that is imported already.
import pyqtgraph as pg  # isort: skip

from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.signals.safety_signals import SIGNALS
from salus_vla.views.window.watched_graph import LOG
from salus_vla.views.window.window_colors import (
    ACT_BAND,
    ALARM_BAND,
    CURVE,
    INK,
    MOTION_BAND,
    MUTED,
    PAPER,
    RULE,
    THRESHOLD,
)
from salus_vla.views.window.window_content import RiskCurve, SignalCurve, Span, WindowContent

_COLUMNS: Final = 4
_AXIS_WIDTH: Final = 36
_INDENT: Final = 6
_SMALL: Final = 8  # points
_LINE: Final = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_UNITS: Final = {"rad^2": "rad²", "1": ""}  # as people write them


class Bands(pg.GraphicsObject):
    """Stretches of time over the whole height of a plot, and lines where something happened."""

    def __init__(self) -> None:
        """Nothing to draw."""
        super().__init__()
        self._bands: list[tuple[Span, tuple[int, int, int, int]]] = []
        self._marks: tuple[Span, ...] = ()
        self.setZValue(-10)

    def show_spans(self, bands: list[tuple[Span, tuple[int, int, int, int]]], marks: tuple[Span, ...]) -> None:
        """Draws these bands with their colours, and a line at each mark."""
        if (bands, marks) != (self._bands, self._marks):
            self._bands, self._marks = bands, marks
            self.update()

    def boundingRect(self) -> QRectF:  # noqa: N802  # Qt's name
        """All that is visible."""
        view = self.getViewBox()
        return QRectF() if view is None else QRectF(view.viewRect())

    def viewRangeChanged(self, *_: Any) -> None:  # noqa: N802  # pyqtgraph's name
        """The bands are as high as the plot."""
        self.prepareGeometryChange()
        self.update()

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draws."""
        room = self.boundingRect()
        for span, color in self._bands:
            painter.fillRect(QRectF(span.begin_s, room.top(), span.end_s - span.begin_s, room.height()), QColor(*color))
        pen = QPen(QColor(INK), 1.0, Qt.PenStyle.DotLine)
        pen.setCosmetic(True)
        painter.setPen(pen)
        for mark in self._marks:
            painter.drawLine(QPointF(mark.begin_s, room.top()), QPointF(mark.begin_s, room.bottom()))


class Words(pg.GraphicsWidget):
    """A line of words in a grid: a name and what follows it, cut off where there is no room."""

    def __init__(self, name: str, *, indent: int = 0, bold: bool = False) -> None:
        """Says a name."""
        super().__init__()
        self._name, self._rest, self._indent = name, "", indent
        self._font = QFont()
        self._font.setPointSize(_SMALL)
        self._bold = QFont(self._font)
        self._bold.setBold(bold)
        self.setFixedHeight(QFontMetrics(self._bold).height() + 3)
        self.setMinimumWidth(10)

    def say(self, rest: str) -> None:
        """Says something after the name."""
        if rest != self._rest:
            self._rest = rest
            self.update()

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draws."""
        room = self.rect().adjusted(self._indent, 0.0, 0.0, 0.0)
        metrics = QFontMetrics(self._bold)
        painter.setFont(self._bold)
        painter.setPen(QColor(INK if self._bold.bold() else MUTED))
        painter.drawText(
            room, int(_LINE), metrics.elidedText(self._name, Qt.TextElideMode.ElideRight, int(room.width()))
        )
        room.setLeft(room.left() + metrics.horizontalAdvance(self._name) + 5)
        painter.setFont(self._font)
        painter.setPen(QColor(INK))
        rest = QFontMetrics(self._font).elidedText(self._rest, Qt.TextElideMode.ElideRight, max(0, int(room.width())))
        painter.drawText(room, int(_LINE), rest)


class SmallPlot:
    """One plot of a grid: a title with the newest value, a curve, a threshold, bands."""

    def __init__(self, layout: pg.GraphicsLayout, row: int, column: int, name: str, *, log: bool, bottom: bool) -> None:
        """Puts an empty plot into two rows of the grid; only the lowest one has numbers on its time axis."""
        self._log = log
        self._title = Words(name, indent=_INDENT)
        layout.addItem(self._title, row=row, col=column)
        self._plot = layout.addPlot(row=row + 1, col=column)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(False, False)
        self._plot.hideButtons()
        self._plot.setLogMode(False, log)
        font = QFont()
        font.setPointSize(_SMALL - 1)
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setStyle(tickFont=font, tickLength=-4, autoExpandTextSpace=False)
            axis.setPen(RULE)
            axis.setTextPen(MUTED)
            axis.enableAutoSIPrefix(False)
        self._plot.getAxis("left").setWidth(_AXIS_WIDTH)
        self._plot.getAxis("bottom").setStyle(showValues=bottom)
        self._plot.getAxis("bottom").setHeight(16 if bottom else 5)
        self._bands = Bands()
        self._plot.addItem(self._bands, ignoreBounds=True)
        threshold = pg.mkPen(THRESHOLD, width=1, style=Qt.PenStyle.DashLine)
        self._threshold = self._plot.plot(pen=threshold, connect="finite")
        self._curve = self._plot.plot(pen=pg.mkPen(CURVE, width=1.4), connect="finite")
        self._plot.getViewBox().disableAutoRange()
        self._range: tuple[float, float, float] | None = None

    def say(self, now: str) -> None:
        """Says the newest value."""
        self._title.say(now)

    def draw(self, seconds: Any, values: Any, thresholds: Any, span_s: float, bounds: tuple[float, float]) -> None:
        """Draws a curve and its threshold (or None) from 0 to `span_s` [s] between `bounds`."""
        low, high = (math.log10(bounds[0]), math.log10(bounds[1])) if self._log else bounds
        if self._range != (span_s, low, high):
            self._range = (span_s, low, high)
            self._plot.getViewBox().setRange(xRange=(0.0, span_s), yRange=(low, high), padding=0.0)
            if self._log:
                self._plot.getAxis("left").setTicks([_decades(low, high), []])
        self._curve.setData(seconds, values)
        if thresholds is not None:
            self._threshold.setData(seconds, thresholds)

    def bands(self, bands: list[tuple[Span, tuple[int, int, int, int]]], marks: tuple[Span, ...]) -> None:
        """See `Bands.show_spans`."""
        self._bands.show_spans(bands, marks)


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """At most four ticks at whole powers of ten between two of them."""
    first, last = round(low), round(high)
    step = max(1, math.ceil((last - first) / 3))
    return [
        (float(power), f"1e{power}" if not -3 < power < 4 else f"{10.0**power:g}")
        for power in range(first, last + 1, step)
    ]


class _Grid(pg.GraphicsLayoutWidget):
    """A grid of plots that leaves the mouse wheel to what is around it."""

    def __init__(self) -> None:
        super().__init__()
        self.setBackground(PAPER)
        self.setAntialiasing(False)
        self.ci.layout.setContentsMargins(2, 0, 2, 0)
        self.ci.layout.setHorizontalSpacing(2)
        self.ci.layout.setVerticalSpacing(0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def heading(self, words: str, row: int, column: int, columns: int) -> Words:
        """A line of words above some columns."""
        label = Words(words, bold=True)
        self.ci.addItem(label, row=row, col=column, colspan=columns)
        return label

    def wheelEvent(self, event: Any) -> None:  # noqa: N802  # Qt's name
        event.ignore()


class SignalPlots(QWidget):
    """The twelve signals by group, and below them the risk by kind."""

    def __init__(self) -> None:
        """Empty plots."""
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        signals, risks = _Grid(), _Grid()
        layout.addWidget(signals, 3)
        layout.addWidget(risks, 1)
        self._signals = _signal_grid(signals)
        self._risk_heading = risks.heading("risk by kind", 0, 0, len(PREDICTED))
        self._risks = [
            SmallPlot(risks.ci, 1, column, kind, log=False, bottom=True) for column, kind in enumerate(PREDICTED)
        ]
        for grid, columns in ((signals, _COLUMNS), (risks, len(PREDICTED))):
            for column in range(columns):
                grid.ci.layout.setColumnStretchFactor(column, 1)
                grid.ci.layout.setColumnPreferredWidth(column, 100)
                grid.ci.layout.setColumnMinimumWidth(column, 60)

    def draw(self, content: WindowContent) -> None:
        """Draws everything."""
        alarm = ACT_BAND if content.watched else ALARM_BAND
        motions = () if content.motion is None else content.motion.spans
        bands = [(span, MOTION_BAND) for span in motions] + [(span, alarm) for span in content.alarms]
        for plot, curve in zip(self._signals, content.curves, strict=True):
            _draw_signal(plot, curve, content.span_s)
            plot.bands(bands, content.marks)
        risks: Sequence[RiskCurve | None] = content.risks or [None] * len(PREDICTED)
        for plot, risk in zip(self._risks, risks, strict=True):
            _draw_risk(plot, risk, content.span_s)
            plot.bands(bands, content.marks)
        self._risk_heading.say(_risk_words(content))


def _signal_grid(grid: _Grid) -> list[SmallPlot]:
    """Plots in the order of the signals: four in a row, each group under its name."""
    plots = []
    last_row = (len(SIGNALS) - 1) // _COLUMNS
    begins = [i for i, signal in enumerate(SIGNALS) if i % _COLUMNS == 0 or signal.group != SIGNALS[i - 1].group]
    for begin in begins:
        row, column = divmod(begin, _COLUMNS)
        end = next((other for other in begins if other > begin), len(SIGNALS))
        grid.heading(SIGNALS[begin].group, 3 * row, column, end - begin)
    for index in range(len(SIGNALS)):
        row, column = divmod(index, _COLUMNS)
        name = SIGNALS[index].name
        words = name.replace("_", " ")
        plots.append(SmallPlot(grid.ci, 3 * row + 1, column, words, log=name in LOG, bottom=row == last_row))
    return plots


def _draw_signal(plot: SmallPlot, curve: SignalCurve, span_s: float) -> None:
    unit = _UNITS.get(curve.unit, curve.unit)
    known = len(curve.values) and math.isfinite(curve.values[-1])
    plot.say(f"{curve.now} {unit}" if known else curve.now)
    plot.draw(curve.seconds, curve.values, None, span_s, curve.bounds)


def _draw_risk(plot: SmallPlot, risk: RiskCurve | None, span_s: float) -> None:
    plot.say("" if risk is None else risk.now)
    if risk is None:
        plot.draw([], [], [], span_s, (0.0, 1.0))
    else:
        plot.draw(risk.seconds, risk.values, risk.thresholds, span_s, (0.0, risk.top))


def _risk_words(content: WindowContent) -> str:
    if not content.risks:
        return "no failure predictor was heard in this episode"
    return " · ".join(
        filter(None, (content.alarm, f"dashed: threshold; band: alarm, green: intervention; {content.origin}"))
    )
