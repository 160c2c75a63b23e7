"""Restores the settings in a saved file of this app or another tool. The browser reads it; nothing is uploaded."""

import json
from typing import Any

import gradio as gr

from wan_core import recipe
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.recipe import Recipe
from wan_core.ui.languages import translate
from wan_core.ui.links import shareable
from wan_core.ui.names import title_of

RESTORE_JS = """
element.addEventListener('change', async event => {
  const [file] = event.target.files;
  event.target.value = '';
  if (!file) return;
  const found = await wanExplore.settingsIn(file);
  wan.note(found.note);
  trigger('upload', found);
});
"""
HINT = (
    "Choose or drop a clip, a settings file or an exported grid of this app, or a file of Wan2GP, ComfyUI or A1111 "
    "(mp4, PNG, WebP, JSON, text): its settings come back. The file stays on your device."
)
TYPES = "video/mp4,image/png,image/webp,image/jpeg,application/json,text/plain,text/csv,.json,.csv,.txt"
WORDS = "Settings from a file"
FILE_NAME = "wan-settings.json"


def button() -> str:
    """A file box that looks like a button."""
    words = translate(WORDS)
    box = f'<input type="file" accept="{TYPES}" aria-label="{words}">'
    return f'<label class="button" title="{translate(HINT)}">{words}\n{box}</label>'


def settings_file(settings: Recipe) -> str:
    """The content of a settings file."""
    return recipe.to_comment(shareable(settings), "")


def recipe_in(event: gr.EventData) -> Recipe:
    """The settings in the chosen file.

    Raises:
        InputError: it carries none of this app's.
    """
    return recipe.from_comment(str(getattr(event, "settings", "")))


def axes_in(event: gr.EventData) -> str:
    """The axes of a grid in the chosen file, as text; empty without."""
    return str(getattr(event, "explore", "") or "")


def is_grid(event: gr.EventData) -> bool:
    """Whether the file is an exported grid, not a clip."""
    return bool(getattr(event, "grid", False))


def has_axes_alone(event: gr.EventData) -> bool:
    return bool(axes_in(event)) and not getattr(event, "settings", "")


def changes(event: gr.EventData, kept: Recipe) -> str:
    """A sentence on the values that did not fit into this app's limits; empty if all did."""
    said = json.loads(str(getattr(event, "settings", "")))["request"]
    moved = [_moved(name, said[name], kept.values.get(name)) for name in said if name in IMAGE_TO_VIDEO.fields]
    words = [each for each in moved if each]
    return translate("Outside this app's limits: {changes}.", changes="; ".join(words)) if words else ""


def _moved(name: str, said: Any, kept: Any) -> str:
    if said == kept or said is None or name in IMAGE_TO_VIDEO.picture_fields:
        return ""
    facts = {"field": title_of(name), "said": str(said)[:40]}
    if kept is None:
        return translate("{field} {said} is left out", **facts)
    return translate("{field} {said} became {kept}", **facts, kept=kept)
