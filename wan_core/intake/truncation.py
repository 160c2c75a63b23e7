"""How many rows of a cut file's picture are left."""

import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageFile

from wan_core.intake.jpeg import END, Jpeg

_MCU_ROWS = 16  # libjpeg's largest unit: one lost byte costs the last row of them
_FILLER_BYTES = 4_096

Opener = Callable[[bytes], ImageFile.ImageFile]


def mended_jpeg(jpeg: Jpeg, open_file: Opener) -> bytes:
    """Add the end marker.

    Raises ValueError if more than an eighth of the rows is missing, or half if earlier scans drew them.
    """
    height, missing = _missing_in_jpeg(jpeg, open_file)
    few = height // 2 if jpeg.scans > 1 else max(height // 8, min(_MCU_ROWS, height // 4))
    if not jpeg.scanned or missing > few:
        raise ValueError(f"{missing} of {height} rows are missing")
    return jpeg.content + END


def _missing_in_jpeg(jpeg: Jpeg, open_file: Opener) -> tuple[int, int]:
    """Height, and rows from the first that depends on what follows the last byte."""
    fillers = (bytes(_FILLER_BYTES), random.Random(1).randbytes(_FILLER_BYTES).replace(b"\xff", b"\0"))
    pictures = [open_file(jpeg.content + filler + END) for filler in fillers]
    height = pictures[0].height
    if jpeg.scans == 1:
        for picture in pictures:
            picture.draft(picture.mode, (picture.width // 8, picture.height // 8))
    changed = ImageChops.difference(*pictures).getbbox()
    top = height if changed is None else changed[1] * height // pictures[0].height
    return height, height - top


def load_rows(content: bytes, open_file: Opener) -> Image.Image:
    """Missing rows are white. Raises ValueError if more than an eighth is missing."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    white, black = (_loaded_over(fill, open_file(content)) for fill in (255, 0))
    missing, few = 0, white.height // 8
    for row in reversed(range(white.height)):
        box = (0, row, white.width, row + 1)
        missing += white.crop(box).tobytes() != black.crop(box).tobytes()
        if missing > few:
            raise ValueError(f"more than {few} of {white.height} rows are missing")
    return white


def _loaded_over(fill: int, picture: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """Missing rows keep `fill`."""
    picture.im = Image.new(picture.mode, picture.size, (fill,) * len(picture.getbands())).im
    picture.load()
    return picture
