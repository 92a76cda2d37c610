"""What is stored is what was recorded: PNG exactly, resized to half a value, video to a bound that is documented."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lerobot.datasets.video_utils import decode_video_frames
from lerobot.policies.common.vla_utils import resize_with_pad
from PIL import Image

from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import DatasetError
from salus_vla.data.lerobot.dataset_images import encode_png, encode_video, resize
from salus_vla.simulation.mujoco.simulator import Simulator

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))


@given(arrays(np.uint8, SHAPES))
@settings(deadline=None)
def test_a_png_holds_every_pixel(image: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_png(image))) as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(opened), image)


@given(arrays(np.uint8, SHAPES), st.sampled_from((8, 16, 31)))
@settings(deadline=None)
def test_resized_is_what_smolvla_makes_of_it_but_for_rounding(image: np.ndarray, size: int) -> None:
    if min(image.shape[:2]) * size < max(image.shape[:2]):
        with pytest.raises(DatasetError, match=rf"--image-size {size}: nothing would be left of an image of"):
            resize(image, size)
        return
    found = resize(image, size)
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
    seen = resize_with_pad(pixels, size, size, pad_value=0)[0].permute(1, 2, 0).numpy()
    assert np.abs(found / 255.0 - seen).max() <= 0.5 / 255.0 + 1e-6


def test_an_image_of_that_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, 16), image)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[np.ndarray]]:
    """What the three cameras see in six scenes, as recorded."""
    seen: dict[str, list[np.ndarray]] = {}
    with Simulator(load_scene()) as simulator:
        for seed in range(6):
            simulator.reset(seed)
            for camera, image in simulator.render().items():
                seen.setdefault(camera, []).append(image.copy())
    return seen


def test_a_video_keeps_what_is_documented(rendered: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    """The bound in `salus dataset export --help`."""
    for camera, images in rendered.items():
        path = tmp_path / f"{camera}.mp4"
        path.write_bytes(encode_video([encode_png(image) for image in images]))
        times = [index / 10 for index in range(len(images))]
        decoded = decode_video_frames(path, times, 1e-4, "pyav", return_uint8=True).permute(0, 2, 3, 1).numpy()
        for image, found in zip(images, decoded, strict=True):
            error = np.abs(found.astype(np.float64) - image)
            assert error.mean() < 4.0, camera
            assert 10 * np.log10(255.0**2 / (error**2).mean()) > 30.0, camera


def test_the_same_pictures_give_the_same_video(rendered: dict[str, list[np.ndarray]]) -> None:
    pictures = [encode_png(image) for image in rendered["top"]]
    assert encode_video(pictures) == encode_video(pictures)


def test_encoding_leaves_the_scheduling_of_the_process_as_it_was() -> None:
    before = os.sched_getscheduler(0)
    encode_video([encode_png(np.full((64, 64, 3), grey, dtype=np.uint8)) for grey in (10, 200)])
    assert os.sched_getscheduler(0) == before
