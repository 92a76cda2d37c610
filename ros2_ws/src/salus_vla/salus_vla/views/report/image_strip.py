"""The images of a camera as one file: a sheet of tiles, so that a page shows any of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt

from PIL import Image

from salus_vla.contract.errors import RecordingError
from salus_vla.contract.types import ImageArray

TILE = 256  # longest side of a tile; the cameras of the contract have this many pixels [px]
THUMBNAIL = 64  # longest side [px]
MIME = "image/webp"
_QUALITY = 70
_EFFORT = 2  # of 6; more costs twice the time and saves a tenth
_LONGEST = 16383  # side of a WebP image [px]


@dataclass(frozen=True)
class Sheet:
    """Images of one camera side by side, row by row.

    Attributes:
        data: WebP.
        count: images; columns: of the sheet.
        width, height: of a tile [px].
    """

    data: bytes
    count: int
    columns: int
    width: int
    height: int


def make_sheet(pictures: Sequence[ImageArray], side: int = TILE) -> Sheet:
    """Puts images on a sheet.

    Args:
        pictures: at least one, uint8 RGB (height, width, 3), all of one size.
        side: longest side of a tile; larger images are made smaller [px].

    Raises:
        RecordingError: there are none, more than a sheet can hold, or they differ in size.
    """
    if not pictures:
        raise RecordingError("a sheet of pictures: has none, expected at least one")
    first = pictures[0].shape
    scale = min(1.0, side / max(first[:2]))
    height, width = (max(1, round(length * scale)) for length in first[:2])
    columns = ceil(sqrt(len(pictures) * height / width))
    rows = ceil(len(pictures) / columns)
    if max(columns * width, rows * height) > _LONGEST:
        raise RecordingError(f"{len(pictures)} pictures of {width} x {height}: too many for a sheet")
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, pixels in enumerate(pictures):
        if pixels.shape != first:
            raise RecordingError(f"picture {index} has shape {pixels.shape}, the first one has {first}")
        tile = Image.fromarray(pixels)
        if scale < 1.0:
            tile = tile.resize((width, height), Image.Resampling.BOX)
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return Sheet(_webp(sheet), len(pictures), columns, width, height)


def make_thumbnail(picture: ImageArray) -> bytes:
    """A small WebP of an image, uint8 RGB (height, width, 3)."""
    return make_sheet([picture], THUMBNAIL).data


def _webp(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT)
    return buffer.getvalue()
