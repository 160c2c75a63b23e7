"""What a file is, judged by its first bytes and nothing else: no name, no media type, no decoder.

A file that is plainly something else is turned away here, with a sentence that fits, before any decoder sees it.
"""

from typing import Final

from wan_core.intake.refusals import Refused

SUPPORTED_FORMATS: Final = ["image/jpeg", "image/png", "image/webp"]
HEAD_BYTES: Final = 512

_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
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
_BRANDS = ((b"avif", "an AVIF"), (b"avis", "an AVIF"), (b"hei", "a HEIC photo"), (b"hev", "a HEIC photo"))


def check_format(head: bytes) -> None:
    """Pass JPEG, PNG and WebP by their first `HEAD_BYTES`; raise Refused for everything else."""
    if not head:
        raise Refused("image_load_error", "The file is empty. Choose it again.")
    if head[:3] == b"\xff\xd8\xff" or head[:8] == b"\x89PNG\r\n\x1a\n" or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return
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


def _other_format(head: bytes) -> str | None:
    """A name for the file with its article, or None if it is no kind of picture or film that we know."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return next((name for brand, name in _BRANDS if head[8:].startswith(brand)), "a video or HEIC photo")
    if b"<svg" in head.lower():
        return "an SVG drawing"
    return None
