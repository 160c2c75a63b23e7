"""Pictures written out inside the request: `data:image/png;base64,…`.

Knows the three media types and strict base64 (RFC 4648, no blanks, no missing padding). Does not look at the bytes.
"""

import binascii
import re
from typing import IO

from wan_core.intake.formats import SUPPORTED_FORMATS
from wan_core.intake.refusals import Refused, too_large
from wan_core.intake.storing import store

_HEAD = re.compile(r"data:image/(?:jpeg|png|webp);base64,", re.IGNORECASE | re.ASCII)


def is_data_uri(source: str) -> bool:
    """True if `source` says that it is a data URI, well formed or not."""
    return source[:5].lower() == "data:"


def data_uri_bytes(source: str, max_bytes: int) -> bytes:
    """The bytes inside a data URI; the length is judged before anything is decoded. Raises Refused."""
    head = _HEAD.match(source)
    if head is None:
        raise Refused(
            "unsupported_image_format",
            "A data URI must begin with data:image/jpeg;base64, or the same with png or webp.",
            supported_formats=SUPPORTED_FORMATS,
        )
    length = len(source) - head.end()
    if length * 3 // 4 > max_bytes + 2:
        raise too_large(max_bytes)
    content = _decoded(source[head.end() :])
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


class Base64File:
    """Writes what base64 in pieces says into `file`, under the same rules as `data_uri_bytes`."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes
        self._rest, self._size, self._padded = b"", 0, False

    def write(self, piece: bytes) -> None:
        """Raises Refused for what is no base64 or too long, BackendError `storage_full`."""
        piece = self._rest + piece
        whole = len(piece) // 4 * 4
        self._rest = piece[whole:]
        if not whole:
            return
        if self._padded:
            raise _no_base64()
        content = _decoded(piece[:whole])
        self._padded = len(content) < whole // 4 * 3
        self._size += len(content)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        store(content, self._file)

    def finish(self) -> None:
        """Raises Refused if the last piece was cut off."""
        if self._rest:
            raise _no_base64()


def _decoded(text: str | bytes) -> bytes:
    """Strict base64; the length is looked at here because `strict_mode` lets one stray `=` pass."""
    try:
        if len(text) % 4 != 0:
            raise ValueError(f"{len(text)} characters")
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise _no_base64() from error


def _no_base64() -> Refused:
    return Refused("image_load_error", "The data URI is not valid base64. Encode the file again.")
