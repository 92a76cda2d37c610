"""Episodes made in this process, to compare with those of workers."""

import pytest
from stored import SEEDS, SHORT

from salus_vla.data.rollouts.episode_maker import EpisodeMaker
from salus_vla.data.rollouts.rollout_store import encode


@pytest.fixture(scope="session")
def expected() -> dict[int, bytes]:
    """The files of `SEEDS`, made one after the other and from the last to the first."""
    with EpisodeMaker(SHORT) as maker:
        return {seed: encode(maker.make(seed), "expected") for seed in reversed(SEEDS)}
