"""Pictures inside the request: `data:image/png;base64,…`.

As in browsers (WHATWG Fetch, "data: URL processor"; Infra, "forgiving-base64 decode"). The label is not trusted.
"""

import binascii
import re
import string
from typing import IO, Final
from urllib.parse import unquote_to_bytes

from wan_core.intake.refusals import Refused, too_large
from wan_core.intake.storing import store

_BASE64: Final = re.compile(r"; *base64\Z", re.IGNORECASE | re.ASCII)
_LOST_IN_URLS: Final = str.maketrans("", "", "\t\n\r")
_BLANKS: Final = b" \t\n\f\r"
_ALPHABET: Final = (string.ascii_letters + string.digits + "+/").encode()


def is_data_uri(source: str) -> bool:
    """By the scheme alone."""
    return source[:5].lower() == "data:"


def data_uri_bytes(source: str, max_bytes: int) -> bytes:
    """Checks the length before decoding. Raises Refused."""
    label, comma, body = source.partition("#")[0][5:].partition(",")
    if not comma:
        raise Refused("image_load_error", "A data URI needs a comma between its label and the picture.")
    encoded = _unescaped(body)
    if _BASE64.search(label.translate(_LOST_IN_URLS).strip(" ")) is None:
        return _checked(encoded, max_bytes)
    encoded = encoded.translate(None, _BLANKS)
    if len(encoded) * 3 // 4 > max_bytes + 2:
        raise too_large(max_bytes)
    return _checked(_decoded(encoded), max_bytes)


def _unescaped(body: str) -> bytes:
    """Raises Refused for a lone surrogate."""
    try:
        return unquote_to_bytes(body.translate(_LOST_IN_URLS))
    except UnicodeEncodeError as error:
        raise Refused("image_load_error", "The data URI contains a broken character. Encode the file again.") from error


def _decoded(encoded: bytes) -> bytes:
    """As in browsers, without padding or with half a byte at the end."""
    if len(encoded) % 4 == 0:
        encoded = encoded.removesuffix(b"=").removesuffix(b"=")
    if len(encoded) % 4 == 1 or encoded.translate(None, _ALPHABET):
        raise _no_base64()
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4))


def _checked(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


class Base64File:
    """Decodes base64 in pieces into `file`, by the rules of `data_uri_bytes`."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._max_bytes = file, max_bytes
        self._rest, self._size = b"", 0

    def write(self, piece: bytes) -> None:
        """Raises Refused (no base64, or too long), BackendError `storage_full`."""
        piece = self._rest + piece.translate(None, _BLANKS)
        whole = max(0, (len(piece) - 1) // 4 * 4)  # the last four may hold the padding
        if piece[:whole].translate(None, _ALPHABET):
            raise _no_base64()
        self._rest = piece[whole:]
        self._store(binascii.a2b_base64(piece[:whole]))

    def finish(self) -> None:
        """Raises as `write` does."""
        self._store(_decoded(self._rest))

    def _store(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        store(content, self._file)


def _no_base64() -> Refused:
    return Refused("image_load_error", "The data URI is not valid base64. Encode the file again.")
