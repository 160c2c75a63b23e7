"""What a JPEG declares, and the JPEG without metadata.

Walks the markers (ITU-T T.81, annex B), decodes nothing; `decoder.py` judges what is missing.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wan_core.intake.exif import UPRIGHT, orientation

_START: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_APP1: Final = 0xE1
_APP2: Final = 0xE2
_TABLES: Final = {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}  # JFIF and Adobe tell the colour model
_FRAMES: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = {0xC2, 0xC6, 0xCA, 0xCE}
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_EXIF: Final = b"Exif\0\0"
_ICC: Final = b"ICC_PROFILE\0"
_BYTES_PER_COEFFICIENT: Final = 2  # libjpeg's JCOEF


@dataclass(frozen=True)
class Jpeg:
    """`content` ends with the last marker or byte of the picture; `whole` if that is the end marker.

    `scanned`: every coefficient has its last bit in a scan that has begun. `buffer_bytes`: what libjpeg keeps.
    """

    content: bytes
    whole: bool
    scans: int
    scanned: bool
    buffer_bytes: int
    profile: bytes | None
    orientation: int


def read_jpeg(content: bytes) -> Jpeg:
    """Raises ValueError without a frame or a scan."""
    kept, parts, exif = [_START], list[bytes](), None
    frame, progressive, open_bits = b"", False, dict[tuple[int, int], int]()
    scans, whole = 0, False
    for marker, body, data in _segments(content):
        if marker == END[1]:
            whole = True
            kept.append(END)
            break
        if marker == _APP1 and body.startswith(_EXIF) and exif is None:
            exif = body[len(_EXIF) :]
        elif marker == _APP2 and body.startswith(_ICC):
            parts.append(body[len(_ICC) :])
        elif marker in _TABLES or marker in _FRAMES or marker == _SOS:
            kept += [b"\xff%c" % marker, struct.pack(">H", len(body) + 2), body, data]
        if marker in _FRAMES and not frame:
            frame, progressive = body, marker in _PROGRESSIVE
            open_bits = {(component, band): 1 for component in _components(frame) for band in (0, 1)}
        elif marker == _SOS:
            scans += 1
            _close_bits(open_bits, body, progressive)
    if not frame or not scans:
        raise ValueError("no frame, or no scan")
    several = progressive or scans > 1 or any(open_bits.values())
    return Jpeg(
        b"".join(kept),
        whole,
        scans if several else 1,
        not any(open_bits.values()),
        _coefficients(frame) * _BYTES_PER_COEFFICIENT if several else 0,
        _joined(parts),
        UPRIGHT if exif is None else orientation(exif),
    )


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield marker, body and the data up to the next marker; complete segments only."""
    at = len(_START)
    if content[at : at + 1] != b"\xff":
        raise ValueError("no marker behind the first")
    while found := _MARKER.search(content, at):  # skips fill and stray bytes, as libjpeg does
        at, marker = found.start(), content[found.start() + 1]
        if marker == END[1]:
            yield marker, b"", b""
            return
        length = int.from_bytes(content[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(content):
            return
        body, at = content[at + 4 : at + 2 + length], at + 2 + length
        end = at
        if marker == _SOS:
            following = _AFTER_SCAN.search(content, at)
            end = following.start() if following else len(content)
        yield marker, body, content[at:end]
        at = end


def _components(frame: bytes) -> list[int]:
    return list(frame[6::3])


def _close_bits(open_bits: dict[tuple[int, int], int], scan: bytes, progressive: bool) -> None:
    """Which coefficients (band 0: DC, 1: AC) get their last bit in this scan."""
    components = scan[1 : 1 + 2 * scan[0] : 2]
    first, last, precision = scan[-3:] if progressive else (0, 63, 0)
    for component in components:
        for band in (0, 1):
            if first <= 63 * band <= last and precision & 15 == 0:
                open_bits[component, band] = 0


def _coefficients(frame: bytes) -> int:
    """With each component padded to whole 8×8 blocks."""
    height, width = struct.unpack_from(">HH", frame, 1)
    samplings = [(factors >> 4, factors & 15) for factors in frame[7::3]]
    across, down = (max(sampling[side] for sampling in samplings) for side in (0, 1))
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    return int(64 * units * sum(horizontal * vertical for horizontal, vertical in samplings))


def _joined(parts: list[bytes]) -> bytes | None:
    """The profile's numbered parts (ICC.1, B.4); None if one is missing."""
    numbered = {part[0]: part[2:] for part in reversed(parts) if len(part) > 2}
    count = parts[0][1] if parts and len(parts[0]) > 2 else 0
    if count == 0 or any(number not in numbered for number in range(1, count + 1)):
        return None
    return b"".join(numbered[number] for number in range(1, count + 1))
