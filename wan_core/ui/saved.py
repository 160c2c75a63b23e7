"""Restores the settings in a saved mp4 or a settings file. The browser reads the text; nothing is uploaded."""

import gradio as gr

from wan_core import recipe
from wan_core.recipe import Recipe
from wan_core.ui.links import shareable

RESTORE_JS = """
element.addEventListener('change', async event => {
  const [file] = event.target.files;
  event.target.value = '';
  if (file) trigger('upload', {settings: await wan.settingsIn(file)});
});
"""
HINT = "Choose or drop an mp4 or a settings file of this app: its settings come back. The file stays on your device."
BUTTON = f"""<label class="button" title="{HINT}">Settings from a file
<input type="file" accept="video/mp4,application/json,.json" aria-label="Settings from a file"></label>"""
FILE_NAME = "wan-settings.json"


def settings_file(settings: Recipe) -> str:
    """The content of a settings file."""
    return recipe.to_comment(shareable(settings), "")


def recipe_in(event: gr.EventData) -> Recipe:
    """The settings in the chosen file.

    Raises:
        InputError: it carries none of this app's.
    """
    return recipe.from_comment(str(getattr(event, "settings", "")))
