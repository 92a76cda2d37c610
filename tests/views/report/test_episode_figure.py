"""The picture of an episode, also of one that lost images or has times of the wall; a row for what was foreseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reported import bag_run

from episodes import START_NS, messages, observations, write_bag
from salus_vla.contract import image_topic
from salus_vla.contract.errors import RecordingError
from salus_vla.views.report import episode_figure
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


@pytest.mark.parametrize("lost", [[], [0], [0, 1, 2]], ids=str)
def test_a_camera_may_have_lost_images(tmp_path: Path, lost: list[int]) -> None:
    content = messages(observations(3))
    side = [index for index, (topic, _) in enumerate(content) if topic == image_topic("side")]
    kept = [item for index, item in enumerate(content) if index not in {side[number] for number in lost}]
    plot_episode(write_bag(tmp_path / "bag", kept), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_times_are_those_of_the_stamps_from_the_start(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(observations(3)))  # its own times are microseconds apart
    episode = episode_figure._read(bag)
    assert episode.image_times["front"] == pytest.approx([0.0, 0.1, 0.2])
    assert episode.signal_times == pytest.approx([0.0, 0.1, 0.2])
    assert START_NS > 10**9


def test_a_bag_without_images_is_an_error(tmp_path: Path) -> None:
    images = {image_topic(camera) for camera in ("front", "side", "top")}
    bag = write_bag(tmp_path / "bag", [item for item in messages(observations(3)) if item[0] not in images])
    with pytest.raises(RecordingError, match="nothing to draw"):
        plot_episode(bag, tmp_path / "picture.png")
