"""Identify a file by its first bytes alone: no name, media type or decoder. `FORMATS` is the only list."""

from dataclasses import dataclass
from typing import Final

from wan_core.intake.refusals import Refused


@dataclass(frozen=True)
class Format:
    """`pillow`: Pillow's format name. `suffix`: without the dot."""

    pillow: str
    title: str
    media_type: str
    suffix: str


_JPEG = Format("JPEG", "JPEG", "image/jpeg", "jpg")
_PNG = Format("PNG", "PNG", "image/png", "png")
_WEBP = Format("WEBP", "WebP", "image/webp", "webp")
_AVIF = Format("AVIF", "AVIF", "image/avif", "avif")
_HEIC = Format("HEIF", "HEIC", "image/heic", "heic")
_GIF = Format("GIF", "GIF", "image/gif", "gif")
_BMP = Format("BMP", "BMP", "image/bmp", "bmp")
FORMATS: Final = (_JPEG, _PNG, _WEBP, _AVIF, _HEIC, _GIF, _BMP)
SUPPORTED_FORMATS: Final = [format.media_type for format in FORMATS]
HEAD_BYTES: Final = 512

_MAGIC = ((b"\xff\xd8\xff", _JPEG), (b"\x89PNG\r\n\x1a\n", _PNG), (b"GIF87a", _GIF), (b"GIF89a", _GIF))
_BRANDS = {b"avif": _AVIF, b"avis": _AVIF, b"heic": _HEIC, b"heix": _HEIC, b"heim": _HEIC, b"heis": _HEIC}
_OTHERS = (
    (b"II*\x00", "a TIFF or raw photo"),
    (b"MM\x00*", "a TIFF or raw photo"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"%PDF", "a PDF"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (b"\xffO\xffQ", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x1aE\xdf\xa3", "a video"),
)


def check_format(head: bytes) -> Format:
    """`head`: the first `HEAD_BYTES`. Raises Refused."""
    if not head:
        raise Refused("image_load_error", "The file is empty. Choose it again.")
    format = _format(head)
    if format is not None:
        return format
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        raise Refused("image_load_error", "This is a web page, not a picture. Give the picture's own address.")
    name = _other_format(head)
    if name is None:
        raise Refused("image_load_error", "The file is not a picture. Give a JPEG, PNG or WebP.")
    raise Refused(
        "unsupported_image_format",
        f"The file is {name}. Convert it to JPEG or PNG.",
        supported_formats=SUPPORTED_FORMATS,
    )


def _format(head: bytes) -> Format | None:
    for magic, format in _MAGIC:
        if head.startswith(magic):
            return format
    if (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return _WEBP
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # two letters alone begin many texts
        return _BMP
    return next((_BRANDS[brand] for brand in _brands(head) if brand in _BRANDS), None)


def _brands(head: bytes) -> list[bytes]:
    """Major brand first; empty unless an ISO file."""
    if head[4:8] != b"ftyp":
        return []
    box = head[: int.from_bytes(head[:4])]
    return [box[8:12], *(box[at : at + 4] for at in range(16, len(box) - 3, 4))]


def _other_format(head: bytes) -> str | None:
    """With its article."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "a video"
    if b"<svg" in head.lower():
        return "an SVG drawing"
    return None
