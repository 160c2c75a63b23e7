"""The four examples: three pictures of our own, and the dragon of fal's documentation, fetched on use."""

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from wan_core.schema import EXAMPLE_IMAGE_URL, EXAMPLE_PROMPT
from wan_core.ui.buttons import clicked

FOLDER = Path(__file__).parents[2] / "examples"
THUMBNAILS = FOLDER / "thumbnails"


@dataclass(frozen=True)
class Example:
    """A picture (a file in `examples/` or an address) with a prompt and a preset."""

    title: str
    prompt: str
    preset: str
    picture: str | None = None
    image_url: str = ""

    @property
    def path(self) -> Path | None:
        return FOLDER / self.picture if self.picture else None


EXAMPLES = (
    Example("Lighthouse", "The camera slowly pushes in towards the lighthouse.", "draft", "lighthouse.jpg"),
    Example("Mountain lake", "The camera pans right across the lake.", "draft", "lake.jpg"),
    Example("Paper lantern", "The camera tilts up.", "draft", "lantern.jpg"),
    Example("Dragon warrior (from fal's page)", EXAMPLE_PROMPT, "draft", None, EXAMPLE_IMAGE_URL),
)


def gallery() -> str:
    buttons = "".join(_button(number, example) for number, example in enumerate(EXAMPLES))
    return f'<div class="examples" role="group" aria-label="Examples">{buttons}</div>'


def chosen_example(event: gr.EventData) -> Example | None:
    number = clicked(event, "example")
    return EXAMPLES[int(number)] if number in map(str, range(len(EXAMPLES))) else None


def _button(number: int, example: Example) -> str:
    picture = (
        f'<img src="{_thumbnail(example.picture)}" alt="">' if example.picture else '<span class="fetched">↓</span>'
    )
    return (
        f'<button type="button" data-example="{number}" title="{escape(example.prompt, quote=True)}">'
        f"{picture}<span>{escape(example.title)}</span></button>"
    )


def _thumbnail(name: str) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode((THUMBNAILS / name).read_bytes()).decode()}"
