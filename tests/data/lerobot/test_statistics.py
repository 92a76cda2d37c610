"""Statistics are exact, in LeRobot's form; what LeRobot 0.6.1 makes of float32 and uint8 is not."""

import numpy as np
from lerobot.datasets.compute_stats import compute_episode_stats, get_feature_stats

from salus_vla.data.lerobot.dataset_images import count_values
from salus_vla.data.lerobot.statistics import column_statistics, image_statistics

FEATURES = {"action": {"dtype": "float32", "shape": (2,), "names": None}}
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def test_the_spread_of_a_joint_that_hardly_moves_is_right() -> None:
    moves = np.random.default_rng(0).normal(0, 0.0003, (60, 2))
    column = (np.array([2.0, -2.2]) + moves).astype(np.float32)
    (found,) = column_statistics({"action": column}, FEATURES).values()
    expected = column.astype(np.float64)
    np.testing.assert_allclose(found["mean"], expected.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], expected.std(axis=0), rtol=1e-6)
    # If this fails, LeRobot computes in double precision and needs no help any more.
    theirs = compute_episode_stats({"action": column}, FEATURES)["action"]["std"]
    assert np.abs(theirs / expected.std(axis=0) - 1).max() > 0.01


def images() -> np.ndarray:
    """Fifteen pictures with bright and dark regions, (15, 256, 256, 3)."""
    random = np.random.default_rng(1)
    base = np.linspace(20, 235, 256)[None, :, None, None] + np.array([0.0, 10.0, 20.0])
    return np.clip(base + random.normal(0, 5, (15, 256, 256, 3)), 0, 255).astype(np.uint8)


def test_image_statistics_are_those_of_every_pixel() -> None:
    pixels = images()
    found = image_statistics(sum(count_values(image) for image in pixels), len(pixels))
    values = pixels.reshape(-1, 3) / 255.0
    assert found["count"].tolist() == [15]
    for name, expected in (
        ("min", values.min(axis=0)),
        ("max", values.max(axis=0)),
        ("mean", values.mean(axis=0)),
        ("std", values.std(axis=0)),
    ):
        assert found[name].shape == (3, 1, 1)
        np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-9, err_msg=name)
    for name, share in QUANTILES.items():
        expected = np.quantile(values, share, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(found[name].ravel(), expected, atol=1e-12, err_msg=name)


def test_image_statistics_have_the_keys_and_shapes_of_lerobot() -> None:
    pixels = images()[:2, ::8, ::8]
    found = image_statistics(sum(count_values(image) for image in pixels), len(pixels))
    channels_first = pixels.transpose(0, 3, 1, 2).astype(np.float64)
    theirs = get_feature_stats(channels_first, axis=(0, 2, 3), keepdims=True)
    assert found.keys() == theirs.keys()
    for name, value in theirs.items():
        expected = value if name == "count" else value[0] / 255.0
        # Its quantiles are interpolated between bins.
        np.testing.assert_allclose(found[name], expected, atol=1 / 255 if name in QUANTILES else 1e-9, err_msg=name)


def test_lerobots_own_spread_of_thirty_bright_pictures_is_wrong() -> None:
    """If this fails, LeRobot computes in double precision and needs no help any more."""
    pixels = np.random.default_rng(2).integers(200, 256, (30, 3, 256, 256), dtype=np.uint8)
    theirs = get_feature_stats(pixels, axis=(0, 2, 3), keepdims=True)["std"].ravel()
    assert np.abs(theirs / pixels.std(axis=(0, 2, 3)) - 1.0).max() > 0.1
