"""Images between ROS messages and arrays, in one place.

Through cv_bridge where it passes a self-check in a process of its own (Ubuntu's is built against NumPy 1 and may crash
or lie under NumPy 2), otherwise through numpy with `step` honoured. Both stand behind `to_array` and `to_message`.
"""

from __future__ import annotations

import array
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from salus_vla.contract.errors import SalusError
from salus_vla.contract.message_readers import ENCODING, check_image, image_view
from salus_vla.contract.types import ImageArray

_PROBING = "SALUS_PROBES_CV_BRIDGE"  # set in the process that tries it
_PROBE_S = 30.0


def to_array(message: Image) -> ImageArray:
    """RGB pixels of an image message, uint8, shape (height, width, 3).

    Raises:
        MessageError: another encoding, no pixels, or fewer bytes than height x step.
    """
    check_image(message)
    return _IMPLEMENTATION[0](message)


def to_message(pixels: ImageArray, stamp: Time, frame_id: str) -> Image:
    """An rgb8 image message from uint8 pixels, shape (height, width, 3).

    Raises:
        SalusError: another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise SalusError(f"image has type {pixels.dtype} and shape {pixels.shape}, expected uint8 (height, width, 3)")
    message = _IMPLEMENTATION[1](pixels)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def numpy_to_message(pixels: ImageArray) -> Image:
    """Numpy's way: an `array.array` is taken as it is, an ndarray is checked element by element (20 ms and more)."""
    height, width, _ = pixels.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).data)
    return Image(height=height, width=width, encoding=ENCODING, is_bigendian=0, step=3 * width, data=data)


def _bridged() -> tuple[Callable[[Image], ImageArray], Callable[[ImageArray], Image]]:
    bridge = importlib.import_module("cv_bridge").CvBridge()

    def read(message: Image) -> ImageArray:
        return np.asarray(bridge.imgmsg_to_cv2(message, ENCODING))

    def write(pixels: ImageArray) -> Image:
        return bridge.cv2_to_imgmsg(pixels, ENCODING)

    return read, write


def check_cv_bridge() -> bool:
    """Whether cv_bridge gives exactly what numpy gives, also with padded rows; it may crash instead."""
    read, write = _bridged()
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    padded = Image(height=4, width=5, encoding=ENCODING, step=20)
    padded.data = array.array("B", np.pad(pixels.reshape(4, 15), ((0, 0), (0, 5))).tobytes())
    return np.array_equal(read(write(pixels)), pixels) and np.array_equal(read(padded), pixels)


def _cv_bridge() -> tuple[Callable[[Image], ImageArray], Callable[[ImageArray], Image]] | None:
    """cv_bridge's two functions where they passed their check in a process of its own; otherwise None."""
    if importlib.util.find_spec("cv_bridge") is None or _PROBING in os.environ:
        return None
    program = f"import sys; from {__name__} import check_cv_bridge; sys.exit(0 if check_cv_bridge() else 1)"
    try:
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, _PROBING: "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _bridged() if result.returncode == 0 else None


_IMPLEMENTATION = _cv_bridge() or (image_view, numpy_to_message)
BACKEND = "numpy" if _IMPLEMENTATION[0] is image_view else "cv_bridge"
