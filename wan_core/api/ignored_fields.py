"""What a body says that its endpoint has no field for: fal ignores it, and so do we, but not in silence."""

import re
from collections.abc import Mapping

from wan_core.endpoints import Endpoint
from wan_core.errors import InputError

WRAPPERS = ("input", "arguments", "extra_body", "parameters")
NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
MOST_NAMED = 10


def refuse_wrapped(endpoint: Endpoint, values: Mapping[str, object]) -> None:
    """Raise InputError for a request inside another object, which would be ignored as a whole."""
    if any(name in values for name in endpoint.fields):
        return
    for wrapper in WRAPPERS:
        inner = values.get(wrapper)
        if isinstance(inner, dict) and any(name in inner for name in endpoint.fields):
            sentence = f"The fields of the request stand inside of {wrapper}; send them at the top of the body."
            raise InputError(wrapper, "value_error", sentence)


def ignored_note(endpoint: Endpoint, values: Mapping[str, object]) -> str | None:
    """A sentence about the fields of `values` that do nothing here."""
    ignored = [name for name in values if name not in endpoint.fields]
    if not ignored:
        return None
    named = [name for name in ignored if NAME.fullmatch(name)][:MOST_NAMED]
    more = len(ignored) - len(named)
    said = ", ".join(named + ([f"{more} more"] if more else []))
    return f"Ignored, because {endpoint.id} has no such field: {said}."
