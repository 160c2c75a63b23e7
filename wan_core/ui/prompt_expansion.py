"""Expands the prompt in its box, shows what changed, and offers an Undo."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core.errors import InputError
from wan_core.prompting import difference
from wan_core.ui.controls import Form
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.pictures import picture_source

Expand = Callable[[str | Path, str], Awaitable[tuple[str, str]]]
"""A picture (upload or address) and a prompt → the new prompt, and a note if it is unchanged."""
NO_PICTURE = "Add a picture first: the prompt is written for what it shows."
TAGS = {"same": "span", "removed": "del", "added": "ins"}


@dataclass(frozen=True)
class ExpansionControls:
    """`before` holds the prompt for Undo."""

    expand: gr.Button
    undo: gr.Button
    changes: gr.HTML
    before: gr.State


def build_prompt_expansion(*, visible: bool) -> ExpansionControls:
    with gr.Row(elem_classes="not-in-embed", visible=visible):
        expand = gr.Button(translate("Expand the prompt"), size="sm", elem_id="expand")
        undo = gr.Button(translate("Undo"), size="sm", elem_id="undo-expand", visible=False)
    return ExpansionControls(expand, undo, gr.HTML(elem_id="prompt-changes", elem_classes="not-in-embed"), gr.State(""))


def connect_prompt_expansion(parts: ExpansionControls, form: Form, expand: Expand) -> None:
    prompt = form["prompt"]

    async def rewrite(picture: str | None, image_url: str, words: str) -> dict[Component, Any]:
        with as_gradio_error():
            source = picture_source(picture, image_url)
            if source is None:
                raise InputError("image_url", "missing", NO_PICTURE)
            new, note = await expand(source, words)
            return {
                prompt: new,
                parts.before: words,
                parts.changes: changes(words, new, note),
                parts.undo: gr.update(visible=new != words),
            }

    def undo(before: str) -> dict[Component, Any]:
        return {prompt: before, parts.changes: "", parts.undo: gr.update(visible=False)}

    quiet: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
    outputs = [prompt, parts.before, parts.changes, parts.undo]
    parts.expand.click(
        rewrite, [form["picture"], form["image_url"], prompt], outputs, show_progress_on=[prompt], **quiet
    )
    parts.undo.click(undo, [parts.before], [prompt, parts.changes, parts.undo], show_progress="hidden", **quiet)


def changes(before: str, after: str, note: str) -> str:
    """The words removed and added, or why there are none."""
    if note or before == after:
        said = translate_made(note) if note else translate("The prompt is unchanged.")
        return f'<p class="small note">{escape(said)}</p>'
    words = "".join(
        f"<{TAGS[part.change]}>{escape(part.words)}</{TAGS[part.change]}>" for part in difference(before, after)
    )
    return f'<p class="small changes">{words}</p>'
