"""The one fact of an EXIF block that browsers look at: which way up the picture is.

Read by hand and not by Pillow's `getexif`, which also believes XMP and numbers of another type. Knows nothing of the
file that the block came from.
"""

import struct
from typing import Final

UPRIGHT: Final = 1
_ORIENTATION: Final = 0x0112
_SHORT: Final = 3


def orientation(tiff: bytes) -> int:
    """The orientation, 1 to 8, in the first directory of `tiff`; 1 if there is none or the block is damaged.

    As in Chromium the entry counts only as one unsigned short (EXIF 2.3, 4.6.4 A).
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
