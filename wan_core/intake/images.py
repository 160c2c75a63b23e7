"""Untrusted file → one upright RGB picture without metadata.

At most two child processes (`decoder.py`) decode at a time. Their checked answers are used in one thread, storing
included, so that one decoded picture is in memory: each thread's malloc would keep what its last one took.
"""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, Final, TypeVar

from PIL import Image

from wan_core.intake.decoder import NO_ROOM, PICTURE_LIMITS, PictureLimits
from wan_core.intake.decoding import LateError, run_decoder
from wan_core.intake.formats import HEAD_BYTES, Format, check_format
from wan_core.intake.refusals import Refused
from wan_core.intake.storing import no_room, unnamed_file

_ANSWER = re.compile(rb"([a-z_]{1,20}) (\d{1,9}) (\d{1,9})\n")
_STRIP_ROWS: Final = 64

T = TypeVar("T")


@cache
def _decoders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="picture")


@cache
def _picture_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoded-picture")


async def decode(file: IO[bytes], use: Callable[[Image.Image], T], limits: PictureLimits = PICTURE_LIMITS) -> T:
    """Decode and close `file`; return what `use` makes of the picture, in a thread.

    Raises Refused, BackendError, and what `use` raises.
    """
    work = _decoders().submit(decode_now, file, use, limits)
    try:
        return await asyncio.wrap_future(work)
    finally:  # a cancelled visitor leaves at once; the decoder still needs the file
        work.add_done_callback(lambda _: file.close())


def decode_now(file: IO[bytes], use: Callable[[Image.Image], T], limits: PictureLimits = PICTURE_LIMITS) -> T:
    """Blocking. `file` stays open and must be a real one: the child reads its descriptor."""
    file.flush()
    format = check_format(os.pread(file.fileno(), HEAD_BYTES, 0))
    with unnamed_file(buffering=-1) as answer:
        _run_child(file, answer, limits, format)
        answer.seek(0)
        size = _judged_size(answer.readline(64), limits, format)
        return _picture_thread().submit(lambda: use(_picture(answer, size))).result()


def _run_child(file: IO[bytes], answer: IO[bytes], limits: PictureLimits, format: Format) -> None:
    try:
        code = run_decoder(file, answer, limits, format.pillow)
    except LateError as error:
        raise Refused("image_load_error", "The picture took too long to read. Save it again as JPEG.") from error
    except OSError as error:
        raise _damaged(limits, (0, 0), format) from error
    if code == NO_ROOM:
        raise no_room()
    if code != 0 and os.fstat(answer.fileno()).st_size == 0:
        raise _damaged(limits, (0, 0), format)


def _judged_size(line: bytes, limits: PictureLimits, format: Format) -> tuple[int, int]:
    """Raises Refused, by the child's first line."""
    answer = _ANSWER.fullmatch(line)
    if answer is None:
        raise _damaged(limits, (0, 0), format)
    word, size = answer[1].decode(), (int(answer[2]), int(answer[3]))
    if word != "picture" or not 0 < size[0] * size[1] <= limits.kept_pixels:
        raise _REFUSALS.get(word, _damaged)(limits, size, format)
    return size


def _picture(pixels: IO[bytes], size: tuple[int, int]) -> Image.Image:
    """In strips, so that the pixels are never in memory twice."""
    width, height = size
    picture = Image.new("RGB", size)
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        strip = pixels.read(3 * width * rows)
        if len(strip) != 3 * width * rows:
            raise no_room()
        picture.paste(Image.frombytes("RGB", (width, rows), strip), (0, top))
    return picture


def _damaged(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    return Refused("image_load_error", "The picture is damaged or incomplete. Save it again as JPEG or PNG.")


def _too_small(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    least = limits.min_side
    return Refused(
        "image_too_small",
        f"The picture has {_pixels(size)} pixels; each side needs at least {least}. Give a larger one.",
        min_width=least,
        min_height=least,
    )


def _too_wide(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    most = limits.side(format.pillow)
    return Refused(
        "image_too_large",
        f"The picture has {_pixels(size)} pixels; each side may have at most {most}. Give a smaller one.",
        max_width=most,
        max_height=most,
    )


def _too_many_pixels(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    side, pixels = limits.side(format.pillow), limits.pixels(format.pillow)
    return Refused(
        "image_too_large",
        f"The picture has more than {pixels / 1_000_000:g} megapixels; a {format.title} may not. Give a smaller one.",
        max_width=side,
        max_height=side,
        max_pixels=pixels,
    )


def _too_many_scans(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    return Refused(
        "image_too_large",
        f"The picture has {_pixels(size)} pixels in a progressive JPEG, which is too much to read. "
        "Save it without “progressive”, or smaller.",
        max_width=limits.max_jpeg_side,
        max_height=limits.max_jpeg_side,
    )


def _too_narrow(limits: PictureLimits, size: tuple[int, int], format: Format) -> Refused:
    """fal has no error for a shape: the short side is too small."""
    least = -(-max(size) // limits.max_ratio)
    return Refused(
        "image_too_small",
        f"The picture is {_pixels(size)}; it may be at most {limits.max_ratio} times as long as wide. Crop it.",
        min_width=least if size[0] < size[1] else limits.min_side,
        min_height=least if size[1] < size[0] else limits.min_side,
    )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


_REFUSALS: Final[dict[str, Callable[[PictureLimits, tuple[int, int], Format], Refused]]] = {
    "too_small": _too_small,
    "too_wide": _too_wide,
    "too_many_pixels": _too_many_pixels,
    "too_many_scans": _too_many_scans,
    "too_narrow": _too_narrow,
}
