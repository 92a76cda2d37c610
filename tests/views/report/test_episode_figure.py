"""The picture of an episode has a row for what was foreseen where something was, and marks its alarms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from reported import bag_run

from salus_vla.views.report.episode_figure import plot_episode

PINK = np.array([254, 202, 202])  # behind an alarm


def drawn(folder: Path, alarms: list[str]) -> np.ndarray:
    folder.mkdir()
    plot_episode(bag_run(folder, alarms=alarms) / "episode_000000", folder / "picture.png")
    return np.asarray(Image.open(folder / "picture.png").convert("RGB"))


def test_alarms_are_marked_in_a_row_of_their_own(tmp_path: Path) -> None:
    without, alarmed = drawn(tmp_path / "without", []), drawn(tmp_path / "with", ["", "", "", "drop", "drop", ""])
    assert alarmed.shape[0] > without.shape[0]
    assert not (without == PINK).all(axis=-1).any()
    columns = np.flatnonzero((alarmed == PINK).all(axis=-1).any(axis=0))
    # Decisions 3 and 4 of 0 to 5, over the width of the axes.
    assert 0.45 < columns[0] / alarmed.shape[1] < 0.6
    assert 0.85 < columns[-1] / alarmed.shape[1] < 0.98
