"""The editors of the three axes: what to vary, its values as text and as chips, the fault at its own field."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.components import Component

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.explore.axes import Axis, AxisValue, knobs, read_axis
from wan_core.explore.definition import AxisText, Definition
from wan_core.explore.values import write
from wan_core.files import UPLOADED
from wan_core.intake.formats import FORMATS
from wan_core.ui.buttons import click_js, clicked
from wan_core.ui.languages import translate, translate_made

ROLES = ("Columns", "Rows", "Pages")
VALUES_OF = ("Values of the columns", "Values of the rows", "Values of the pages")
NOTHING = ""
ADD_PICTURES = "Add pictures"
SKIP, SKIPPED = "Press to skip it", "Skipped: press to take it in"
VALUES_HELP = "1, 3.5, 7 · 2..40 step 6 · 1-10 [4] · seeds: 4 · SKIP: 7 · texts one a line"


@dataclass(frozen=True)
class AxisEditor:
    """`add`: pictures from the visitor's disk, where the knob takes pictures. `shown`: chips, or what is wrong."""

    knob: gr.Dropdown
    values: gr.Textbox
    add: gr.UploadButton
    shown: gr.HTML

    @property
    def parts(self) -> tuple[Component, ...]:
        return self.knob, self.values, self.add, self.shown


def build_axis(number: int, opening: AxisText | None) -> AxisEditor:
    choices = [("—", NOTHING), *((translate(knob.title), name) for name, knob in knobs().items())]
    with gr.Row(elem_classes="axis", elem_id=f"axis-{number}"):
        knob = gr.Dropdown(
            choices,
            value=opening.name if opening else NOTHING,
            label=translate(ROLES[number]),
            elem_id=f"axis-knob-{number}",
            scale=3,
            min_width=220,
        )
        values = gr.Textbox(
            opening.text if opening else "",
            label=translate(VALUES_OF[number]),
            info=translate(VALUES_HELP) if number == 0 else None,
            lines=1,
            max_lines=6,
            max_length=20_000,
            elem_id=f"axis-values-{number}",
            scale=3,
            min_width=160,
        )
    add = gr.UploadButton(
        translate(ADD_PICTURES),
        visible=bool(opening and takes_pictures(opening.name)),
        file_count="multiple",
        file_types=["image", *(f".{format.suffix}" for format in FORMATS)],
        elem_id=f"axis-add-{number}",
        size="sm",
        elem_classes="axis-add",
    )
    shown = gr.HTML(
        chips(opening.name, opening.text) if opening else "",
        elem_id=f"axis-chips-{number}",
        elem_classes="axis-chips",
        js_on_load=click_js("value"),
    )
    return AxisEditor(knob, values, add, shown)


def takes_pictures(name: str) -> bool:
    return name in IMAGE_TO_VIDEO.picture_fields


def chips(name: str, text: str) -> str:
    """The values as buttons: a press skips one, or takes it back in. Or what is wrong with them."""
    if not name:
        return ""
    try:
        axis = read_axis(name, text)
    except InputError as error:
        return f'<p class="fault" role="alert">{escape(translate_made(error.message))}</p>'
    buttons = "".join(
        f'<button type="button" data-value="{number}" aria-pressed="{str(not value.skipped).lower()}" '
        f'title="{translate(SKIPPED if value.skipped else SKIP)}">'
        f"{_thumbnail(value)}{escape(_shorten(translate(value.text)))}</button>"
        for number, value in enumerate(axis.values)
    )
    name = escape(translate("Values of {setting}", setting=translate(axis.knob.title)))
    return f'<div class="chips" role="group" aria-label="{name}">{buttons}</div>'


def _thumbnail(value: AxisValue) -> str:
    if not value.written.startswith(UPLOADED):
        return ""
    return f'<img data-src="cdn/files/{quote(value.written.removeprefix(UPLOADED), safe="")}" alt="">'


def toggled(name: str, text: str, event: gr.EventData) -> str:
    """The text with the pressed value skipped, or taken back in."""
    number = clicked(event, "value")
    try:
        axis = read_axis(name or "", text)
    except InputError:
        return text
    return write(
        [replace(value.typed, skipped=value.skipped != (number == str(at))) for at, value in enumerate(axis.values)],
        lines=axis.knob.kind == "lines",
    )


def suggested(name: str) -> str:
    return knobs()[name].suggested if name in knobs() else ""


def definition_of(values: Sequence[Any], *, scout: bool) -> Definition:
    """`values`: knob and text of each axis in turn; axes without a knob are left out."""
    pairs = zip(values[0::2], values[1::2], strict=True)
    return Definition(tuple(AxisText(str(name), str(text or "")) for name, text in pairs if name), scout)


def show(editors: Sequence[AxisEditor], definition: Definition) -> dict[Component, Any]:
    """The output of an event that sets the axes."""
    shown: dict[Component, Any] = {}
    for number, editor in enumerate(editors):
        axis = definition.axes[number] if number < len(definition.axes) else AxisText(NOTHING, "")
        shown |= {editor.knob: axis.name, editor.values: axis.text, editor.shown: chips(axis.name, axis.text)}
        shown[editor.add] = gr.update(visible=takes_pictures(axis.name))
    return shown


def faultless(definition: Definition) -> list[Axis] | None:
    """The axes, or `None` while one has a fault, which stands at its field."""
    try:
        return definition.read_axes()
    except InputError:
        return None


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39].rstrip()}…"
