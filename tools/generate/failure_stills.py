"""Camera pictures of the last second of some failures, in one picture.

`python tools/generate/failure_stills.py FILE RUN:SEED=WORDS ...` takes bags of `salus collect`, or rollouts with
images, and draws for each seed a row of three pictures: 1.6, 0.8 and 0 s before the last observation.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import DatasetError, SalusError
from salus_vla.data.episodes import open_run

_BEFORE = (16, 8, 0)  # decisions
_CAMERA = "front"


def stills(run: Path, seed: int) -> tuple[list[NDArray[np.uint8]], str]:
    """Pictures of an episode, and its profile and outcome.

    Raises:
        SalusError: no such run or seed, or it has no pictures.
    """
    episode = next((item for item in open_run(run).episodes if item.seed == seed), None)
    if episode is None:
        raise DatasetError(f"{run}: has no episode of seed {seed}")
    pictures = [observation.images[_CAMERA] for _, observation in episode.open().observations()]
    if len(pictures) <= _BEFORE[0]:
        raise DatasetError(f"{run}: seed {seed} has {len(pictures)} pictures, expected more than {_BEFORE[0]}")
    return [pictures[-1 - before] for before in _BEFORE], f"{episode.summary.profile}, {episode.summary.outcome.name}"


def main(arguments: Sequence[str]) -> int:
    """Draws FILE."""
    from matplotlib.figure import Figure

    file, *wanted = arguments
    figure = Figure(figsize=(7.5, 2.7 * len(wanted)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(wanted), len(_BEFORE), squeeze=False)
    for row, item in enumerate(wanted):
        place, words = item.split("=", 1)
        run, seed = place.rsplit(":", 1)
        try:
            pictures, kind = stills(Path(run), int(seed))
        except SalusError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        for cell, picture, before in zip(axes[row], pictures, _BEFORE, strict=True):
            cell.imshow(picture)
            cell.set_axis_off()
            told = f"{before / 10:g} s before" if before else "at the end"
            cell.text(0.02, 0.02, told, transform=cell.transAxes, fontsize=8, color="white", va="bottom")
        axes[row][0].set_title(f"{kind}: {words}", loc="left", fontsize=8, fontweight="bold")
    figure.savefig(file, dpi=90)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
