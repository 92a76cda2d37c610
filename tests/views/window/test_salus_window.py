"""The window as it is drawn, without a screen: it fits, everything in it is seen, and it warns only where it should.

`SALUS_PICTURES=FOLDER` keeps the pictures, to look at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PyQt5.QtGui import QColor
from PyQt5.QtWidgets import QApplication, QPushButton, QTableWidget, QWidget

from intervened import STUCK
from salus_vla.contract import CAMERAS
from salus_vla.contract.message_readers import EventKind
from salus_vla.contract.reasons import STALE_CAMERA, NodeState
from salus_vla.contract.types import ImageArray
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.views.window.salus_window import SalusWindow
from salus_vla.views.window.signal_plots import SmallPlot, Words
from salus_vla.views.window.watched_graph import WatchedGraph
from salus_vla.views.window.window_colors import ACT
from watched import event, picture, play, runs

START = 10**9
# What rqt leaves of 1280 x 800 and of the dock of the perspective on 1920 x 1080.
SIZES = ((1280, 740), (1920, 660))


def nothing(_: WatchedGraph) -> None:
    """Nobody was heard."""


def healthy(graph: WatchedGraph) -> None:
    for episode, outcome in enumerate(("SUCCESS", "DROP", "SUCCESS")):
        end_ns = play(graph, episode, START * (1 + 20 * episode), 60)
        graph.episode(event(EventKind.ENDED, episode, end_ns, outcome, "in words", 60))
    play(graph, 3, 90 * START, 47, chosen=[("plan", "")] * 20 + [("careful_0.35", "the grasp is not firm")] * 9)
    runs(graph)


def alarm(graph: WatchedGraph) -> None:
    play(graph, 0, START, 90, alarms=[""] * 60 + ["drop"] * 30, intervenes=False)
    runs(graph)


def handed_over(graph: WatchedGraph) -> None:
    play(graph, 0, START, 40, chosen=[("plan", "")] * 39 + [(HAND_OVER, STUCK)])
    runs(graph)


def held(graph: WatchedGraph) -> None:
    play(graph, 0, START, 40)
    runs(graph, policy=(NodeState.HOLDING, STALE_CAMERA, "camera front: nothing new for 0.62 s, more than 0.5 s"))


CASES: dict[str, tuple[Callable[[WatchedGraph], None], bool]] = {
    "nothing": (nothing, False),
    "healthy": (healthy, False),
    "alarm": (alarm, True),
    "handed_over": (handed_over, True),
    "held": (held, True),
}


@pytest.fixture(scope="module")
def application() -> QApplication:
    existing = QApplication.instance()
    return existing if isinstance(existing, QApplication) else QApplication([])


@pytest.fixture(scope="module")  # seventeen plots take a while to make
def window(application: QApplication) -> Iterator[SalusWindow]:
    made = SalusWindow()
    yield made
    made.close()


def shown(window: SalusWindow, case: str, size: tuple[int, int]) -> ImageArray:
    """The picture of a case, (height, width, 3)."""
    graph = WatchedGraph(0.0, "42")
    CASES[case][0](graph)
    window.resize(*size)
    window.show()
    QApplication.processEvents()
    if case != "nothing":
        for number, camera in enumerate(CAMERAS):
            window.show_image(camera, picture(number))
    for _ in range(2):  # words are cut to the width that the first round gives
        window.draw(graph.content(1.5))
        QApplication.processEvents()
    image = window.grab().toImage().convertToFormat(4)  # RGB32
    folder = os.environ.get("SALUS_PICTURES")
    if folder:
        image.save(str(Path(folder, f"{case}_{size[0]}.png")))
    bits = image.bits()
    assert bits is not None
    bits.setsize(image.byteCount())
    pixels = np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), image.width(), 4)
    return pixels[..., 2::-1]


def count_of(pixels: ImageArray, color: str) -> int:
    wanted = QColor(color)
    return int((pixels == (wanted.red(), wanted.green(), wanted.blue())).all(axis=-1).sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_it_fits_and_warns_only_where_a_person_should_act(
    window: SalusWindow, case: str, size: tuple[int, int]
) -> None:
    pixels = shown(window, case, size)
    assert (window.width(), window.height()) == size
    warned = count_of(pixels, ACT)
    assert warned > 20_000 if CASES[case][1] else warned == 0
    for child in window.findChildren(QWidget):
        if child.isVisible() and child.parentWidget() is window:
            assert window.rect().contains(child.geometry()), child


@pytest.mark.parametrize("size", SIZES)
def test_every_plot_is_inside_and_large_enough_to_read(window: SalusWindow, size: tuple[int, int]) -> None:
    shown(window, "healthy", size)
    plots: list[SmallPlot] = [*window._plots._signals, *window._plots._risks]
    assert len(plots) == 12 + 5
    for plot in plots:
        item = plot._plot
        view = item.getViewWidget()
        place = item.mapRectToScene(item.rect())
        assert view.rect().adjusted(-1, -1, 1, 1).contains(place.toAlignedRect())
        curve = item.getViewBox().rect()
        assert curve.width() >= 90.0
        assert curve.height() >= 50.0
        title: Words = plot._title
        assert title.rect().width() >= 120.0


def test_a_value_has_its_unit_and_an_unknown_one_has_none(window: SalusWindow) -> None:
    graph = WatchedGraph(0.0, "42")
    play(graph, 0, START, 1)
    window.draw(graph.content(1.5))
    said = {plot._title._name: plot._title._rest for plot in window._plots._signals}
    assert said["action jerk"] == "not known"
    assert said["action magnitude"].endswith(" rad")
    assert said["epistemic uncertainty"].endswith(" rad²")


def test_every_camera_is_as_large_as_its_neighbours(window: SalusWindow) -> None:
    shown(window, "healthy", SIZES[0])
    sizes = [(view.width(), view.height()) for view in window._cameras._views.values()]
    assert min(min(size) for size in sizes) >= 180
    assert max(max(size) for size in sizes) <= min(min(size) for size in sizes) + 3


def test_the_list_has_the_episodes_with_their_outcomes(window: SalusWindow) -> None:
    shown(window, "healthy", SIZES[0])
    (table,) = window.findChildren(QTableWidget)
    outcomes = [item.text() for row in range(table.rowCount()) if (item := table.item(row, 2)) is not None]
    assert outcomes == ["running", "SUCCESS", "DROP", "SUCCESS"]


def test_the_buttons_ask_for_what_can_be_asked(window: SalusWindow) -> None:
    asked: list[str] = []
    window.hold_asked.connect(lambda: asked.append("hold"))
    window.go_on_asked.connect(lambda: asked.append("go on"))
    window.reset_asked.connect(lambda: asked.append("reset"))
    hold, reset = window.findChildren(QPushButton)
    shown(window, "nothing", SIZES[0])
    assert not hold.isEnabled()
    assert not reset.isEnabled()
    shown(window, "healthy", SIZES[0])
    assert hold.isEnabled()
    assert not reset.isEnabled()
    hold.click()
    shown(window, "held", SIZES[0])
    reset.click()
    graph = WatchedGraph(0.0, "42")
    graph.status("policy", NodeState.HOLDING, "inactive", "")
    window.draw(graph.content(1.0))
    hold.click()
    assert asked == ["hold", "reset", "go on"]


def test_words_without_room_are_whole_in_the_tool_tip(window: SalusWindow) -> None:
    words = "a reason " * 100
    graph = WatchedGraph(0.0, "42")
    graph.message("/clock", 1.0)
    graph.status("policy", NodeState.FAILED, "no_valid_policy", words)
    window.resize(*SIZES[0])
    window.show()
    window.draw(graph.content(1.5))
    QApplication.processEvents()
    assert window.height() == SIZES[0][1]
    assert window.width() == SIZES[0][0]
    assert window._head._detail.toolTip() == words
