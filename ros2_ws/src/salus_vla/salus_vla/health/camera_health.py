"""Whether a camera shows anything: black, constant and frozen images, found by looking at the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray, ImageArray

STRIDE = 16  # pixels between those looked at first; all are compared only where these say nothing


class ImageFault(StrEnum):
    """What is wrong with a camera's images."""

    BLACK = "black"
    CONSTANT = "constant"
    FROZEN = "frozen"


@dataclass
class _Camera:
    pixels: ImageArray
    stamp_ns: int
    arm: FloatArray | None  # when these bytes were seen first
    fault: ImageFault | None = None


class CameraHealth:
    """Looks at each image and says what is wrong with the camera."""

    MOVED = 0.05  # rad; an arm that moved this much looks different to a camera that sees it

    def __init__(self) -> None:
        """Knows no camera yet."""
        self._cameras: dict[str, _Camera] = {}

    def fault(self, camera: str) -> ImageFault | None:
        """What is wrong with the newest image of a camera."""
        seen = self._cameras.get(camera)
        return seen.fault if seen else None

    def look(self, camera: str, stamp_ns: int, pixels: ImageArray, arm: FloatArray | None) -> ImageFault | None:
        """Looks at an image and gives what is wrong with it.

        Args:
            camera: its name.
            stamp_ns: of the image; one that did not advance says nothing new [ns].
            pixels: uint8, shape (height, width, 3); kept until the next one, so nobody may write to it.
            arm: joints now, shape (7,) or longer [rad]; None while unknown, when no camera counts as frozen.
        """
        arm = None if arm is None else arm[:ARM_DOF].copy()
        seen = self._cameras.get(camera)
        if seen is not None and stamp_ns <= seen.stamp_ns:
            return seen.fault
        if seen is None or not _same(seen.pixels, pixels):
            self._cameras[camera] = _Camera(pixels, stamp_ns, arm, _blank(pixels))
            return self._cameras[camera].fault
        seen.stamp_ns = stamp_ns
        if seen.arm is None:
            seen.arm = arm
        elif seen.fault is None and arm is not None and np.abs(arm - seen.arm).max() >= self.MOVED:
            seen.fault = ImageFault.FROZEN
        return seen.fault


def _same(one: ImageArray, other: ImageArray) -> bool:
    if one.shape != other.shape or not np.array_equal(one[::STRIDE, ::STRIDE], other[::STRIDE, ::STRIDE]):
        return False
    return bool(np.array_equal(one, other))


def _blank(pixels: ImageArray) -> ImageFault | None:
    """Black or constant, where each colour channel has one value."""
    if not pixels.size:
        return ImageFault.BLACK
    first = pixels[0, 0]
    if (pixels[::STRIDE, ::STRIDE] != first).any() or (pixels != first).any():
        return None
    return ImageFault.CONSTANT if first.any() else ImageFault.BLACK
