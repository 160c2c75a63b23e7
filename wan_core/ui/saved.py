"""A clip that somebody saved: its mp4 carries the settings, and choosing or dropping the file brings them back.

The browser reads the text out of the file, so no clip is uploaded; `recipe` judges what stands in it.
"""

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
    """The settings in the clip that was chosen.

    Raises:
        InputError: it is none of this app's, or came without its settings.
    """
    return recipe.from_comment(str(getattr(event, "comment", "")))
