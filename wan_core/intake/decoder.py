"""Child process: one untrusted file on stdin → upright RGB pixels on stdout (both regular files).

Imports only the standard library, Pillow, pillow-heif and siblings. Output: a line `word width height`, and after
`picture` width·height·3 bytes. A child that dies means "damaged".
"""

import json
import os
import resource
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from math import ceil
from typing import Final

# Load here or in `opener` all that decoding needs: after `lock` nothing can be opened.
from PIL import Image, ImageChops, ImageFile, ImagePalette  # noqa: F401

from wan_core.intake.boxes import named_colours
from wan_core.intake.colour import Declaration, Icc, in_srgb
from wan_core.intake.exif import UPRIGHT, orientation
from wan_core.intake.jpeg import read_jpeg
from wan_core.intake.png import read_png
from wan_core.intake.truncation import Opener, load_rows, mended_jpeg

NO_ROOM: Final = 28  # exit status: the disk is full

_CLASSES: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
}
_TURNS: Final = {
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
    """Sides in pixels; `max_ratio` is long : short side. Larger pictures are scaled down to `kept_pixels`.

    A JPEG may be larger, because libjpeg decodes at 1/2 to 1/8 size. `max_scan_bytes`: its buffer for progressive ones.
    """

    max_bytes: int = 25_000_000
    max_pixels: int = 40_000_000
    min_side: int = 16
    max_side: int = 10_000
    max_jpeg_pixels: int = 202_000_000
    max_jpeg_side: int = 16_384
    max_heic_pixels: int = 50_000_000  # an iPhone's 48 megapixels
    max_scan_bytes: int = 650_000_000
    max_ratio: int = 8
    kept_pixels: int = 10_000_000
    memory_bytes: int = 1_000_000_000
    cpu_s: int = 8
    wall_s: float = 15.0

    def side(self, format: str) -> int:
        return self.max_jpeg_side if format == "JPEG" else self.max_side

    def pixels(self, format: str) -> int:
        return {"JPEG": self.max_jpeg_pixels, "HEIF": self.max_heic_pixels}.get(format, self.max_pixels)


PICTURE_LIMITS: Final = PictureLimits()


@dataclass(frozen=True)
class Source:
    """`key`: transparent colour at depth `bits`. `fault`: why not to decode. `reads_rows`: a cut file has rows."""

    content: bytes
    open_file: Opener
    picture: ImageFile.ImageFile
    declarations: tuple[Declaration, ...] = ()
    orientation: int = UPRIGHT
    bits: int = 8
    key: tuple[int, ...] | None = None
    fault: str | None = None
    reads_rows: bool = False


def main() -> None:
    """Arguments: the limits as JSON, Pillow's format name."""
    limits, format = PictureLimits(**json.loads(sys.argv[1])), sys.argv[2]
    open_file = opener(format)
    lock(limits)
    sys.stdin.buffer.seek(0)  # at the end: the parent wrote through the same descriptor
    source = read_source(sys.stdin.buffer.read(), format, open_file, limits)
    size = source.picture.size
    fault = size_fault(size, limits, format) or source.fault
    if fault is not None:
        return answer(fault, size)
    upright = upright_rgb(source, limits.kept_pixels)
    pixels = upright.tobytes()
    try:
        answer("picture", upright.size)
        sys.stdout.buffer.write(pixels)
        sys.stdout.flush()
    except OSError:
        os._exit(NO_ROOM)


def opener(format: str) -> Opener:
    """One format, one thread: `Image.open` would load five decoders."""
    module, name = _CLASSES[format]
    plugin = import_module(module)
    if format == "AVIF":
        import_module("PIL.TiffImagePlugin")  # the plugin writes EXIF with it
        vars(plugin)["DEFAULT_MAX_THREADS"] = 1
    if format == "HEIF":
        plugin.options.DECODE_THREADS = 1
    open_file = getattr(plugin, name)
    return lambda content: open_file(BytesIO(content))


def lock(limits: PictureLimits) -> None:
    """Drop rights that decoding does not need. macOS has no bound for memory."""
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


def size_fault(size: tuple[int, int], limits: PictureLimits, format: str) -> str | None:
    short, long = sorted(size)
    if short < limits.min_side:
        return "too_small"
    if short * long > limits.pixels(format):
        return "too_many_pixels"
    if long > limits.side(format):
        return "too_wide"
    return "too_narrow" if long > limits.max_ratio * short else None


def read_source(content: bytes, format: str, open_file: Opener, limits: PictureLimits) -> Source:
    """Raises whatever a damaged file raises."""
    if format == "JPEG":
        return _jpeg_source(content, open_file, limits)
    if format == "PNG":
        png = read_png(content)
        make = partial(Source, png.content, open_file, open_file(png.content), png.declarations, png.orientation)
        return make(bits=png.bits, key=png.key, reads_rows=True)
    picture = open_file(content)
    profile = picture.info.get("icc_profile")
    declarations: list[Declaration] = [Icc(profile)] if profile else []
    turn = UPRIGHT  # browsers ignore EXIF in a WebP; libheif has turned a HEIC
    if format == "AVIF":  # Pillow wrote the file's own turn (irot, imir) there
        turn = orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    if format in ("AVIF", "HEIF"):
        named = named_colours(content)
        declarations += [named] if named else []
    return Source(content, open_file, picture, tuple(declarations), turn, reads_rows=format in ("GIF", "BMP"))


def _jpeg_source(content: bytes, open_file: Opener, limits: PictureLimits) -> Source:
    jpeg = read_jpeg(content)
    picture = open_file(jpeg.content)
    fault = "too_many_scans" if jpeg.buffer_bytes > limits.max_scan_bytes else None
    if fault is None and size_fault(picture.size, limits, "JPEG") is None and not jpeg.whole:
        picture = open_file(mended_jpeg(jpeg, open_file))
    declarations = (Icc(jpeg.profile),) if jpeg.profile else ()
    return Source(jpeg.content, open_file, picture, declarations, jpeg.orientation, fault=fault)


def upright_rgb(source: Source, kept_pixels: int) -> Image.Image:
    """First frame as 8-bit sRGB, transparency on white."""
    turn = _TURNS.get(source.orientation)
    picture = shrunk(plain(loaded(source, kept_pixels), source), kept_pixels)
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    solid = picture if alpha is None else picture.convert(picture.mode[:-1])
    colours = in_srgb(solid, source.declarations)
    flat = on_white(colours if colours.mode == "RGB" else colours.convert("RGB"), alpha)
    return flat.transpose(turn) if turn is not None else flat


def loaded(source: Source, kept_pixels: int) -> Image.Image:
    """A large JPEG is decoded at the smallest scale that has `kept_pixels`."""
    picture = source.picture
    scale = (kept_pixels / (picture.width * picture.height)) ** 0.5
    if scale < 1:
        picture.draft(picture.mode, (ceil(picture.width * scale), ceil(picture.height * scale)))
    try:
        picture.load()
    except OSError:
        if not source.reads_rows:
            raise
        return load_rows(source.content, source.open_file)
    return picture


def plain(picture: Image.Image, source: Source) -> Image.Image:
    """To L, RGB or CMYK, or LA or RGBA if transparent; the upper 8 of 16 bits, as in browsers."""
    low = _lower_bytes(picture, source) if source.bits == 16 and source.key else None
    if picture.mode == "I;16":
        picture = Image.frombytes("LA", picture.size, picture.tobytes()).getchannel("A")
    if source.key:
        return _keyed(picture.convert("L") if picture.mode == "1" else picture, source.key, source.bits, low)
    if picture.mode in ("L", "RGB", "CMYK", "LA", "RGBA"):
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _lower_bytes(picture: Image.Image, source: Source) -> Image.Image:
    """To match a transparent 16-bit colour exactly."""
    if picture.mode == "I;16":
        return Image.frombytes("LA", picture.size, picture.tobytes()).getchannel("L")
    again = source.open_file(source.content)
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]  # the other byte order
    again.load()
    return again


def _keyed(picture: Image.Image, key: tuple[int, ...], bits: int, low: Image.Image | None) -> Image.Image:
    """Alpha is 0 where the colour is `key`, else 255."""
    scale = 255 / ((1 << min(bits, 8)) - 1)
    alpha = _differs(picture, [round((value >> max(bits - 8, 0)) * scale) for value in key])
    if low is not None:
        alpha = ImageChops.lighter(alpha, _differs(low, [value & 255 for value in key]))
    keyed = picture.copy()
    keyed.putalpha(alpha)
    return keyed


def _differs(picture: Image.Image, colour: list[int]) -> Image.Image:
    masks = [
        channel.point([255 * (level != value) for level in range(256)])
        for channel, value in zip(picture.split(), colour, strict=True)
    ]
    differs = masks[0]
    for mask in masks[1:]:
        differs = ImageChops.lighter(differs, mask)
    return differs


def shrunk(picture: Image.Image, kept_pixels: int) -> Image.Image:
    scale = (kept_pixels / (picture.width * picture.height)) ** 0.5
    if scale >= 1:
        return picture
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)


def on_white(picture: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is None:
        return picture
    white = Image.new("RGB", picture.size, (255, 255, 255))  # by name it would load a module
    white.paste(picture, mask=alpha)
    return white


def answer(word: str, size: tuple[int, int]) -> None:
    sys.stdout.buffer.write(b"%s %d %d\n" % (word.encode(), *size))
