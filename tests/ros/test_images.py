"""One table of images for every implementation that is usable here."""

import array
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters import image_messages

CV_BRIDGE = image_messages._cv_bridge()
IMPLEMENTATIONS = {"numpy": (image_messages.image_view, image_messages.numpy_to_message)}
if CV_BRIDGE is not None:
    IMPLEMENTATIONS["cv_bridge"] = CV_BRIDGE
STAMP = Time(sec=3, nanosec=40)


@pytest.fixture(autouse=True, params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable, Callable]:
    monkeypatch.setattr(image_messages, "_IMPLEMENTATION", request.param)
    return request.param


def pixels(height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def message(data: bytes, *, height: int = 4, width: int = 5, step: int = 15, encoding: str = "rgb8") -> Image:
    return Image(height=height, width=width, step=step, encoding=encoding, data=array.array("B", data))


@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (5, 4), (1, 7), (7, 1), (256, 256)])
def test_round_trip(shape: tuple[int, int]) -> None:
    original = pixels(*shape)
    sent = image_messages.to_message(original, STAMP, "camera")
    assert (sent.height, sent.width, sent.step) == (*shape, 3 * shape[1])
    assert (sent.encoding, sent.is_bigendian, len(sent.data)) == ("rgb8", 0, original.size)
    assert (sent.header.stamp, sent.header.frame_id) == (STAMP, "camera")
    back = image_messages.to_array(sent)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, original)


def test_bytes_are_red_green_blue_row_by_row() -> None:
    original = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert bytes(image_messages.to_message(original, STAMP, "").data) == bytes(range(12))


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda image: image[::-1], id="upside down"),
        pytest.param(lambda image: image[:, ::2], id="every other column"),
        pytest.param(lambda image: image[..., ::-1], id="bgr"),
        pytest.param(np.asfortranarray, id="column major"),
    ],
)
def test_pixels_need_not_be_contiguous(view: Callable[[np.ndarray], np.ndarray]) -> None:
    original = view(pixels())
    np.testing.assert_array_equal(image_messages.to_array(image_messages.to_message(original, STAMP, "")), original)


@pytest.mark.parametrize("padding", [1, 5, 49])
def test_padding_at_the_end_of_rows_is_skipped(padding: int) -> None:
    original = pixels()
    padded = np.pad(original.reshape(4, 15), ((0, 0), (0, padding)), constant_values=99)
    np.testing.assert_array_equal(image_messages.to_array(message(padded.tobytes(), step=15 + padding)), original)


def test_bytes_after_the_last_row_do_not_matter() -> None:
    original = pixels()
    np.testing.assert_array_equal(image_messages.image_view(message(original.tobytes() + b"tail")), original)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(message(bytes(60), encoding="bgr8"), "encoding is 'bgr8', expected 'rgb8'", id="other encoding"),
        pytest.param(message(bytes(60), encoding=""), "encoding is '', expected 'rgb8'", id="no encoding"),
        pytest.param(message(bytes(59)), "59 bytes, expected 60", id="short"),
        pytest.param(message(bytes(60), step=16), "60 bytes, expected 64", id="short for its step"),
        pytest.param(message(bytes(60), step=14), "step is 14, expected at least 15", id="step too small"),
        pytest.param(message(b""), "0 bytes, expected 60", id="no data"),
    ],
)
def test_a_message_that_is_no_rgb8_image_is_refused(wrong: Image, words: str) -> None:
    with pytest.raises(SalusError, match=words):
        image_messages.to_array(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(np.zeros((4, 5, 3), np.float32), "type float32", id="float"),
        pytest.param(np.zeros((4, 5, 3), np.int8), "type int8", id="signed"),
        pytest.param(np.zeros((4, 5), np.uint8), r"shape \(4, 5\)", id="grey"),
        pytest.param(np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\)", id="with alpha"),
        pytest.param(np.zeros((1, 4, 5, 3), np.uint8), r"shape \(1, 4, 5, 3\)", id="batch"),
    ],
)
def test_pixels_of_another_type_or_shape_are_refused(wrong: np.ndarray, words: str) -> None:
    with pytest.raises(SalusError, match=words):
        image_messages.to_message(wrong, STAMP, "")


def test_a_message_is_filled_without_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """rclpy takes an `array.array` as it is and checks everything else element by element."""
    given = {}

    def record(**fields: object) -> Image:
        given.update(fields)
        return Image(**fields)

    monkeypatch.setattr(image_messages, "Image", record)
    image_messages.numpy_to_message(pixels())
    assert isinstance(given["data"], array.array)
    assert given["data"].typecode == "B"


def test_the_backend_is_cv_bridge_only_where_it_passes_its_check() -> None:
    assert list(IMPLEMENTATIONS)[-1] == image_messages.BACKEND


CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
LIES = """
import numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, message, encoding):
        return np.zeros((message.height, message.width, 3), np.uint8)
    def cv2_to_imgmsg(self, pixels, encoding):
        from salus_vla.ros.adapters.image_messages import numpy_to_message
        return numpy_to_message(pixels)
"""
WORKS = """
class CvBridge:
    def imgmsg_to_cv2(self, message, encoding):
        from salus_vla.ros.adapters.image_messages import image_view
        return image_view(message)
    def cv2_to_imgmsg(self, pixels, encoding):
        from salus_vla.ros.adapters.image_messages import numpy_to_message
        return numpy_to_message(pixels)
"""


@pytest.mark.parametrize(("source", "backend"), [(CRASH, "numpy"), (LIES, "numpy"), (WORKS, "cv_bridge")])
def test_a_cv_bridge_that_crashes_takes_nobody_along(tmp_path: Path, source: str, backend: str) -> None:
    (tmp_path / "cv_bridge.py").write_text(source)
    found = os.pathsep.join([str(tmp_path), *sys.path])
    program = "from salus_vla.ros.adapters import image_messages; print(image_messages.BACKEND)"
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout.strip()) == (0, backend), result.stderr
