"""Addresses that carry settings: `/?preset=draft&prompt=…&num_frames=49`.

A link is a preset and what differs from it. Ours start from fal's defaults, so they mean the same on every machine.
`recipe` whitelists and clamps what comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wan_core import recipe
from wan_core.presets import PLAIN, Preset, presets
from wan_core.recipe import Recipe


@dataclass(frozen=True)
class ParsedLink:
    """Form values, the preset they start from (`None`: the opening one) and the engine."""

    values: Mapping[str, Any]
    preset: Preset | None
    engine: str | None


def link_query(settings: Recipe) -> str:
    """The part of a link after `?`."""
    said = dict(settings.values)
    if not said.get("prompt"):
        said.pop("prompt", None)
    if not str(said.get("image_url", "")).startswith(("http://", "https://")):
        said.pop("image_url", None)
    rest = recipe.to_query(Recipe(said, settings.engine))
    return f"preset={PLAIN}&{rest}" if rest else f"preset={PLAIN}"


def parse_link(query: Mapping[str, str]) -> ParsedLink:
    """The settings in a page's query; named fields override those of the preset."""
    asked = recipe.from_query(query)
    preset = presets().get(query.get("preset", ""))
    values = (preset.complete if preset else {}) | dict(asked.values)
    engine = asked.engine or (preset.engine if preset else None)
    return ParsedLink(values, preset, engine)
