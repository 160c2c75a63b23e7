"""What a PNG declares, and the PNG without metadata. Decodes no pixels.

PNG specification (third edition), as in browsers: colour and EXIF count only before the pixels, ancillary chunks with a
wrong checksum are skipped, texts are never unpacked.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wan_core.intake.colour import Cicp, Declaration, Gamma, Icc, Srgb
from wan_core.intake.exif import UPRIGHT, orientation

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_PROFILE_BYTES: Final = 16_000_000
_PALETTE: Final = 3  # IHDR colour type


@dataclass(frozen=True)
class Png:
    """`content`: header, palette and pixels only. `key`: the transparent colour, as in the file."""

    content: bytes
    bits: int
    declarations: tuple[Declaration, ...]
    orientation: int
    key: tuple[int, ...] | None


def read_png(content: bytes) -> Png:
    """The first frame of an animation. Raises ValueError if damaged."""
    head: dict[bytes, bytes] = {}
    frame = b""
    pixels: list[bytes] = []
    moving: list[bytes] = []
    for kind, body in _chunks(content):
        if kind == b"IDAT":
            pixels.append(body)
        elif kind == b"fdAT" and frame:
            moving.append(body[4:])
        elif kind == b"fcTL":
            if moving or (frame and pixels):
                break
            frame = body
        elif not pixels:
            head.setdefault(kind, body)
    header, data = head[b"IHDR"], pixels
    if moving and _fills_canvas(frame, header):  # the first IDAT is no frame, as in browsers
        data = moving
    kept = [_chunk(b"IHDR", header), *(_chunk(kind, head[kind]) for kind in _palette_chunks(header) if kind in head)]
    return Png(
        b"".join([SIGNATURE, *kept, _chunk(b"IDAT", b"".join(data)), _chunk(b"IEND", b"")]),
        header[8],
        tuple(_declarations(head)),
        orientation(head[b"eXIf"]) if b"eXIf" in head else UPRIGHT,
        _key(header, head),
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Pixels even if cut short or with a wrong checksum."""
    at = len(SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        checksum = content[at + 8 + length : at + 12 + length]
        at += 12 + length
        if kind == b"IEND":
            return
        if kind == b"IDAT" or zlib.crc32(kind + body).to_bytes(4) == checksum:
            yield kind, body
        if kind in (b"IHDR", b"PLTE") and zlib.crc32(kind + body).to_bytes(4) != checksum:
            raise ValueError(f"{kind!r} is damaged")
        if kind[:1].isupper() and kind not in (b"IHDR", b"PLTE", b"IDAT"):
            raise ValueError(f"{kind!r} is needed to show the picture, and unknown")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _fills_canvas(frame: bytes, header: bytes) -> bool:
    return frame[4:20] == header[:8] + bytes(8)


def _palette_chunks(header: bytes) -> tuple[bytes, ...]:
    """tRNS for palettes only: else Pillow compares 8 with 16 bits."""
    return (b"PLTE", b"tRNS") if header[9] == _PALETTE else ()


def _key(header: bytes, head: dict[bytes, bytes]) -> tuple[int, ...] | None:
    channels = {0: 1, 2: 3}.get(header[9])
    if channels is None or len(head.get(b"tRNS", b"")) != 2 * channels:
        return None
    return struct.unpack(f">{channels}H", head[b"tRNS"])


def _declarations(head: dict[bytes, bytes]) -> Iterator[Declaration]:
    """Strongest first (PNG specification, 4.3)."""
    if len(head.get(b"cICP", b"")) == 4 and head[b"cICP"][2:] == b"\0\1":  # RGB, full range
        yield Cicp(head[b"cICP"][0], head[b"cICP"][1])
    profile = _profile(head.get(b"iCCP", b""))
    if profile is not None:
        yield Icc(profile)
    if len(head.get(b"sRGB", b"")) == 1 and head[b"sRGB"][0] < 4:
        yield Srgb()
    if len(head.get(b"gAMA", b"")) == 4:
        yield Gamma(int.from_bytes(head[b"gAMA"]) / 100_000, _chromaticities(head.get(b"cHRM", b"")))


def _profile(body: bytes) -> bytes | None:
    """None if damaged or too large."""
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(body.partition(b"\0")[2][1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return None if unpack.unconsumed_tail else profile


def _chromaticities(body: bytes) -> tuple[float, ...] | None:
    return tuple(value / 100_000 for value in struct.unpack(">8I", body)) if len(body) == 32 else None
