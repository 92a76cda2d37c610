"""The evaluation of a predictor in one picture: ours beside the best of the others, alarms, and what was promised."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.prediction.baselines.method import OURS, PUBLISHED, RULE
from salus_vla.learning.prediction.prediction_evaluation import OUR_NAME, PredictionEvaluation, Row
from salus_vla.learning.prediction.questions import AT_DECISIONS, PHASES_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's bright scheme.
_COLOURS = {OURS: "#4477aa", RULE: "#ee6677", PUBLISHED: "#228833", "signal": "#bbbbbb"}
_NAMES = {
    OURS: "SALUS",
    RULE: "best rule of one line",
    PUBLISHED: "best published method",
    "signal": "best single signal",
}


def plot_prediction(path: Path, found: PredictionEvaluation) -> None:
    """Draws it.

    Args:
        path: PNG to write; what the file held before is replaced.
        found: what to draw.

    Raises:
        RecordingError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second to import

    figure = Figure(figsize=(15.0, 8.4), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 3)
    decisions = {f"at_{decision}": decision / 10 for decision in AT_DECISIONS}
    _plot_areas(axes[0, 0], found.seen, decisions, "Will the episode fail?\nall profiles", "s after the start")
    if found.left_out:
        means = {f"mean at_{decision}": decision / 10 for decision in (5, 10, 20, 30, 40)}
        _plot_areas(
            axes[0, 1], found.left_out, means, "Will it fail? Profiles not learned from,\nmean", "s after the start"
        )
    else:
        axes[0, 1].set_visible(False)
    phases = {f"{phase:g}": phase for phase in PHASES_S}
    _plot_areas(
        axes[0, 2], found.phase, phases, "Is a physical failure about to happen?\nmatched phase", "s after the grasp"
    )
    _plot_slips(axes[1, 0], found.slips)
    _plot_promise(axes[1, 1], found)
    _plot_leads(axes[1, 2], found)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _best(rows: Sequence[Row], kind: str, column: str) -> Row | None:
    if kind == OURS:
        return next((row for row in rows if row.method == OUR_NAME), None)
    known = [row for row in rows if row.kind == kind and column in row.areas and row.areas[column].value is not None]
    return max(known, key=lambda row: row.areas[column].value or 0.0, default=None)


def _plot_areas(axes: Axes, rows: Sequence[Row], columns: Mapping[str, float], title: str, below: str) -> None:
    for kind, colour in _COLOURS.items():
        points = []
        for column, at in columns.items():
            row = _best(rows, kind, column)
            area = row.areas[column] if row is not None and column in row.areas else None
            if area is not None and area.value is not None:
                points.append((at, area.value, area.low or area.value, area.high or area.value))
        if points:
            x, middle, low, high = np.array(points).T
            axes.plot(x, middle, "o-", color=colour, label=_NAMES[kind], zorder=3 if kind == OURS else 2)
            if kind == OURS:
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set(title=title, xlabel=below, ylabel="AUROC", ylim=(0.35, 1.02))
    _plain(axes)


def _plot_slips(axes: Axes, rows: Sequence[Row]) -> None:
    columns = [column for column in (rows[0].areas if rows else {}) if rows[0].areas[column].value is not None]
    for offset, (kind, colour) in zip((-0.3, -0.1, 0.1, 0.3), _COLOURS.items(), strict=True):
        for place, column in enumerate(columns):
            row = _best(rows, kind, column)
            if row is not None and (value := row.areas[column].value) is not None:
                axes.bar(place + offset, value - 0.35, width=0.18, bottom=0.35, color=colour)
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(columns)), [column.replace(" ", "\n") + " s" for column in columns], fontsize=8)
    axes.set(title="Does it slip in the hand?\nwindows after the grasp, beside eval", ylabel="AUROC", ylim=(0.35, 1.02))
    _plain(axes)


def _plot_promise(axes: Axes, found: PredictionEvaluation) -> None:
    promised = [item for item in found.conformal if item.alarms is not None]
    for item in promised:
        assert item.alarms is not None
        share = item.alarms.share or 0.0
        axes.errorbar(
            100 * item.alpha,
            100 * share,
            yerr=[[100 * (share - item.alarms.low)], [100 * (item.alarms.high - share)]],
            fmt="o",
            color=_COLOURS[OURS],
            capsize=3,
        )
    axes.plot((0, 25), (0, 25), color="black", linewidth=0.8, linestyle=":")
    axes.set(title="False alarms: promised and found", xlabel="promised, alpha [%]", ylabel="successes that alarm [%]")
    axes.set_xlim(0, 22)
    _plain(axes)


def _plot_leads(axes: Axes, found: PredictionEvaluation) -> None:
    detection = next(iter(found.detections.values()), None)
    if detection is not None and detection.leads_s:
        axes.hist(np.clip(detection.leads_s, 0.0, 10.0), bins=np.arange(0.0, 10.5, 0.5).tolist(), color=_COLOURS[OURS])
    seen = detection.seen if detection is not None else None
    told = f"{seen.count} of {seen.total} failures alarmed before" if seen is not None else ""
    axes.set(
        title=f"Lead of the alarm\n{told}", xlabel="s before the event, or before the time limit", ylabel="failures"
    )
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
