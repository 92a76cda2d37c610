"""Statistics of one episode in LeRobot's form; LeRobot joins those of the episodes into stats.json.

LeRobot 0.6.1 computes them in the precision of the data. In float32 mean and spread of 60 images of 256 x 256 come
out wrong by several grey levels, and the spread of a joint that hardly moves by any factor
(`tests/data/lerobot/test_statistics.py`). So its functions get float64 here, and images are counted: every pixel of
every image, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = dict[str, NDArray[Any]]


def column_statistics(columns: Mapping[str, NDArray[Any]], features: Mapping[str, Any]) -> dict[str, Statistics]:
    """Statistics of columns of numbers by LeRobot's own function.

    Args:
        columns: name -> (D,) or (D, size), as stored.
        features: LeRobot's description of the columns.

    Returns:
        Column -> `min`, `max`, `mean`, `std`, `count` and quantiles.
    """
    from lerobot.datasets.compute_stats import compute_episode_stats

    exact = {name: column.astype(np.float64) for name, column in columns.items()}
    statistics: dict[str, Statistics] = compute_episode_stats(exact, dict(features))
    return statistics


def image_statistics(values: NDArray[np.int64], images: int) -> Statistics:
    """Statistics of the images of one camera.

    Args:
        values: how often each value is in each channel, (3, 256).
        images: number of images.

    Returns:
        The same keys as `column_statistics`, each (3, 1, 1) in [0, 1], but `count`: the number of images, (1,).
    """
    from lerobot.datasets.compute_stats import DEFAULT_QUANTILES

    grey = np.arange(values.shape[1], dtype=np.float64)
    pixels = values.sum(axis=1)
    mean = values @ grey / pixels
    spread = np.sqrt(np.maximum((values * (grey - mean[:, None]) ** 2).sum(axis=1) / pixels, 0.0))
    up_to = values.cumsum(axis=1)
    found = {
        "min": (values > 0).argmax(axis=1),
        "max": values.shape[1] - 1 - (values[:, ::-1] > 0).argmax(axis=1),
        "mean": mean,
        "std": spread,
        **{f"q{round(q * 100):02d}": (up_to >= q * pixels[:, None]).argmax(axis=1) for q in DEFAULT_QUANTILES},
    }
    scaled = {name: np.asarray(value, dtype=np.float64).reshape(3, 1, 1) / 255.0 for name, value in found.items()}
    return scaled | {"count": np.array([images])}
