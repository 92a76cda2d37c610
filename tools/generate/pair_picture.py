"""The same seed without and with interventions, as two rows of camera pictures.

`python tools/generate/pair_picture.py FILE BASE RUN SEED` takes two runs with pictures (`salus rollout` or bags) and
draws six moments of each, evenly from the first closing of the hand to the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.errors import DatasetError, SalusError
from salus_vla.data.episodes import open_run

_MOMENTS = 6
_CAMERA = "front"
_CLOSES = 0.07  # m
_CROP = (slice(70, 220), slice(20, 240))  # rows and columns with the table


def moments(run: Path, seed: int) -> tuple[list[NDArray[np.uint8]], list[float], str]:
    """Pictures of an episode, when they are from [s], and how it ended.

    Raises:
        SalusError: no such run or seed, or it has no pictures.
    """
    episode = next((item for item in open_run(run).episodes if item.seed == seed), None)
    if episode is None:
        raise DatasetError(f"{run}: has no episode of seed {seed}")
    seen = [observation for _, observation in episode.open().observations()]
    if not seen:
        raise DatasetError(f"{run}: seed {seed} has no pictures; `salus rollout` was run with --no-images")
    widths = np.array([observation.joint_position[ARM_DOF:].sum() for observation in seen])
    first = max(0, int(np.argmax(widths < _CLOSES)) - 2)
    chosen = np.linspace(first, len(seen) - 1, _MOMENTS).round().astype(int)
    start_ns = seen[0].stamp_ns
    times = [(seen[index].stamp_ns - start_ns) * 1e-9 for index in chosen]
    return [seen[index].images[_CAMERA] for index in chosen], times, episode.summary.outcome.name


def main(arguments: Sequence[str]) -> int:
    """Draws FILE."""
    from matplotlib.figure import Figure

    file, base, run, seed = arguments
    figure = Figure(figsize=(11.0, 3.3), layout="constrained", facecolor="white")
    axes = figure.subplots(2, _MOMENTS)
    for row, (path, words) in enumerate(((base, "without"), (run, "with SALUS"))):
        try:
            pictures, times, outcome = moments(Path(path), int(seed))
        except SalusError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        for cell, picture, time_s in zip(axes[row], pictures, times, strict=True):
            cell.imshow(picture[_CROP])
            cell.set_axis_off()
            cell.text(0.02, 0.03, f"{time_s:.1f} s", transform=cell.transAxes, fontsize=8, color="white", va="bottom")
        axes[row][0].set_title(f"{words}: {outcome}", loc="left", fontsize=9, fontweight="bold")
    figure.savefig(file, dpi=90, pil_kwargs={"quality": 85})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
