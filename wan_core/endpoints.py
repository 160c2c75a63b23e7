"""The served endpoints, each declared once over the models of `schema.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from wan_core.errors import InputError
from wan_core.schema import (
    MAX_ADDRESS_CHARS,
    ImageToVideoInput,
    ImageToVideoOutput,
    ImageToVideoTurboInput,
    IsPicture,
    Resolution,
)

EMPTY_TEXT = {
    "image_url": "is empty: give the web address of a picture, or a data URI.",
    "prompt": "is empty: say what should move, or turn prompt expansion on to have one written from the picture.",
}


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One of fal's endpoints.

    `fixed`: the `ImageToVideoInput` fields that `inputs` lacks. `engine`: `None` for the machine's own. `dollars`:
    fal's price for 16 frames, or for a whole video.
    """

    id: str
    inputs: type[BaseModel]
    output: type[BaseModel]
    dollars: Mapping[Resolution, float]
    dollars_per: Literal["second", "video"] = "second"
    engine: str | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)

    @property
    def app(self) -> str:
        """In fal's addresses for status, result and cancel."""
        return "/".join(self.id.split("/")[:2])

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        return self.inputs.model_fields

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        return {name: facts.default for name, facts in self.fields.items() if not facts.is_required()}

    @cached_property
    def picture_fields(self) -> tuple[str, ...]:
        return tuple(name for name, facts in self.fields.items() if _is_picture(facts))

    @cached_property
    def json_schema(self) -> Mapping[str, Any]:
        return self.inputs.model_json_schema()

    def parse(self, values: object, fixed: Mapping[str, object] | None = None) -> ImageToVideoInput:
        """`fixed` counts more than the endpoint's own.

        Raises:
            InputError: the first fault; the rest are in `.others`.
        """
        try:
            inputs = self.inputs.model_validate(values)
            if isinstance(inputs, ImageToVideoInput):
                return inputs
            return ImageToVideoInput.model_validate({**self.fixed, **(fixed or {}), **inputs.model_dump()})
        except ValidationError as error:
            first, *others = (self._input_error(fault) for fault in error.errors(include_url=False))
            first.others = tuple(others)
            raise first from None

    def choices(self, name: str) -> tuple[str, ...]:
        """Of an enum field, in fal's order; empty for others."""
        annotation = self.fields[name].annotation
        return get_args(annotation) if get_origin(annotation) is Literal else ()

    def bounds(self, name: str) -> tuple[float, float] | None:
        """Of a number field, inclusive; `None` for others."""
        facts = self._number_facts(name)
        return (facts["minimum"], facts["maximum"]) if facts else None

    def is_whole(self, name: str) -> bool:
        return self._number_facts(name).get("type") == "integer"

    def is_flag(self, name: str) -> bool:
        return self.fields[name].annotation is bool

    def _number_facts(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.json_schema["properties"][name]
        facts = facts.get("anyOf", [facts])[0]
        return facts if facts["type"] in ("integer", "number") else {}

    def _input_error(self, fault: ErrorDetails) -> InputError:
        name = str(fault["loc"][0]) if fault["loc"] else "body" if fault["type"] == "model_type" else "prompt"
        context = {key: limit for key, limit in fault.get("ctx", {}).items() if key != "error"}
        if name not in self.fields:
            return InputError("body", fault["type"], "The request must be a JSON object with fal's fields.")
        if fault["type"] == "literal_error":  # fal's word, with its context
            expected = {"expected": list(self.choices(name))}
            return InputError(name, "one_of", f"{name} {self._advice(name, fault)}", expected)
        return InputError(name, fault["type"], f"{name} {self._advice(name, fault)}", context)

    def _advice(self, name: str, fault: ErrorDetails) -> str:
        """The rest of a sentence that starts with the field's name."""
        limits, words = self.bounds(name), self.choices(name)
        if fault["type"] == "missing":
            return "is required."
        if fault["type"] == "string_too_short":
            return EMPTY_TEXT.get(name, "is empty.")
        if limits:
            kind = "a whole number" if self.is_whole(name) else "a number"
            return f"must be {kind} from {limits[0]:g} to {limits[1]:.0f}; you sent {_quote(fault['input'])}."
        if words:
            return f"must be one of {', '.join(words)}; you sent {_quote(fault['input'])}."
        if fault["type"] == "string_too_long":
            unless = " unless it is a data URI" if fault["ctx"]["max_length"] == MAX_ADDRESS_CHARS else ""
            most = f"{fault['ctx']['max_length']:,} characters{unless}"
            return f"may have at most {most}; yours has {len(fault['input']):,}."
        if fault["type"] == "string_unicode":
            return "contains a broken character (half of a surrogate pair); send valid Unicode text."
        if self.is_flag(name):
            return f"must be true or false; you sent {_quote(fault['input'])}."
        return f"must be a text; you sent {_quote(fault['input'])}."


def _is_picture(facts: FieldInfo) -> bool:
    """An optional field has the mark on a part of its type."""
    parts = [part for option in get_args(facts.annotation) for part in get_args(option)]
    return IsPicture() in [*facts.metadata, *parts]


def _quote(value: object) -> str:
    """One short line of ASCII."""
    if value == "":
        return "nothing"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number with too many digits"
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    return ascii(value)[:40]


IMAGE_TO_VIDEO = Endpoint(
    "fal-ai/wan/v2.2-a14b/image-to-video",
    ImageToVideoInput,
    ImageToVideoOutput,
    dollars={"480p": 0.04, "580p": 0.06, "720p": 0.08},
)
"""Source: https://fal.ai/models/fal-ai/wan/v2.2-a14b/image-to-video (API and price)."""

IMAGE_TO_VIDEO_TURBO = Endpoint(
    "fal-ai/wan/v2.2-a14b/image-to-video/turbo",
    ImageToVideoTurboInput,
    ImageToVideoOutput,
    dollars={"480p": 0.05, "580p": 0.075, "720p": 0.10},
    dollars_per="video",
    engine="a14b-turbo",
    fixed={
        "num_frames": 81,
        "frames_per_second": 16,
        "num_inference_steps": 4,
        "guidance_scale": 1.0,
        "guidance_scale_2": 1.0,
        "shift": 5.0,
        "interpolator_model": "none",
        "num_interpolated_frames": 0,
    },
)
"""Source: https://fal.ai/models/fal-ai/wan/v2.2-a14b/image-to-video/turbo (API, price); sampling as the LoRAs ask."""

ENDPOINTS: Mapping[str, Endpoint] = {endpoint.id: endpoint for endpoint in (IMAGE_TO_VIDEO, IMAGE_TO_VIDEO_TURBO)}
"""The first is the page's."""
