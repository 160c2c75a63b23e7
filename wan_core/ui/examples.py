"""The four examples: three pictures of our own, and the dragon of fal's documentation, fetched on use."""

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from wan_core.presets import presets
from wan_core.schema import EXAMPLE_IMAGE_URL, EXAMPLE_PROMPT
from wan_core.ui.buttons import clicked
from wan_core.ui.languages import translate
from wan_core.ui.names import in_a_sentence

FOLDER = Path(__file__).parents[2] / "examples"
THUMBNAILS = FOLDER / "thumbnails"
CLIPS = FOLDER / "clips"
CLIP_PRESET = "miniature"  # of the clips that `examples/make_clips.py` makes


@dataclass(frozen=True)
class Example:
    """A picture (a file in `examples/` or an address) with a prompt, its camera move and a preset."""

    title: str
    prompt: str
    move: str
    preset: str
    picture: str | None = None
    image_url: str = ""

    @property
    def path(self) -> Path | None:
        return FOLDER / self.picture if self.picture else None

    @property
    def clip(self) -> Path | None:
        """Its finished clip, made by the miniature."""
        return CLIPS / f"{self.path.stem}.mp4" if self.path else None

    @property
    def clip_words(self) -> str:
        preset = presets()[CLIP_PRESET]
        engine = in_a_sentence(preset)
        steps = translate("{n} steps", n=preset.complete["num_inference_steps"])
        return ", ".join((translate(self.title), translate(self.move), engine, steps))


EXAMPLES = (
    Example("Lighthouse", "The camera quickly pushes in towards the lighthouse.", "push in", "draft", "lighthouse.jpg"),
    Example("Mountain lake", "The camera quickly pans right across the lake.", "pan right", "draft", "lake.jpg"),
    Example("Paper lantern", "The camera quickly tilts up.", "tilt up", "draft", "lantern.jpg"),
    Example("Dragon warrior (from fal's page)", EXAMPLE_PROMPT, "", "draft", None, EXAMPLE_IMAGE_URL),
)


def gallery() -> str:
    buttons = "".join(_button(number, example) for number, example in enumerate(EXAMPLES))
    return f'<div class="examples" role="group" aria-label="{translate("Examples")}">{buttons}</div>'


def chosen_example(event: gr.EventData) -> Example | None:
    number = clicked(event, "example")
    return EXAMPLES[int(number)] if number in map(str, range(len(EXAMPLES))) else None


def _button(number: int, example: Example) -> str:
    picture = '<span class="fetched">↓</span>'
    if example.picture:
        still = f'<img src="{_thumbnail(example.picture)}" alt="">'
        picture = f'<span class="moving">{still}{clip_of(example)}</span>'
    return (
        f'<button type="button" data-example="{number}" title="{escape(example.prompt, quote=True)}">'
        f"{picture}<span>{escape(translate(example.title))}</span></button>"
    )


def clip_of(example: Example) -> str:
    """Its clip as a video, muted and not loaded before it plays; empty without one."""
    if example.clip is None:
        return ""
    return (
        f'<video src="examples/{example.clip.name}" muted loop playsinline preload="none" tabindex="-1" '
        f'aria-label="{escape(example.clip_words, quote=True)}"></video>'
    )


def _thumbnail(name: str) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode((THUMBNAILS / name).read_bytes()).decode()}"
