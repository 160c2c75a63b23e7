"""Frame the first picture at the rendered size.

The encoder crops the excess of sides rounded up to 16, so the central crop must be the promised one.
"""

import numpy as np
from PIL import Image

from wan_core.geometry import Box, Size, crop_box


def frame_picture(picture: Image.Image, promised: Size, rendered: Size) -> Image.Image:
    """Return `picture` (RGB, upright) at exactly `rendered`, never stretched.

    Its central crop to the ratio of `promised` is the promised crop; its edges are repeated. With equal sizes this is
    `geometry.fit`.
    """
    box = _box(Size(*picture.size), promised, rendered)
    margin = max(0, -box.left, -box.top)
    if margin > 0:
        picture, box = _add_margin(picture, box, int(np.ceil(margin)))
    corners = (box.left, box.top, box.right, box.bottom)
    return picture.resize((rendered.width, rendered.height), Image.Resampling.LANCZOS, box=corners)


def _box(picture: Size, promised: Size, rendered: Size) -> Box:
    crop, kept = crop_box(picture, promised), crop_box(rendered, promised)
    scale = (crop.right - crop.left) / (kept.right - kept.left)
    return Box(
        crop.left - kept.left * scale,
        crop.top - kept.top * scale,
        crop.right + kept.left * scale,
        crop.bottom + kept.top * scale,
    )


def _add_margin(picture: Image.Image, box: Box, margin: int) -> tuple[Image.Image, Box]:
    padded = np.pad(np.asarray(picture), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    moved = Box(box.left + margin, box.top + margin, box.right + margin, box.bottom + margin)
    return Image.fromarray(padded), moved
