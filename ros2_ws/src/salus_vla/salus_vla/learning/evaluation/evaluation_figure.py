"""The evaluation in one picture: how the episodes ended in each profile, and which signal sees which shift."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.evaluation import Evaluation
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.outcome_rates import Outcomes
from salus_vla.learning.evaluation.shift import FIRST, WHOLE, ShiftDetection
from salus_vla.learning.evaluation.tables import decisions_text
from salus_vla.signals.safety_signals import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from matplotlib.image import AxesImage

# Paul Tol's bright scheme; every panel says in words what it shows.
_COLOURS = {
    Outcome.SUCCESS.name: "#228833",
    "physical failures": "#555555",
    Outcome.COLLISION.name: "#ee6677",
    Outcome.DROP.name: "#aa3377",
    Outcome.MISS.name: "#ccbb44",
    Outcome.TIMEOUT.name: "#66ccee",
}
_WIDTH = 15.0  # inches, as all sizes here
_ROW, _CELL = 0.27, 0.36
_LABEL = 34  # characters of a label


def plot_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Draws bars of outcomes with Wilson intervals, and for each subject a heat map of AUROC by signal and profile.

    Args:
        path: PNG to write; what the file held before is replaced.
        evaluation: what to draw.

    Raises:
        RecordingError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second to import

    rows = _rows(evaluation)
    subjects = [name for name in dict.fromkeys(item.subject for item in evaluation.shift) if _seen(evaluation, name)]
    heights = [1.0 + _ROW * len(rows), *(2.0 + _CELL * len(NAMES) for _ in subjects)]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained", facecolor="white")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _plot_outcomes(parts[0], rows)
    for part, subject in zip(parts[1:], subjects, strict=True):
        _plot_shift(part, evaluation, subject)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    write_atomically(path, buffer.getvalue())


def _rows(evaluation: Evaluation) -> list[str | Outcomes]:
    """A subject's label, then its profiles; and so on."""
    rows: list[str | Outcomes] = []
    for item in evaluation.outcomes:
        if item.subject not in rows:
            rows.append(item.subject)
        rows.append(item)
    return rows


def _seen(evaluation: Evaluation, subject: str) -> bool:
    own = [item for item in evaluation.shift if item.subject == subject]
    return any(auroc.value is not None for item in own for auroc in item.signals.values())


def _plot_outcomes(part: SubFigure, rows: Sequence[str | Outcomes]) -> None:
    part.suptitle("How episodes ended, with 95 % Wilson intervals", fontsize=13)
    panels = part.subplots(1, len(_COLOURS), sharey=True)
    for axes, (name, colour) in zip(panels, _COLOURS.items(), strict=True):
        axes.set_title(name, fontsize=10)
        axes.set(xlim=(0.0, 1.35), ylim=(len(rows) - 0.4, -0.6))
        axes.set_xticks([0.0, 0.5, 1.0], ["0", "50", "100 %"], fontsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.grid(alpha=0.3)
        axes.set_axisbelow(True)
        for height, row in enumerate(rows):
            if not isinstance(row, str):
                share = row.physical_failures if name == "physical failures" else row.shares[name]
                _plot_share(axes, height, share, colour)
    panels[0].set_yticks(
        range(len(rows)), [_short(row) if isinstance(row, str) else f"{row.profile} ({row.episodes})" for row in rows]
    )
    for label, row in zip(panels[0].get_yticklabels(), rows, strict=True):
        label.set(fontsize=9, fontweight="bold" if isinstance(row, str) else "normal")


def _short(label: str) -> str:
    """The end of a long one, which tells members apart."""
    return label if len(label) <= _LABEL else "..." + label[3 - _LABEL :]


def _plot_share(axes: Axes, height: int, share: Share, colour: str) -> None:
    if share.share is None:
        return
    axes.barh(height, share.share, height=0.72, color=colour)
    axes.plot([share.low, share.high], [height, height], color="black", linewidth=1.1)
    axes.plot([share.low, share.high], [height, height], color="black", linestyle="none", marker="|", markersize=6)
    axes.text(max(share.share, share.high) + 0.04, height, f"{100 * share.share:.3g} %", fontsize=8, va="center")


def _plot_shift(part: SubFigure, evaluation: Evaluation, subject: str) -> None:
    part.suptitle(f"Which signal sees which shift: AUROC, {subject}", fontsize=13)
    panels = part.subplots(1, 2, sharey=True)
    for axes, window in zip(panels, (FIRST, WHOLE), strict=True):
        columns = [item for item in evaluation.shift if (item.subject, item.window) == (subject, window)]
        image = _plot_map(axes, columns)
        axes.set_title(f"mean over the {decisions_text(window, evaluation)}".replace("the decisions", "all decisions"))
    panels[0].set_yticks(range(len(NAMES)), NAMES, fontsize=9)
    bar = part.colorbar(image, ax=panels, shrink=0.8, pad=0.01)
    bar.set_label(f"larger in {columns[0].reference}  <   0.5   >  larger under shift", fontsize=9)


def _plot_map(axes: Axes, columns: Sequence[ShiftDetection]) -> AxesImage:
    """Bold where the interval does not hold 0.5."""
    values = np.array(
        [[np.nan if (value := item.signals[name].value) is None else value for item in columns] for name in NAMES]
    )
    axes.set_facecolor("#e8e8e8")
    image = axes.imshow(values, cmap="PuOr_r", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(
        range(len(columns)),
        [f"{item.profile}\n{item.reference_episodes} : {item.episodes}" for item in columns],
        fontsize=8,
        rotation=30,
        ha="right",
        rotation_mode="anchor",
    )
    axes.tick_params(length=0)
    for row, name in enumerate(NAMES):
        for column, item in enumerate(columns):
            found = item.signals[name]
            if found.value is None or found.low is None or found.high is None:
                axes.text(column, row, "-", ha="center", va="center", color="0.4", fontsize=9)
                continue
            colour = "white" if abs(found.value - 0.5) > 0.36 else "black"
            weight = "normal" if found.low <= 0.5 <= found.high else "bold"
            number = f"{found.value:.2f}"
            axes.text(column, row - 0.14, number, ha="center", va="center", color=colour, fontsize=9, fontweight=weight)
            span = f"{found.low:.2f}-{found.high:.2f}"
            axes.text(column, row + 0.24, span, ha="center", va="center", color=colour, fontsize=6.5)
    return image
