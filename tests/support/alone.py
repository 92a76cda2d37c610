"""What every test of data sets needs around it."""

from collections.abc import Iterator

import datasets
import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private cache, and one thread: at these sizes a second one costs more than it gives."""
    cache, threads = datasets.config.HF_DATASETS_CACHE, torch.get_num_threads()
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    torch.set_num_threads(1)
    yield
    datasets.config.HF_DATASETS_CACHE = cache
    torch.set_num_threads(threads)
