"""The conditions of a request for a file (RFC 9110, 13 and 14): what the caller has, and which part it wants."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from starlette.types import Scope

RANGE = re.compile(rb"\s*bytes\s*=\s*(\d+-\d*|-\d+)(\s*,\s*(\d+-\d*|-\d+))*\s*")


def is_known(asked: Mapping[str, str], file: Mapping[str, str]) -> bool:
    """Whether the caller has this very file; `If-None-Match` counts more than `If-Modified-Since`."""
    if (tags := asked.get("if-none-match")) is not None:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return file["etag"] in known or "*" in known
    try:
        since = parsedate_to_datetime(asked["if-modified-since"])
        return parsedate_to_datetime(file["last-modified"]) <= since
    except (KeyError, TypeError, ValueError):
        return False


def drop_odd_range(scope: Scope) -> None:
    """A range that is none is ignored, and the file sent whole; Starlette would refuse it."""
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range" or RANGE.fullmatch(value)]
