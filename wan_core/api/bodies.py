"""Reads the JSON body of a request strictly: what it means must not depend on who reads it.

Sizes and deadlines are `body_guard`'s business. Whatever is wrong ends in a sentence, never in a parser's exception.
"""

import json
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.requests import Request

from wan_core.api.refusals import http_refusal
from wan_core.errors import InputError

MOST_PARTS = 20_000  # commas and brackets; a picture as a data URI has one comma, a prompt at most 4,000


async def json_object(request: Request) -> dict[str, object]:
    """The object in the body.

    Raises:
        Refusal: 415 for another kind of body.
        InputError: at `body`, for what is no JSON object.
    """
    refuse_other_kinds(request.headers)
    return parse_object(await request.body())


def refuse_other_kinds(headers: Headers) -> None:
    """Raise Refusal 415 unless the body says that it is JSON, as it stands."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        known = coding if coding in ("gzip", "deflate", "br", "zstd") else "this coding"
        raise http_refusal(415, f"The body is compressed ({known}); send it as it is, without Content-Encoding.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise http_refusal(415, "Send the request as JSON, with the header Content-Type: application/json.")


def parse_object(body: bytes) -> dict[str, object]:
    """The object that `body` says. Raises InputError at `body`."""
    value = parse(body)
    if not isinstance(value, dict):
        raise _fault("The body must be a JSON object.")
    return value


def parse(body: bytes) -> object:
    """The value that `body` says, also behind the byte order mark that Windows' editors write.

    Raises InputError for what no two parsers agree on, and for sheer size.
    """
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MOST_PARTS:
        raise _fault("The body has too many parts; send only the fields of the request.")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_object)
    except (ValueError, RecursionError):  # also UnicodeDecodeError, and integers of more digits than Python reads
        raise _fault("The body is no JSON.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _fault("A field stands twice in the body.")
    return values


def _no_number(word: str) -> NoReturn:
    raise _fault(f"The body contains {word}, which is no JSON.")


def _fault(message: str) -> InputError:
    return InputError("body", "json_invalid", message)
