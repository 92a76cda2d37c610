"""An episode of the real simulator, from the rollout's file into a data set and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

from recorded import commanded_of, rollout_run, state_of
from salus_vla.contract import CAMERAS
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.lerobot.dataset_images import resize
from salus_vla.data.lerobot.prepare import Options
from salus_vla.data.rollouts.episode_maker import EpisodeMaker
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import StoredEpisode


@pytest.fixture(scope="module")
def episode() -> StoredEpisode:
    with EpisodeMaker(RolloutSettings(policy="hold", max_decisions=3)) as maker:
        return maker.make(21)


@pytest.mark.parametrize("size", [None, 64])
def test_a_rollout_of_the_simulator(episode: StoredEpisode, size: int | None, tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run1", [episode])
    options = Options(image_size=size)
    made = export([run], tmp_path / "set", repo_id="salus/test", options=options, outcomes=[Outcome.TIMEOUT])
    frames = LeRobotDataset("salus/test", root=made.path)
    assert len(frames) == episode.decisions == 3
    for step in range(3):
        item = frames[step]
        np.testing.assert_array_equal(item["observation.state"], state_of(episode)[step])
        np.testing.assert_array_equal(item["action"], commanded_of(episode)[step])
        # The arm was held, so what it was told is where it was found.
        np.testing.assert_allclose(item["action"], state_of(episode)[0], atol=1e-3)
        for camera in CAMERAS:
            image = episode.images[camera][step]
            expected = image if size is None else resize(image, size)
            seen = item[f"observation.images.{camera}"].permute(1, 2, 0) * 255.0
            np.testing.assert_array_equal(seen.round().numpy().astype(np.uint8), expected)
