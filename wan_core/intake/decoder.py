"""The child process of the picture gate: one untrusted file on stdin → upright RGB pixels on stdout.

`images.py` runs `main` in a bare, isolated Python with an empty environment; stdin and stdout are regular files.
Imports the standard library and Pillow only. Before it touches the file it gives up opening anything else (files and
sockets), more memory and more time. Its answer is a line `word width height`, then width·height·3 bytes if the word
is `picture`. It does not catch what a decoder raises: a child that dies has said "damaged".
"""

import json
import resource
import struct
import sys
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final

# Every module a JPEG, PNG or WebP can ask for is loaded here: after `lock` nothing can be opened.
from PIL import Image, ImageCms, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

FORMATS: Final = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class PictureLimits:
    """What a picture may be, and what reading one may cost. Sides are pixels, `max_ratio` is long side : short side.

    A picture of more than `kept_pixels` is handed on smaller, its shape unchanged: the largest frame of the model has
    0.92 megapixels, and the web process must not hold 160 MB for one photo.
    """

    max_bytes: int = 25_000_000
    max_pixels: int = 40_000_000
    min_side: int = 16
    max_side: int = 10_000
    max_ratio: int = 8
    kept_pixels: int = 10_000_000
    memory_bytes: int = 1_000_000_000
    cpu_s: int = 8
    wall_s: float = 15.0


PICTURE_LIMITS: Final = PictureLimits()


def main() -> None:
    """Read, judge, decode, answer. The limits come as JSON in the first argument."""
    limits = PictureLimits(**json.loads(sys.argv[1]))
    lock(limits)
    try:
        picture = Image.open(sys.stdin.buffer, formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return answer("too_many_pixels", (0, 0))
    fault = size_fault(picture.size, limits)
    if fault is not None:
        return answer(fault, picture.size)
    upright = upright_rgb(picture, limits.kept_pixels)
    answer("picture", upright.size)
    sys.stdout.buffer.write(upright.tobytes())


def lock(limits: PictureLimits) -> None:
    """Give up everything that decoding does not need. The bound on memory holds on Linux only: macOS has none."""
    Image.preinit()
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: 3 * limits.kept_pixels + 1_000,
        resource.RLIMIT_CPU: limits.cpu_s,
    }
    if sys.platform == "linux":
        bounds[resource.RLIMIT_AS] = limits.memory_bytes
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def size_fault(size: tuple[int, int], limits: PictureLimits) -> str | None:
    """The word for what is wrong with a size in pixels, or None."""
    short, long = sorted(size)
    if short < limits.min_side:
        return "too_small"
    if long > limits.max_side:
        return "too_wide"
    if short * long > limits.max_pixels:
        return "too_many_pixels"
    return "too_narrow" if long > limits.max_ratio * short else None


def upright_rgb(picture: Image.Image, kept_pixels: int) -> Image.Image:
    """The first frame as 8-bit sRGB, turned as its EXIF says, on white where it was transparent."""
    turn = _TURNS.get(orientation(picture))
    profile = picture.info.get("icc_profile")
    picture = shrunk(plain(picture), kept_pixels)
    flat = on_white(in_srgb(picture, profile) if profile else picture)
    return flat.transpose(turn) if turn is not None else flat


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if the block is damaged, as browsers see it."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except (KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1


def plain(picture: Image.Image) -> Image.Image:
    """The decoded picture in one of four modes: L, RGB, CMYK, or RGBA if anything in it is transparent.

    16-bit grey keeps its upper 8 bits, as Pillow does for 16-bit colour (its own conversion of grey would clip).
    """
    picture.load()
    if picture.mode == "I;16":
        return picture.point(lambda value: value * (1 / 256)).convert("L")
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def shrunk(picture: Image.Image, kept_pixels: int) -> Image.Image:
    """At most `kept_pixels` pixels of the same shape; a smaller picture is left alone."""
    scale = (kept_pixels / (picture.width * picture.height)) ** 0.5
    if scale >= 1:
        return picture
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)


def in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture with its colour profile applied; unchanged if the profile is sRGB, damaged or of another mode."""
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.getOpenProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, source, target, outputMode=mode) or picture
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return picture


def on_white(picture: Image.Image) -> Image.Image:
    """RGB; transparent parts show white, as a page or a sheet of paper would."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    return white


def answer(word: str, size: tuple[int, int]) -> None:
    """Write the first line of the answer."""
    sys.stdout.buffer.write(b"%s %d %d\n" % (word.encode(), *size))
