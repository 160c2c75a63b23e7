"""A component for each field of the schema, and the page's form.

Labels, help texts, bounds, choices and defaults come from the schema.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core import prompting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.schema import ImageToVideoInput
from wan_core.ui.languages import translate
from wan_core.ui.numbers import NumberSlider

PICTURE_IS_UPLOADED = "uploaded"  # stands in a picture field where the picture came as a file
PICTURE_DETAIL = "Detail from the picture"
UPLOAD_BOXES = {
    "image_url": "picture",
    "end_image_url": "end_picture",
}  # the box beside each picture field, by its name in the form
PLACEHOLDERS = {
    "seed": "random",
    "image_url": "https://…",
    "end_image_url": "https://…",
    "prompt": f"What moves, and how the camera moves. {prompting.MOTION_NOTE}",
}


def control(field: str, value: object = None, **options: Any) -> Component:
    """The component of a request field, with fal's default unless `value` is given."""
    facts = IMAGE_TO_VIDEO.fields[field]
    default = IMAGE_TO_VIDEO.defaults.get(field)
    shared: dict[str, Any] = {
        "value": default if value is None else value,
        "label": translate(facts.title or field),
        "info": facts.description and translate(facts.description),
        "elem_id": field,
    } | options
    limits = IMAGE_TO_VIDEO.bounds(field)
    if IMAGE_TO_VIDEO.choices(field):
        words = [(translate(word), word) for word in IMAGE_TO_VIDEO.choices(field)]
        return gr.Radio(words, **shared)
    if facts.annotation is bool:
        return gr.Checkbox(**shared)
    if limits and default is not None:
        return NumberSlider(limits[0], limits[1], step=1 if IMAGE_TO_VIDEO.is_whole(field) else 0.1, **shared)
    hint = PLACEHOLDERS.get(field)
    return gr.Textbox(**{"placeholder": hint and translate(hint), "max_lines": 1} | shared)


class Form:
    """The inputs of the page by name: the endpoint's fields, and `picture`, `end_picture`, `engine`, `where`,
    `prompt_in_file`, `picture_detail`."""

    def __init__(self) -> None:
        self._inputs: dict[str, Component] = {}
        self.locked: frozenset[str] = frozenset()
        """Set by the host: no event writes them."""

    def __getitem__(self, name: str) -> Any:  # Gradio adds the event methods at run time
        return self._inputs[name]

    def add(self, name: str, component: Component) -> Component:
        self._inputs[name] = component
        return component

    @property
    def names(self) -> list[str]:
        return list(self._inputs)

    @property
    def inputs(self) -> list[Any]:
        return list(self._inputs.values())

    @property
    def changes(self) -> list[Any]:
        """The event of each input that tells of another value."""
        return [getattr(component, "chosen", component).change for component in self.inputs]

    def read(self, values: Sequence[object]) -> dict[str, Any]:
        """The values of an event over `inputs`, by name.

        Raises:
            InputError: nothing is chosen where the page always has a choice.
        """
        given = dict(zip(self._inputs, values, strict=True))
        for name in ("engine", "where"):
            if given[name] is None:
                raise InputError(
                    name, "missing", translate("{field}: choose one.", field=translate(str(self._inputs[name].label)))
                )
        return given

    def show(self, values: Mapping[str, object]) -> dict[Component, Any]:
        """The output of an event that sets these inputs; names that are no input are dropped."""
        return {
            self._inputs[name]: to_component_value(name, value)
            for name, value in values.items()
            if name in self._inputs and name not in self.locked
        }


def to_component_value(name: str, value: object) -> object:
    if value is None and name in IMAGE_TO_VIDEO.fields:
        return ""
    return str(value) if name == "seed" else value


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request fields among the form's values, ready for `parse`."""
    fields = {name: values[name] for name in IMAGE_TO_VIDEO.fields if name in values}
    fields["seed"] = str(fields.get("seed") or "").strip() or None
    for name, box in UPLOAD_BOXES.items():
        address = str(fields.get(name) or "").strip()
        fields[name] = address or (PICTURE_IS_UPLOADED if values.get(box) else IMAGE_TO_VIDEO.defaults.get(name, ""))
    return fields


def uploads_of(values: Mapping[str, Any]) -> dict[str, Path]:
    """Uploaded files by picture field."""
    return {name: Path(values[box]) for name, box in UPLOAD_BOXES.items() if values.get(box)}


def request_of(values: Mapping[str, Any]) -> ImageToVideoInput:
    """The request of the form.

    Raises:
        InputError: the first fault; the rest in `.others`.
    """
    return IMAGE_TO_VIDEO.parse(fields_of(values))


def draft_of(values: Mapping[str, Any]) -> ImageToVideoInput:
    """As `request_of`, but picture and prompt may be missing."""
    fields = fields_of(values)
    return IMAGE_TO_VIDEO.parse(
        fields | {"image_url": fields["image_url"] or PICTURE_IS_UPLOADED, "prompt": fields.get("prompt") or "…"}
    )
