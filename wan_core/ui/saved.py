"""Restores the settings that a saved mp4 carries. The browser reads the text; the clip is not uploaded."""

import gradio as gr

from wan_core import recipe
from wan_core.recipe import Recipe

RESTORE_JS = """
element.addEventListener('change', async event => {
  const [file] = event.target.files;
  event.target.value = '';
  if (file) trigger('upload', {comment: await wan.comment(file)});
});
"""
HINT = "Choose or drop an mp4 of this app: its settings come back. The file stays on your device."
BUTTON = f"""<label class="button" title="{HINT}">Settings from an mp4
<input type="file" accept="video/mp4" aria-label="Settings from an mp4"></label>"""


def recipe_in(event: gr.EventData) -> Recipe:
    """The settings in the chosen file.

    Raises:
        InputError: it carries none of this app's.
    """
    return recipe.from_comment(str(getattr(event, "comment", "")))
