"""Video sizes and the central crop to them. Sides are multiples of 16; nothing is stretched."""

import math
from dataclasses import dataclass

from PIL import Image

from wan_core.schema import AspectRatio, Resolution

MULTIPLE = 16  # VAE stride 8 × patch 2
NEAR = 0.03  # a picture this close to a named ratio gets that ratio's size
WIDEST = 21 / 9


@dataclass(frozen=True)
class Size:
    """In pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def turned(self) -> "Size":
        return Size(self.height, self.width)

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Box:
    """In a picture's own pixels; may be fractional."""

    left: float
    top: float
    right: float
    bottom: float


LANDSCAPE: dict[Resolution, Size] = {"480p": Size(832, 480), "580p": Size(1024, 576), "720p": Size(1280, 720)}
SQUARE: dict[Resolution, Size] = {"480p": Size(624, 624), "580p": Size(768, 768), "720p": Size(960, 960)}


def frame_size(resolution: Resolution, aspect_ratio: AspectRatio, picture: Size) -> Size:
    named = {"16:9": LANDSCAPE[resolution], "9:16": LANDSCAPE[resolution].turned, "1:1": SQUARE[resolution]}
    if aspect_ratio != "auto":
        return named[aspect_ratio]
    ratio = picture.width / picture.height
    for word, size in named.items():
        across, down = map(int, word.split(":"))
        if abs(ratio * down / across - 1) <= NEAR:
            return size
    ratio = min(max(ratio, 1 / WIDEST), WIDEST)
    area = LANDSCAPE[resolution].pixels
    return Size(_multiple(math.sqrt(area * ratio)), _multiple(math.sqrt(area / ratio)))


def crop_box(picture: Size, target: Size) -> Box:
    """The central part with the ratio of `target`."""
    scale = min(picture.width / target.width, picture.height / target.height)
    width, height = target.width * scale, target.height * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    return Box(left, top, left + width, top + height)


def fit(picture: Image.Image, target: Size) -> Image.Image:
    """Crop an upright RGB picture and resize it (Lanczos)."""
    box = crop_box(Size(*picture.size), target)
    return picture.resize(
        (target.width, target.height), Image.Resampling.LANCZOS, box=(box.left, box.top, box.right, box.bottom)
    )


def rendered_size(target: Size, divisor: int) -> Size:
    """The size an engine samples."""
    return Size(_multiple_up(target.width / divisor), _multiple_up(target.height / divisor))


def _multiple(length: float) -> int:
    return MULTIPLE * round(length / MULTIPLE)


def _multiple_up(length: float) -> int:
    return MULTIPLE * math.ceil(length / MULTIPLE)
