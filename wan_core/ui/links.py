"""Addresses that carry settings: `/?preset=draft&prompt=…&num_frames=49`.

A link is a preset and what differs from it. Ours start from fal's defaults, so they mean the same on every machine.
Long texts are packed into one parameter, `texts`. `recipe` whitelists and clamps what comes back.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wan_core import recipe
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import PLAIN, Preset, presets
from wan_core.recipe import Recipe

MAX_QUERY_CHARS = 7_500  # many servers and chats cut addresses at 8 kB
READABLE_CHARS = 2_000  # longer queries are packed
MAX_UNPACKED_BYTES = 200_000
TEXTS = ("prompt", "negative_prompt", *IMAGE_TO_VIDEO.picture_fields)


@dataclass(frozen=True)
class ParsedLink:
    """Form values, the preset they start from (`None`: the opening one) and the engine."""

    values: Mapping[str, Any]
    preset: Preset | None
    engine: str | None
    picture_detail: bool = True


def link_query(settings: Recipe) -> str | None:
    """The part of a link after `?`; `None` if the link would be too long to be passed on safely."""
    settings = shareable(settings)
    query = _query(settings)
    if len(query) > READABLE_CHARS:
        rest = {name: value for name, value in settings.values.items() if name not in TEXTS}
        texts = {name: settings.values[name] for name in TEXTS if settings.values.get(name)}
        query = f"{_query(replace(settings, values=rest))}&texts={_pack(texts)}"
    return query if len(query) <= MAX_QUERY_CHARS else None


def shareable(settings: Recipe) -> Recipe:
    """`settings` without an empty prompt, and without a picture that has no public address."""
    said = dict(settings.values)
    if not said.get("prompt"):
        said.pop("prompt", None)
    for name in IMAGE_TO_VIDEO.picture_fields:
        if not str(said.get(name, "")).startswith(("http://", "https://")):
            said.pop(name, None)
    return Recipe(said, settings.engine, picture_detail=settings.picture_detail)


def parse_link(query: Mapping[str, str]) -> ParsedLink:
    """The settings in a page's query; named fields override those of the preset."""
    asked = recipe.from_query({**query, **_unpack(query.get("texts", ""))})
    preset = presets().get(query.get("preset", ""))
    values = (preset.complete if preset else {}) | dict(asked.values)
    engine = asked.engine or (preset.engine if preset else None)
    detail = preset.picture_detail if preset else True
    return ParsedLink(values, preset, engine, detail if asked.picture_detail is None else asked.picture_detail)


def _query(settings: Recipe) -> str:
    rest = recipe.to_query(settings)
    return f"preset={PLAIN}&{rest}" if rest else f"preset={PLAIN}"


def _pack(texts: Mapping[str, str]) -> str:
    """JSON, deflated, in the base64 of addresses."""
    plain = json.dumps(texts, ensure_ascii=False).encode("utf-8")
    return base64.urlsafe_b64encode(zlib.compress(plain, 9)).decode().rstrip("=")


def _unpack(packed: str) -> dict[str, str]:
    """The texts in `packed`; empty for anything that `_pack` did not write."""
    try:
        stored = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        texts = json.loads(zlib.decompressobj().decompress(stored, MAX_UNPACKED_BYTES))
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return {}
    if not isinstance(texts, dict):
        return {}
    return {name: texts[name] for name in TEXTS if isinstance(texts.get(name), str)}
