"""The endpoints this app serves: each one declaration over the models of `schema.py`.

Everything that asks for a field's default, bounds, choices or help asks an `Endpoint`: the page, the HTTP routes,
OpenAPI, MCP, presets, share links, the call to fal, the README table and the tests. Knows no job and no page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from wan_core.errors import InputError
from wan_core.schema import MAX_ADDRESS_CHARS, ImageToVideoInput, ImageToVideoOutput, IsPicture, Resolution

EMPTY_TEXT = {
    "image_url": "is empty: give the web address of a picture, or a data URI.",
    "prompt": "is empty: say what should move, or turn prompt expansion on to have one written from the picture.",
}


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One of fal's endpoints.

    `inputs` are the fields it offers, `fixed` the values of those of `ImageToVideoInput` that it does not offer.
    `engine` is the profile that serves it, `None` the machine's own. fal's price is per 16 frames, by resolution.
    """

    id: str
    inputs: type[BaseModel]
    output: type[BaseModel]
    dollars_per_video_second: Mapping[Resolution, float]
    engine: str | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)

    @property
    def app(self) -> str:
        """fal's name for the app of the endpoint: status, result and cancel are asked for there."""
        return "/".join(self.id.split("/")[:2])

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """The fields by name, in fal's order."""
        return self.inputs.model_fields

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The default of every field that has one."""
        return {name: facts.default for name, facts in self.fields.items() if not facts.is_required()}

    @cached_property
    def picture_fields(self) -> tuple[str, ...]:
        """The fields that hold a picture."""
        return tuple(name for name, facts in self.fields.items() if IsPicture() in facts.metadata)

    @cached_property
    def json_schema(self) -> Mapping[str, Any]:
        return self.inputs.model_json_schema()

    def parse(self, values: object) -> ImageToVideoInput:
        """The request that `values` describe; else the `InputError` of the first fault, the rest in `.others`."""
        try:
            inputs = self.inputs.model_validate(values)
        except ValidationError as error:
            first, *others = (self._input_error(fault) for fault in error.errors(include_url=False))
            first.others = tuple(others)
            raise first from None
        if isinstance(inputs, ImageToVideoInput):
            return inputs
        return ImageToVideoInput.model_validate({**self.fixed, **inputs.model_dump()})

    def choices(self, name: str) -> tuple[str, ...]:
        """The words an enum field allows, in fal's order; empty for the other fields."""
        annotation = self.fields[name].annotation
        return get_args(annotation) if get_origin(annotation) is Literal else ()

    def bounds(self, name: str) -> tuple[float, float] | None:
        """Smallest and largest value of a number field, both allowed; `None` for the other fields."""
        facts = self._number_facts(name)
        return (facts["minimum"], facts["maximum"]) if facts else None

    def is_whole(self, name: str) -> bool:
        """Whether a number field takes whole numbers only."""
        return self._number_facts(name).get("type") == "integer"

    def is_flag(self, name: str) -> bool:
        """Whether a field is true or false."""
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
        return InputError(name, fault["type"], f"{name} {self._advice(name, fault)}", context)

    def _advice(self, name: str, fault: ErrorDetails) -> str:
        """What is wrong with a value and what would be right: the rest of a sentence that starts with the field."""
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


def _quote(value: object) -> str:
    """A short, single-line, harmless form of what a visitor sent."""
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number with too many digits"
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    return ascii(value)[:40]


IMAGE_TO_VIDEO = Endpoint(
    "fal-ai/wan/v2.2-a14b/image-to-video",
    ImageToVideoInput,
    ImageToVideoOutput,
    dollars_per_video_second={"480p": 0.04, "580p": 0.06, "720p": 0.08},
)
"""Source: https://fal.ai/models/fal-ai/wan/v2.2-a14b/image-to-video (its API page and its price)."""

ENDPOINTS: Mapping[str, Endpoint] = {endpoint.id: endpoint for endpoint in (IMAGE_TO_VIDEO,)}
"""All endpoints by id. The first is the page's."""
