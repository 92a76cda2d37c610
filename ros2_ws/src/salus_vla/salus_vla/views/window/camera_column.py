"""The three cameras above each other."""

from __future__ import annotations

from typing import Final

from PyQt5.QtCore import QRect, QRectF, QSize, Qt
from PyQt5.QtGui import QColor, QImage, QPainter, QPaintEvent, QResizeEvent
from PyQt5.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from salus_vla.contract import CAMERAS
from salus_vla.contract.types import ImageArray
from salus_vla.views.window.window_colors import INK, MUTED, PAPER, RULE

_LEAST, _MOST = 120, 420  # width [pixels]
_GAP: Final = 4
_FONT: Final = 8  # points


class CameraView(QWidget):
    """One camera's newest picture, as large as fits, and what is wrong with it."""

    def __init__(self, name: str) -> None:
        """Without a picture."""
        super().__init__()
        self._name = name
        self._words = "no picture yet"
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(QSize(_LEAST, 80))

    def show_image(self, pixels: ImageArray) -> None:
        """Shows a picture, rgb8, shape (height, width, 3)."""
        height, width, _ = pixels.shape
        self._image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def say(self, words: str) -> None:
        """Says what is wrong with the picture; empty where nothing is."""
        if words != self._words:
            self._words = words
            self.update()

    def paintEvent(self, _: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draws."""
        painter = QPainter(self)
        font = painter.font()
        font.setPointSize(_FONT)
        painter.setFont(font)
        painter.fillRect(self.rect(), QColor(RULE))
        if self._image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            place = QRect(
                (self.width() - size.width()) // 2, (self.height() - size.height()) // 2, size.width(), size.height()
            )
            painter.drawImage(place, self._image)
        self._label(painter, self._name, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, INK)
        if self._words:
            self._label(painter, self._words, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, MUTED)
        painter.end()

    def _label(self, painter: QPainter, words: str, alignment: int, color: str) -> None:
        room = self.rect().adjusted(3, 3, -3, -3)
        box = painter.boundingRect(room, int(alignment), words).adjusted(-4, -1, 4, 1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(PAPER))
        painter.drawRoundedRect(QRectF(box), 3.0, 3.0)
        painter.setPen(QColor(color))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), words)


class CameraColumn(QWidget):
    """All cameras of the contract; as wide as their height makes a third of a square column."""

    def __init__(self) -> None:
        """Without pictures."""
        super().__init__()
        self._views = {camera: CameraView(camera) for camera in CAMERAS}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_GAP)
        for view in self._views.values():
            layout.addWidget(view)
        self.setFixedWidth(_LEAST)

    def show_image(self, camera: str, pixels: ImageArray) -> None:
        """Shows a camera's picture, rgb8, shape (height, width, 3)."""
        self._views[camera].show_image(pixels)

    def say(self, words: dict[str, str]) -> None:
        """Says what is wrong with each camera's picture."""
        for camera, view in self._views.items():
            view.say(words.get(camera, ""))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802  # Qt's name
        """Keeps the pictures square."""
        super().resizeEvent(event)
        self.setFixedWidth(min(_MOST, max(_LEAST, (self.height() - 2 * _GAP) // 3)))
