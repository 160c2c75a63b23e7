"""Pictures written out inside the request: `data:image/png;base64,…`.

Knows the three media types and strict base64 (RFC 4648, no blanks, no missing padding). Does not look at the bytes.
"""

import binascii
import re

from wan_core.intake.formats import SUPPORTED_FORMATS
from wan_core.intake.refusals import Refused, too_large

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


def _decoded(text: str) -> bytes:
    """Strict base64; the length is looked at here because `strict_mode` lets one stray `=` pass."""
    try:
        if len(text) % 4 != 0:
            raise ValueError(f"{len(text)} characters")
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise Refused("image_load_error", "The data URI is not valid base64. Encode the file again.") from error
