"""Why episodes fail, as tables and in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.auroc import Auroc
from salus_vla.learning.evaluation.evaluation_report import markdown_table
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.tables import DASH, Table
from salus_vla.learning.prediction.causes_evaluation import (
    AFTER_S,
    BEFORE_S,
    SHOWN,
    SIGNAL_NAMES,
    TIME,
    CausesEvaluation,
    Shown,
)
from salus_vla.learning.prediction.failure_causes import Cause

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = (TIME, *(name for name in SHOWN if name not in (TIME, *SIGNAL_NAMES)))
# Paul Tol's muted scheme, the causes of the hand in warm colours.
_COLOURS = {
    Cause.CROOKED_GRASP: "#882255",
    Cause.LET_GO: "#661100",
    Cause.SLIPPED: "#cc6677",
    Cause.SAGGED_INTO_BIN: "#ddcc77",
    Cause.EDGE_GRIPPED: "#aa4499",
    Cause.SHOVED_IN_HAND: "#117733",
    Cause.SHOVED_BEFORE: "#44aa99",
    Cause.CLOSED_BESIDE: "#332288",
    Cause.CLOSED_ON: "#88ccee",
    Cause.OUT_OF_REACH: "#999933",
    Cause.COLLIDED: "#555555",
    Cause.STUCK: "#999999",
    Cause.OTHER: "#dddddd",
}


def causes_tables(found: CausesEvaluation) -> list[Table]:
    """In the order in which they are read."""
    tables = [_causes(found), _grasps(found), _loads(found)]
    tables.append(_shown(f"What was shown {BEFORE_S:g} s before the hand first closed", found.before))
    tables.append(_shown(f"What was shown {AFTER_S:g} s after the last grasp began", found.held))
    return [table for table in tables if table.rows]


def write_causes(file: Path, found: CausesEvaluation, command: str) -> None:
    """Writes the tables as Markdown; an existing file is replaced.

    Raises:
        RecordingError: it cannot be written.
    """
    parts = ["# Why episodes fail", f"```bash\n{command}\n```"]
    for table in causes_tables(found):
        parts += [f"## {table.title}", markdown_table(Table("", table.head, table.rows))]
    write_atomically(file, ("\n\n".join(parts) + "\n").encode())


def _causes(found: CausesEvaluation) -> Table:
    """Causes in rows, profiles in columns: a failure table has few of the first and few of the second."""
    rows = []
    for cause, shares in found.causes.items():
        rows.append((cause.value, *(_share(shares[profile], DASH) for profile in found.profiles)))
    head = ("cause", *(f"{profile}\n{count}" for profile, count in found.profiles.items()))
    return Table("Causes, of all episodes of a profile", head, tuple(rows))


def _grasps(found: CausesEvaluation) -> Table:
    rows = [
        (
            item.profile,
            _of(item.crooked),
            _of(item.straight),
            f"{item.told_to_open.count} of {item.told_to_open.total}" if item.told_to_open.total else DASH,
            _millimetres(*item.told_at_loss),
            _millimetres(*item.told_at_release),
        )
        for item in found.grasps
        if item.crooked.total + item.straight.total
    ]
    head = (
        "profile",
        "crooked:\nthat fail",
        "straight:\nthat fail",
        "crooked failures\ntold to open",
        "told at the loss [mm]\nmedian, largest",
        "told at a release [mm]\nmedian, smallest",
    )
    return Table("Last grasps, crooked and straight", head, tuple(rows))


def _loads(found: CausesEvaluation) -> Table:
    rows = [
        (
            "success" if item.cause is None else item.cause.value,
            item.profile,
            str(item.episodes),
            _millimetres(item.slid),
            _millimetres(item.sag),
        )
        for item in found.loads
    ]
    head = (
        "until the last grasp ended",
        "profile",
        "episodes",
        "cube slid in\nthe hand [mm]",
        "tool below its\ncommand [mm]",
    )
    return Table("What a load does, medians", head, tuple(rows))


def _millimetres(*values: float) -> str:
    return ", ".join(f"{1e3 * value:.0f}" for value in values) if np.isfinite(values).all() else DASH


def _shown(title: str, items: Sequence[Shown]) -> Table:
    head = ("cause", "profile", "successes\n: failures", *_COLUMNS[:1], "signals apart,\nof 12", "the farthest one")
    rows = [
        (
            item.cause.value,
            item.profile,
            f"{item.successes} : {item.failures}",
            _area(item.areas[TIME]),
            str(item.apart),
            f"{item.strongest}\n{_area(item.areas[item.strongest])}",
            *(_area(item.areas[name]) for name in _COLUMNS[1:]),
        )
        for item in items
    ]
    return Table(title, (*head, *_COLUMNS[1:]), tuple(rows))


def _share(share: Share, none: str) -> str:
    if not share.count:
        return none
    return f"{share.count}\n{100 * share.low:.0f}-{100 * share.high:.0f} %"


def _of(share: Share) -> str:
    if share.share is None:
        return DASH
    return f"{share.count} of {share.total}\n{100 * share.low:.0f}-{100 * share.high:.0f} %"


def _area(area: Auroc) -> str:
    if area.value is None or area.low is None or area.high is None:
        return DASH
    return f"{area.value:.2f}\n{area.low:.2f}-{area.high:.2f}"


def plot_causes(path: Path, found: CausesEvaluation) -> None:
    """Draws the causes of each profile, and what was shown before them.

    Args:
        path: PNG to write; what the file held before is replaced.
        found: what to draw.

    Raises:
        RecordingError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second to import

    figure = Figure(figsize=(13.0, 13.0), layout="constrained", facecolor="white")
    rows = [1.2 + 0.32 * len(found.profiles), 1.0 + 0.3 * len(found.before), 1.0 + 0.3 * len(found.held)]
    grid = figure.add_gridspec(3, 1, height_ratios=rows)
    _plot_shares(figure.add_subplot(grid[0]), found)
    moments = (
        (
            found.before,
            f"Shown {BEFORE_S:g} s before the hand first closed: AUROC beside successes of the same profile",
        ),
        (found.held, f"Shown {AFTER_S:g} s after the last grasp began"),
    )
    for place, (items, title) in enumerate(moments, start=1):
        if items:
            _plot_areas(figure.add_subplot(grid[place]), items, title, names=place == len(moments))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _plot_shares(axes: Axes, found: CausesEvaluation) -> None:
    profiles = sorted(
        found.profiles, key=lambda profile: sum(shares[profile].share or 0.0 for shares in found.causes.values())
    )
    left = np.zeros(len(profiles))
    for cause in [cause for cause in _COLOURS if cause in found.causes]:
        width = np.array([100 * (found.causes[cause][profile].share or 0.0) for profile in profiles])
        axes.barh(range(len(profiles)), width, left=left, color=_COLOURS[cause], label=cause.value, height=0.72)
        left += width
    axes.set_yticks(range(len(profiles)), [f"{profile}  ({found.profiles[profile]})" for profile in profiles])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="failures by cause [% of the profile's episodes]")
    axes.set_title("Why it fails", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)


def _plot_areas(axes: Axes, items: Sequence[Shown], title: str, *, names: bool) -> None:
    """Cells whose interval holds .5 are left pale: they tell nothing."""
    values = np.full((len(items), len(SHOWN)), np.nan)
    for row, item in enumerate(items):
        for column, name in enumerate(SHOWN):
            area = item.areas[name]
            if area.value is None or area.low is None or area.high is None:
                continue
            values[row, column] = area.value
            sure = not area.low <= 0.5 <= area.high
            axes.text(
                column,
                row,
                f"{area.value:.2f}".lstrip("0"),
                ha="center",
                va="center",
                fontsize=8,
                color="black" if sure else "#999999",
                fontweight="bold" if sure else "normal",
            )
    axes.imshow(values, cmap="PuOr_r", vmin=0.0, vmax=1.0, aspect="auto", alpha=0.75)
    axes.set_yticks(
        range(len(items)), [f"{item.cause.value}, {item.profile}  ({item.failures})" for item in items], fontsize=9
    )
    labels = [name.replace("_", " ") for name in SHOWN] if names else []
    axes.set_xticks(range(len(SHOWN)), labels or [""] * len(SHOWN), rotation=40, ha="right", fontsize=9)
    axes.set_title(title, loc="left", fontsize=11)
    axes.tick_params(length=0)
    for edge in (0.5, len(SIGNAL_NAMES) + 0.5, len(SIGNAL_NAMES) + 2.5):
        axes.axvline(edge, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
