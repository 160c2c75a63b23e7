"""Colours that an AVIF or HEIC names by number (ISO/IEC 14496-12): Pillow and libheif do not report them."""

import struct

from wan_core.intake.colour import Cicp

_NCLX = b"colrnclx"


def named_colours(content: bytes) -> Cicp | None:
    """From the first nclx `colr` box; None without one."""
    meta = _box(content, b"meta")
    at = meta.find(_NCLX)
    if at < 0 or at + len(_NCLX) + 4 > len(meta):
        return None
    primaries, transfer = struct.unpack_from(">HH", meta, at + len(_NCLX))
    return Cicp(primaries, transfer)


def _box(content: bytes, kind: bytes) -> bytes:
    at = 0
    while at + 8 <= len(content):
        size, found = struct.unpack_from(">I4s", content, at)
        if found == kind:
            return content[at + 8 : at + size]
        if size < 8:
            return b""
        at += size
    return b""
