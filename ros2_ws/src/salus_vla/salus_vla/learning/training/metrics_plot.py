"""The metrics of a training as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from salus_vla.contract.errors import TrainingError


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Lines of metrics.jsonl; steps that were done again after an interruption are there once, as they went last.

    Raises:
        TrainingError: a line is not a JSON object with a step; names file and line.
    """
    lines: dict[int, dict[str, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            step = int(entry["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}, line {number}: expected a JSON object with 'step' ({error})") from error
        lines = {earlier: value for earlier, value in lines.items() if earlier < step}
        lines[step] = {key: value for key, value in entry.items() if value is not None}
    return list(lines.values())


def plot_metrics(path: Path, picture: Path, title: str) -> None:
    """Draws loss, held-out loss and learning rate over the steps.

    Args:
        path: metrics.jsonl.
        picture: PNG to write.
        title: over it.

    Raises:
        TrainingError: the metrics cannot be read.
    """
    from matplotlib.figure import Figure  # takes a second to import

    metrics = read_metrics(path)
    figure = Figure(figsize=(8, 5), layout="constrained")
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for key, label, style in (
        ("flow", "learned episodes", {"color": "#4477aa", "linewidth": 1.2}),
        ("held_out", "held-out episodes, averaged weights", {"color": "#ee6677", "marker": "o", "markersize": 3}),
        ("cube", "where the cube is (auxiliary)", {"color": "#999999", "linewidth": 0.8}),
    ):
        points = [(entry["step"], entry[key]) for entry in metrics if key in entry]
        if points:
            loss.plot(*zip(*points, strict=True), label=label, **style)
    loss.set(yscale="log", ylabel="loss", title=title)
    loss.grid(alpha=0.3, which="both")
    loss.legend()
    rate.plot([entry["step"] for entry in metrics], [entry["rate"] for entry in metrics], color="#228833")
    rate.set(xlabel="step", ylabel="rate", ylim=(0, None))
    rate.grid(alpha=0.3)
    figure.savefig(picture, dpi=100)
