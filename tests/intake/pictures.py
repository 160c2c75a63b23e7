"""Picture files for tests, made on the spot."""

import struct
import zlib
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from wan_core.intake.decoder import PICTURE_LIMITS, PictureLimits
from wan_core.intake.images import decode, decode_now
from wan_core.intake.refusals import Refused

EXIF_ORIENTATION = 0x0112


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """`picture` as a file's bytes."""
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


async def decoded(file: IO[bytes]) -> Image.Image:
    """What the gate makes of `file`, as it is."""
    return await decode(file, itself)


def photo(width: int = 48, height: int = 32, channels: int = 3) -> Image.Image:
    """A picture without any symmetry: every corner, row and channel differs."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (height // 8, width // 8, channels), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def turned(picture: Image.Image, orientation: int, format: str = "PNG") -> bytes:
    """`picture` with an EXIF orientation."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return encoded(picture, format, exif=exif)


def flat_png(width: int, height: int) -> bytes:
    """A black 1-bit PNG of any size, a few kB, written without holding its pixels."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """`png` with one more chunk after its header."""
    return png[:33] + chunk(kind, body) + png[33:]


def resized_header(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG that says it has another size than it has."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def swapped_profile() -> bytes:
    """An ICC profile in which red is blue and blue is red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def pixels(picture: Image.Image) -> NDArray[np.int16]:
    """(H, W, 3) or (H, W), wide enough to subtract."""
    return np.asarray(picture).astype(np.int16)


def on_disk(content: bytes) -> IO[bytes]:
    """`content` in a nameless file that the caller closes."""
    file = TemporaryFile()  # noqa: SIM115
    file.write(content)
    return file


def itself(picture: Image.Image) -> Image.Image:
    """For a test that looks at the whole picture."""
    return picture


def gate(content: bytes, limits: PictureLimits = PICTURE_LIMITS) -> Image.Image:
    """What the picture gate makes of a file."""
    with on_disk(content) as file:
        return decode_now(file, itself, limits)


def refusal(content: bytes, limits: PictureLimits = PICTURE_LIMITS) -> Refused:
    """Why the picture gate does not take a file."""
    with pytest.raises(Refused) as refused:
        gate(content, limits)
    return refused.value
