"""Images of a data set: resized as SmolVLA does it, stored without loss as PNG or with loss as video."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salus_vla.contract import DECISION_HZ
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.types import ImageArray

FPS = round(DECISION_HZ)
# Measured on renders of 256 x 256: a tenth larger than with LeRobot's 6, in three fifths of the time.
_PNG_LEVEL = 3
_VALUES = 256


def encode_png(image: ImageArray) -> bytes:
    """An image as PNG, without loss."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="PNG", compress_level=_PNG_LEVEL)
    return data.getvalue()


def resize(image: ImageArray, size: int) -> ImageArray:
    """An image as a policy that reads `size` x `size` sees it, rounded to whole values.

    Args:
        image: uint8 (height, width, 3).
        size: side of the result [px].

    Returns:
        uint8 (size, size, 3); differs from what SmolVLA makes of `image` at run time by half a value at most.

    Raises:
        DatasetError: `image` is so narrow that nothing would be left of it.
    """
    height, width, _ = image.shape
    if min(height, width) * size < max(height, width):
        raise DatasetError(f"--image-size {size}: nothing would be left of an image of {width} x {height} pixels")
    import torch
    from lerobot.policies.common.vla_utils import resize_with_pad  # with torch: seconds, so only where it is needed

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32).div_(255.0)
    resized = resize_with_pad(pixels, size, size, pad_value=0)[0].permute(1, 2, 0)
    result: ImageArray = (resized * 255.0).round().clamp_(0, 255).to(torch.uint8).contiguous().numpy()
    return result


def count_values(image: ImageArray) -> NDArray[np.int64]:
    """How often each value is in each channel, int64 (3, 256)."""
    return np.stack([np.bincount(image[..., channel].ravel(), minlength=_VALUES) for channel in range(3)])


def encode_video(pictures: Sequence[bytes]) -> bytes:
    """Images as one MP4, by LeRobot's encoder with its settings for cameras; loses detail.

    Args:
        pictures: PNGs of one size.

    Raises:
        DatasetError: the encoder failed.
    """
    # Read by the encoder's library, which would write its settings to stderr for each video.
    os.environ.setdefault("SVT_LOG", "1")
    from lerobot.configs import rgb_encoder_defaults
    from lerobot.datasets.video_utils import encode_video_frames

    with tempfile.TemporaryDirectory(prefix="salus-video-") as name, _scheduling_kept():
        folder = Path(name)
        try:
            for index, data in enumerate(pictures):
                (folder / f"frame-{index:06d}.png").write_bytes(data)  # the name that the encoder looks for
            # One thread: episodes are encoded side by side.
            encode_video_frames(
                folder, folder / "video.mp4", FPS, video_encoder=rgb_encoder_defaults(), encoder_threads=1
            )
            return (folder / "video.mp4").read_bytes()
        except (OSError, ValueError) as error:  # PyAV's errors are of these
            raise DatasetError(f"--video: LeRobot's encoder failed ({error})") from error


@contextmanager
def _scheduling_kept() -> Iterator[None]:
    """Gives this thread its scheduling back: of root, SVT-AV1 makes it real-time, and so all that it starts later."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
