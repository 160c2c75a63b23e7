"""Orientation from an EXIF block. Read by hand: Pillow's `getexif` also accepts XMP and values of other types."""

import struct
from typing import Final

UPRIGHT: Final = 1
_ORIENTATION: Final = 0x0112
_SHORT: Final = 3


def orientation(tiff: bytes) -> int:
    """1 to 8, from the first directory; 1 if missing or damaged.

    Only a single unsigned short counts, as in Chromium (EXIF 2.3, 4.6.4 A).
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
