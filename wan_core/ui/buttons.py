"""Buttons inside an HTML component, and which of them was clicked."""

import gradio as gr


def click_js(name: str) -> str:
    """For `js_on_load`: a click on a button with `data-NAME` triggers the component's click event with that value."""
    return f"""
element.addEventListener('click', event => {{
  const button = event.target.closest('button[data-{name}]');
  if (button && !button.disabled) trigger('click', {{{name}: button.dataset.{name}}});
}});
"""


def clicked(event: gr.EventData, name: str) -> str:
    """The value of the clicked button. It comes from the browser: look it up."""
    return str(getattr(event, name, ""))
