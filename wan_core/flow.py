"""Optical flow and warping on the CPU (OpenCV).

Flow: (H, W, 2) float32, right and down in pixels. Planes: float32 (H, W). Sizes: (width, height).
"""

from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Flow = NDArray[np.float32]
Plane = NDArray[np.float32]
Picture = NDArray[np.uint8]
"""(H, W, 3)."""

Field = TypeVar("Field", NDArray[np.uint8], NDArray[np.float32])

SMALLEST_SIDE = 32
"""OpenCV's DIS crashes below two patches at the finest level (16 pixels)."""

FINEST_LEVEL = 1
PATCH_STRIDE = 5
DESCENT_STEPS = 12
REFINEMENTS = 2
"""DIS at half size. Measured (pans, zoom with rotation, two layers): as good as `medium` at 0.6 of its cost; `fast`
loses repeating textures (28 dB, not 70).
"""

THUMBNAIL_SIDE = 96
WORTH = 0.8


def estimate_flow(start: Grey, end: Grey) -> Flow:
    """Where each pixel of `start` lies in `end` (Kroeger et al. 2016); sides of at least SMALLEST_SIDE.

    Starts from the shift of the whole: else textures that move further than their grain are lost.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(FINEST_LEVEL)
    search.setPatchStride(PATCH_STRIDE)
    search.setGradientDescentIterations(DESCENT_STEPS)
    search.setVariationalRefinementIterations(REFINEMENTS)
    shift = np.array(shift_of_all(start, end), np.float32)
    return cast(Flow, search.calc(start, end, np.broadcast_to(shift, (*start.shape, 2)).copy()))


def shift_of_all(start: Grey, end: Grey) -> tuple[float, float]:
    """(right, down); (0, 0) if that makes them no more alike."""
    scale = max(1, min(start.shape) // THUMBNAIL_SIDE)
    width, height = start.shape[1] // scale, start.shape[0] // scale
    a, b = (resize(plane, (width, height), cv2.INTER_AREA) for plane in (start, end))
    top, left = height // 4, width // 4
    likeness = cv2.matchTemplate(b, a[top : height - top, left : width - left], cv2.TM_CCOEFF_NORMED)
    _, _, _, (across, along) = cv2.minMaxLoc(likeness)
    right, down = across - left, along - top
    moved = sample(b, grid(height, width) + np.array([right, down], np.float32))
    if cv2.absdiff(a, moved).mean() >= WORTH * cv2.absdiff(a, b).mean():
        return 0.0, 0.0
    return float(right * scale), float(down * scale)


def to_grey(picture: Picture) -> Grey:
    return cast(Grey, cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def grid(height: int, width: int) -> Flow:
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def sample(field: Field, places: Flow, interpolation: int = cv2.INTER_LINEAR) -> Field:
    """Edges repeat."""
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return cast(Field, cv2.remap(field, across, down, interpolation, borderMode=cv2.BORDER_REPLICATE))


def resize(field: Field, size: tuple[int, int], interpolation: int = cv2.INTER_LINEAR) -> Field:
    return cast(Field, cv2.resize(field, size, interpolation=interpolation))


def warp(field: Field, places: NDArray[np.float64], size: tuple[int, int], interpolation: int) -> Field:
    """`field` where the (2, 3) matrix maps the pixels of `size`; edges repeat."""
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cast(Field, cv2.warpAffine(field, places, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def is_inside(places: Flow, size: tuple[int, int]) -> NDArray[np.bool_]:
    across, down = places[..., 0], places[..., 1]
    return np.asarray((across >= 0) & (across <= size[0] - 1) & (down >= 0) & (down <= size[1] - 1))


def mix(below: Picture, above: Picture, share: Plane) -> Picture:
    """Blend by `share` (0…1); equal pixels stay exact."""
    return cast(Picture, cv2.blendLinear(above, below, share, 1 - share))


def ramp(values: Plane, low: float, high: float) -> Plane:
    """0 up to `low`, 1 from `high`, linear between."""
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)
