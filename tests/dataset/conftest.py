"""Data set tests: no network, no second thread, and LeRobot's cache of loaded data sets in a folder that goes away."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

# The messages of a bag are made there.
sys.path.append(str(Path(__file__).parents[1] / "recording"))

from collections.abc import Iterator

import datasets
import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private cache, and one thread: at these sizes a second one costs more than it gives."""
    cache, threads = datasets.config.HF_DATASETS_CACHE, torch.get_num_threads()
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    torch.set_num_threads(1)
    yield
    datasets.config.HF_DATASETS_CACHE = cache
    torch.set_num_threads(threads)
