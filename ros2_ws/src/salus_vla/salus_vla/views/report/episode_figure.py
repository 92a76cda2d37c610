"""One episode in one picture: what the cameras saw, what was foreseen, and the twelve signals over the same time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws into a file; no display is needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from rosbags.highlevel import AnyReader

from salus_vla import contract
from salus_vla.contract import CAMERAS, DECISION_HZ
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EventKind, stamp_of, to_ns
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ImageArray
from salus_vla.data.bags.recorded_observations import holds, opened_bag, window_of
from salus_vla.signals.safety_signals import SIGNALS

_PICTURES = 6  # per camera
_SIGNAL_ROWS = len(SIGNALS) // 2
_RISK, _ALARM = "#b91c1c", "#fecaca"
_GROUP_COLOURS = {"uncertainty": "#c2410c", "action": "#1d4ed8", "execution": "#15803d", "activations": "#7e22ce"}
_NS = 1e-9


@dataclass
class _Episode:
    """What is drawn of a bag; times in seconds from the start of the episode."""

    title: str = ""
    event_time: float | None = None
    event: str = ""
    image_times: dict[str, list[float]] = field(default_factory=lambda: {camera: [] for camera in CAMERAS})
    images: dict[str, list[ImageArray]] = field(default_factory=lambda: {camera: [] for camera in CAMERAS})
    signal_times: list[float] = field(default_factory=list)
    signals: list[list[float]] = field(default_factory=list)
    risk_times: list[float] = field(default_factory=list)
    risks: list[ForeseenRisk] = field(default_factory=list)


def plot_episode(bag: Path, output: Path, number: int | None = None) -> None:
    """Draws an episode of a bag.

    Args:
        bag: folder of a finished bag.
        output: PNG or SVG file to write.
        number: of the episode; None where the bag holds one only.

    Raises:
        RecordingError: no readable bag, not that episode, or no camera images or safety signals of it.
    """
    episode = _read(bag, number)
    times = sorted(time for times in episode.image_times.values() for time in times)
    if not times or not episode.signal_times:
        raise RecordingError(f"{bag}: holds no camera images or no safety signals, so there is nothing to draw")
    rows = [2.1] * len(CAMERAS) + ([1.3] if episode.risks else []) + [1] * _SIGNAL_ROWS
    figure = plt.figure(figsize=(13, 11.5 * sum(rows) / 12.3), layout="constrained", facecolor="white")
    grid = GridSpec(len(rows), _PICTURES, figure=figure, height_ratios=rows)
    figure.suptitle(episode.title, fontsize=13)
    shown = np.linspace(times[0], times[-1], _PICTURES)
    for row, camera in enumerate(CAMERAS):
        taken = np.array(episode.image_times[camera])
        for column, time in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            if len(taken):  # a camera may have lost images, or all of them
                axes.imshow(episode.images[camera][int(np.abs(taken - time).argmin())])
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"{time:.1f} s", fontsize=9)
            if column == 0:
                axes.set_ylabel(camera)
    if episode.risks:
        _draw_risk(figure.add_subplot(grid[len(CAMERAS), :]), episode)
    _draw_signals(figure, grid, episode)
    figure.savefig(output, dpi=110)
    plt.close(figure)


def _draw_risk(axes: Axes, episode: _Episode) -> None:
    """The probability that the episode fails with its threshold; where there was an alarm the ground is red."""
    times, half = episode.risk_times, 0.5 / DECISION_HZ
    axes.plot(times, [risk.failure for risk in episode.risks], color=_RISK, linewidth=1.4)
    axes.plot(times, [risk.threshold for risk in episode.risks], color="0.35", linewidth=1.0, linestyle=":")
    before = ""
    for time, risk in zip(times, episode.risks, strict=True):
        if risk.alarm:
            axes.axvspan(time - half, time + half, color=_ALARM, linewidth=0.0)
        if risk.alarm and risk.alarm != before:
            axes.text(time, 0.04, risk.alarm, rotation=90, ha="center", va="bottom", color=_RISK, fontsize=7)
        before = risk.alarm
    alarms = ((time, risk) for time, risk in zip(times, episode.risks, strict=True) if risk.alarm)
    time, first = next(alarms, (0.0, None))
    if first is not None:
        words = f"first alarm at {time:.1f} s, {first.detail or first.alarm}"
        axes.set_title(words, fontsize=8, loc="right", pad=2, color=_RISK)
    axes.set_title("risk: probability of failure; dotted: its threshold", fontsize=8, loc="left", pad=2)
    axes.set_ylim(0.0, 1.04)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    axes.margins(x=0)
    if episode.event_time is not None:
        axes.axvline(episode.event_time, color="0.2", linestyle="--", linewidth=0.9)


def _draw_signals(figure: Figure, grid: GridSpec, episode: _Episode) -> None:
    """Two columns of six signals; gaps where a signal is not valid."""
    values = np.array(episode.signals)
    half = _PICTURES // 2
    first: Axes | None = None
    for index, signal in enumerate(SIGNALS):
        column, row = divmod(index, _SIGNAL_ROWS)
        cell = grid[grid.nrows - _SIGNAL_ROWS + row, column * half : (column + 1) * half]
        axes = figure.add_subplot(cell, sharex=first) if first is not None else figure.add_subplot(cell)
        first = first or axes
        axes.plot(episode.signal_times, values[:, index], color=_GROUP_COLOURS[signal.group], linewidth=1.2)
        axes.set_title(f"{signal.name} [{signal.unit}]", fontsize=8, loc="left", pad=2)
        axes.tick_params(labelsize=7, labelbottom=row == _SIGNAL_ROWS - 1)
        axes.grid(alpha=0.25)
        axes.margins(x=0)
        if not np.isfinite(values[:, index]).any():
            axes.text(
                0.5, 0.5, "not valid", transform=axes.transAxes, ha="center", va="center", color="0.5", fontsize=8
            )
            axes.set_yticks([])
        if episode.event_time is not None:
            axes.axvline(episode.event_time, color="0.2", linestyle="--", linewidth=0.9)
        if row == _SIGNAL_ROWS - 1:
            axes.set_xlabel("time in the episode [s]", fontsize=8)


def _read(bag: Path, number: int | None = None) -> _Episode:
    episode = _Episode()
    with opened_bag(bag) as reader:
        window = window_of(reader, bag, number) if holds(reader, contract.EPISODE) else (0, 2**63 - 1)
        _take_messages(reader, episode, window, number)
    return episode


def _take_messages(reader: AnyReader, episode: _Episode, window: tuple[int, int], number: int | None) -> None:
    """Takes what lies in a window of stamps [ns], and what is said of the episode with this number."""
    cameras = {contract.image_topic(camera).name: camera for camera in CAMERAS}
    names = {*cameras, contract.SAFETY_SIGNALS.name, contract.FAILURE_PREDICTION.name, contract.EPISODE.name}
    start_ns = _start_ns(reader, number)
    connections = [connection for connection in reader.connections if connection.topic in names]
    for connection, _, raw in reader.messages(connections):
        message: Any = reader.deserialize(raw, connection.msgtype)
        if connection.topic == contract.EPISODE.name:
            if number in (None, message.episode):
                _take_episode(episode, message, start_ns)
            continue
        stamp_ns = stamp_of(message)
        if not window[0] <= stamp_ns <= window[1]:
            continue
        time = (stamp_ns - start_ns) * _NS
        if connection.topic in cameras:
            rows = np.asarray(message.data).reshape(message.height, message.step)
            pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
            camera = cameras[connection.topic]
            episode.images[camera].append(pixels)
            episode.image_times[camera].append(time)
        elif connection.topic == contract.SAFETY_SIGNALS.name:
            episode.signal_times.append(time)
            episode.signals.append([getattr(message, signal.name) for signal in SIGNALS])
        else:
            episode.risk_times.append(time)
            episode.risks.append(ForeseenRisk.of(message))


def _start_ns(reader: AnyReader, number: int | None) -> int:
    """Stamp of an episode's STARTED, else of the first image [ns]: the times of the bag may be those of the wall."""
    for topic in (contract.EPISODE, contract.image_topic(CAMERAS[0]), contract.SAFETY_SIGNALS):
        connections = [item for item in reader.connections if item.topic == topic.name and item.msgcount]
        for connection, _, raw in reader.messages(connections) if connections else ():
            message: Any = reader.deserialize(raw, connection.msgtype)
            ours = topic is not contract.EPISODE or number in (None, message.episode)
            if ours and (topic is not contract.EPISODE or message.kind == EventKind.STARTED):
                return stamp_of(message)
    return reader.start_time


def _take_episode(episode: _Episode, message: Any, start_ns: int) -> None:
    outcome = Outcome(message.outcome).name
    ended = f"{outcome} after {message.decisions} decisions" if message.outcome else "running"
    detail = f"\n{message.detail}" if message.event else ""
    episode.title = f"{message.policy_source}, seed {message.seed}: {ended}{detail}"
    event_ns = to_ns(message.event_stamp)
    if event_ns and message.event:
        episode.event, episode.event_time = message.event, (event_ns - start_ns) * _NS
