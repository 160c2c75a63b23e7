"""Buttons inside an HTML component: which was clicked. The page's script sends its word along with the click."""

import gradio as gr


def click_js(name: str) -> str:
    """For `js_on_load`: a click on a button with `data-NAME` becomes the component's click, with the word in NAME."""
    return f"""
element.addEventListener('click', event => {{
  const button = event.target.closest('button[data-{name}]');
  if (button && !button.disabled) trigger('click', {{{name}: button.dataset.{name}}});
}});
"""


def clicked(event: gr.EventData, name: str) -> str:
    """The word of the button that was clicked; it comes from the browser, so look it up."""
    return str(getattr(event, name, ""))
