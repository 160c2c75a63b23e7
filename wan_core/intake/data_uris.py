"""Pictures inside the request: `data:image/png;base64,…`.

Follows browsers (WHATWG Fetch, "data: URL processor"; Infra, "forgiving-base64 decode"). The label is not trusted.
"""

import binascii
import re
import string
from typing import Final
from urllib.parse import unquote_to_bytes

from wan_core.intake.refusals import Refused, too_large

_BASE64: Final = re.compile(r"; *base64\Z", re.IGNORECASE | re.ASCII)
_LOST_IN_URLS: Final = str.maketrans("", "", "\t\n\r")
_BLANKS: Final = b" \t\n\f\r"
_ALPHABET: Final = (string.ascii_letters + string.digits + "+/").encode()


def is_data_uri(source: str) -> bool:
    """Check the scheme only; the rest may be malformed."""
    return source[:5].lower() == "data:"


def data_uri_bytes(source: str, max_bytes: int) -> bytes:
    """Decode a data URI, after checking its length. Raises Refused."""
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
    """Accept missing padding; ignore half a byte at the end, as browsers do."""
    if len(encoded) % 4 == 0:
        encoded = encoded.removesuffix(b"=").removesuffix(b"=")
    if len(encoded) % 4 == 1 or encoded.translate(None, _ALPHABET):
        raise Refused("image_load_error", "The data URI is not valid base64. Encode the file again.")
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4))


def _checked(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content
