"""Why a file is refused: fal's error type, a sentence, the limits. The field is unknown here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from wan_core.errors import InputError

RefusalType = Literal[
    "file_download_error",
    "file_too_large",
    "image_load_error",
    "image_too_large",
    "image_too_small",
    "unsupported_image_format",
]


class Refused(Exception):
    """`type`: fal's word. `context`: the limits."""

    def __init__(self, type: RefusalType, message: str, **context: object) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.context = context


@contextmanager
def reported_at(field: str) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise InputError(field, refused.type, refused.message, refused.context) from refused


def too_large(max_bytes: int) -> Refused:
    return Refused(
        "file_too_large",
        f"The file is larger than {max_bytes / 1_000_000:g} MB. Give a smaller one.",
        max_size=max_bytes,
    )
