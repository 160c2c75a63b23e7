"""PQ and HLG → sRGB, as Chromium 156 maps them (measured; within 3 of 255 levels).

BT.2100 light; 203 cd/m² (BT.2408) becomes half of the screen's maximum, brighter light is compressed up to 1,000 cd/m²
by its strongest BT.2020 component.
"""

import math
from bisect import bisect
from collections.abc import Callable
from typing import Final

from PIL import ImageFilter

from wan_core.intake.icc import Chromaticities, applied, inverse, product, rgb_to_xyz

_PEAK: Final = 1_000 / 203
_GRID: Final = 33
# Light (1 = 203 cd/m²) → gain, read off a grey ramp in Chromium.
_GAINS: Final = (
    (0.0, 0.5),
    (1.0, 0.5),
    (1.2475, 0.4734),
    (1.5576, 0.4272),
    (1.9413, 0.3801),
    (2.4161, 0.3307),
    (3.0037, 0.2874),
    (3.7308, 0.247),
    (4.6312, 0.2121),
    (_PEAK, 1 / _PEAK),
)
_BT2020: Final = (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)
_BT709: Final = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


def hdr_table(chromaticities: Chromaticities, transfer: int) -> ImageFilter.Color3DLUT:
    """Filter for RGB: PQ (transfer 16) or HLG (18) with these primaries → sRGB."""
    own = rgb_to_xyz(chromaticities)
    to_bt2020 = product(inverse(rgb_to_xyz(_BT2020)), own)
    to_bt709 = product(inverse(rgb_to_xyz(_BT709)), rgb_to_xyz(_BT2020))
    curve = _pq_light if transfer == 16 else _hlg_scene
    light = {step / (_GRID - 1): curve(step / (_GRID - 1)) for step in range(_GRID)}
    luma = own[1]

    def shown(red: float, green: float, blue: float) -> tuple[float, float, float]:
        colour = light[red], light[green], light[blue]
        if transfer == 18:  # BT.2100, table 5, at 1,000 cd/m²
            gain = max(sum(x * y for x, y in zip(luma, colour, strict=True)), 0.0) ** 0.2 * _PEAK
            colour = colour[0] * gain, colour[1] * gain, colour[2] * gain
        wide = applied(to_bt2020, colour)
        gain = _gain(max(wide))
        return _each(_srgb, applied(to_bt709, (wide[0] * gain, wide[1] * gain, wide[2] * gain)))

    return ImageFilter.Color3DLUT.generate(_GRID, shown)


def _gain(light: float) -> float:
    if light >= _PEAK:
        return 1 / light
    above = bisect(_GAINS, (light, 1.0))
    (x0, y0), (x1, y1) = _GAINS[max(above, 1) - 1], _GAINS[max(above, 1)]
    return y0 + (y1 - y0) * (light - x0) / (x1 - x0)


def _pq_light(value: float) -> float:
    """SMPTE ST 2084, in units of 203 cd/m²."""
    root = value ** (32 / 2523)
    return float((max(root - 107 / 128, 0.0) / (2413 / 128 - 2392 / 128 * root)) ** (16_384 / 2610) * 10_000 / 203)


def _hlg_scene(value: float) -> float:
    """Inverse OETF (BT.2100, table 5): scene light in [0, 1]."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * math.log(4 * a)
    return value * value / 3 if value <= 0.5 else (math.exp((value - c) / a) + b) / 12


def _srgb(light: float) -> float:
    light = min(max(light, 0.0), 1.0)
    return light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _each(curve: Callable[[float], float], colour: tuple[float, float, float]) -> tuple[float, float, float]:
    return curve(colour[0]), curve(colour[1]), curve(colour[2])
