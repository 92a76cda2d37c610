"""`salus bag picture` draws what a bag holds, also one that lost images or has times of the wall."""

from __future__ import annotations

from pathlib import Path

import pytest

from episodes import START_NS, messages, observations, write_bag
from salus_vla.contract import image_topic
from salus_vla.contract.errors import RecordingError
from salus_vla.views.report import episode_figure
from salus_vla.views.report.episode_figure import plot_episode


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
