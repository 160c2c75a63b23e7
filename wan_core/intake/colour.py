"""A file's declared colours → sRGB, as browsers show it.

Unusable declarations are skipped. Profiles are judged by their effect, never by name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, ImageCms

from wan_core.intake.hdr import hdr_table
from wan_core.intake.icc import SRGB_CURVE, Chromaticities, Curve, colour_space, matrix_profile


@dataclass(frozen=True)
class Icc:
    profile: bytes


@dataclass(frozen=True)
class Cicp:
    """Numbers of ITU-T H.273."""

    primaries: int
    transfer: int


@dataclass(frozen=True)
class Gamma:
    """A PNG's gAMA (mostly 0.45455) and its cHRM, if any."""

    exponent: float
    chromaticities: Chromaticities | None


@dataclass(frozen=True)
class Srgb:
    """Declared as sRGB."""


Declaration = Icc | Cicp | Gamma | Srgb
_Conversion = Callable[[Image.Image], Image.Image]

_HDR: Final = (16, 18)
_BT709: Final = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_BT601: Final = (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)
_PRIMARIES: Final[dict[int, Chromaticities]] = {  # H.273, table 2
    1: _BT709,
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.329, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: _BT601,
    7: _BT601,
    8: (0.31, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (0.3127, 0.329, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
_VIDEO: Final[Curve] = (0, (2.4,))  # a camera's curve is shown with BT.1886, as in Chromium
_TRANSFERS: Final[dict[int, Curve]] = {  # H.273, table 3
    1: _VIDEO,
    4: (0, (2.2,)),
    5: (0, (2.8,)),
    6: _VIDEO,
    7: (3, (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 0.25, 0.0912)),
    8: (0, (1.0,)),
    11: _VIDEO,
    13: SRGB_CURVE,
    14: _VIDEO,
    15: _VIDEO,
    17: (1, (2.6, (52.37 / 48) ** (1 / 2.6), 0.0)),
}
_MODES: Final = {"GRAY": ("L",), "RGB": ("RGB", "L"), "CMYK": ("CMYK",)}
_NEAR_SRGB: Final = 0.05  # from 1/2.2: without cHRM it means sRGB (libpng, Chromium)


def in_srgb(picture: Image.Image, declarations: Iterable[Declaration]) -> Image.Image:
    """L, RGB or CMYK → 8-bit sRGB (L or RGB) by the first usable declaration."""
    for declaration in declarations:
        try:
            convert = _conversion(declaration, picture.mode)
        except (ImageCms.PyCMSError, OSError, OverflowError, TypeError, ValueError, ZeroDivisionError):
            continue
        if convert is not None:
            return convert(picture)
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _conversion(declaration: Declaration, mode: str) -> _Conversion | None:
    match declaration:
        case Srgb():
            return _as_it_is
        case Icc(profile):
            return _by_profile(profile, mode) if mode in _MODES.get(colour_space(profile), ()) else None
        case _ if mode == "CMYK":
            return None
        case Cicp(primaries, transfer) if primaries in _PRIMARIES and transfer in _HDR:
            table = hdr_table(_PRIMARIES[primaries], transfer)
            return lambda picture: picture.convert("RGB").filter(table)
        case Cicp(primaries, transfer) if primaries in _PRIMARIES and transfer in _TRANSFERS:
            return _by_profile(matrix_profile(_PRIMARIES[primaries], _TRANSFERS[transfer]), mode)
        case Gamma(exponent, chromaticities) if exponent > 0:
            if chromaticities is None and abs(2.2 * exponent - 1) <= _NEAR_SRGB:
                return _as_it_is
            return _by_profile(matrix_profile(chromaticities or _BT709, (0, (1 / exponent,))), mode)
        case _:
            return None


def _as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def _by_profile(profile: bytes, mode: str) -> _Conversion:
    """Changes nothing if `profile` changes no colour."""
    into = "RGB" if mode == "L" and colour_space(profile) == "RGB" else mode
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        into,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )

    def convert(picture: Image.Image) -> Image.Image:
        return ImageCms.applyTransform(picture if picture.mode == into else picture.convert(into), transform) or picture

    sample = _colours(into)
    if into != "CMYK" and _same(convert(sample), sample.convert("RGB")):
        return _as_it_is
    return convert


def _colours(mode: str) -> Image.Image:
    steps = range(0, 256, 51)
    cube = bytes(value for red in steps for green in steps for blue in steps for value in (red, green, blue))
    return Image.frombytes("RGB", (6, 36), cube) if mode == "RGB" else Image.frombytes("L", (256, 1), bytes(range(256)))


def _same(one: Image.Image, other: Image.Image) -> bool:
    """Within two levels: littlecms rounds, and editions of sRGB differ."""
    return max(ImageChops.difference(one, other).tobytes()) <= 2
