"""What can be on an axis: every field, engine, preset, and words of the prompt. The schema alone judges the values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.explore.values import MAX_VALUES, TooManyValues, Typed, read_lines, read_numbers, read_words
from wan_core.files import UPLOADED
from wan_core.presets import presets
from wan_core.profiles import profiles
from wan_core.recipe import PLACEHOLDER

Kind = Literal["numbers", "words", "lines"]
MAX_AXES = 3
ENGINE, PRESET, PROMPT_WORDS = "engine", "preset", "prompt_words"
FLAG_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
SUGGESTED: Mapping[str, str] = {
    "guidance_scale": "1, 3.5, 6",
    "guidance_scale_2": "1, 3.5, 6",
    "shift": "2, 5, 8",
    "num_inference_steps": "4, 8, 16",
    "seed": "seeds: 3",
    "num_frames": "17, 33, 49",
    "frames_per_second": "8, 16, 24",
    "num_interpolated_frames": "0, 1, 3",
    "prompt": "The camera pans left.\nThe camera pans right.\nThe camera slowly pushes in.",
    "negative_prompt": "blurry, low quality\nstatic, motionless",
    PROMPT_WORDS: "left, right, in",
}
"""An enum suggests all of its words."""
PICTURES = {"image_url": "Picture", "end_image_url": "End picture"}


@dataclass(frozen=True)
class Knob:
    """What an axis can be. `words`: values of an enum."""

    name: str
    title: str
    kind: Kind
    words: tuple[str, ...] = ()

    @property
    def suggested(self) -> str:
        return SUGGESTED.get(self.name) or ", ".join(self.words)


@dataclass(frozen=True)
class AxisValue:
    """`text`: the label. `changes`: fields of the request, and `engine`. `written`: as typed, if not as the label."""

    text: str
    changes: Mapping[str, Any] = field(hash=False)
    skipped: bool = False
    written: str = ""

    @property
    def typed(self) -> Typed:
        return Typed(self.written or self.text, self.skipped)


@dataclass(frozen=True)
class Axis:
    knob: Knob
    values: tuple[AxisValue, ...]

    @property
    def fields(self) -> set[str]:
        return {name for value in self.values for name in value.changes}


@cache
def knobs() -> dict[str, Knob]:
    """The fields in fal's order, then engine, preset and prompt words."""
    found = {name: _field_knob(name) for name in IMAGE_TO_VIDEO.fields}
    found[ENGINE] = Knob(ENGINE, "Engine", "words", tuple(profiles()))
    found[PRESET] = Knob(PRESET, "Preset", "words", tuple(presets()))
    found[PROMPT_WORDS] = Knob(PROMPT_WORDS, "Words in the prompt", "words")
    return found


def read_axis(name: str, text: str, *, first_seed: int = 0) -> Axis:
    """A value that comes twice counts once.

    Raises:
        InputError: at `name`: no such knob, no or too many values, or a bad one.
    """
    knob = knobs().get(name)
    if knob is None:
        raise InputError("explore", "enum", f"There is nothing called {name[:40]!r} to vary.")
    values: dict[str, AxisValue] = {}
    for typed in _typed(knob, text, first_seed):
        value = _judge(knob, typed)
        values.setdefault(value.typed.text, value)
    if not values:
        raise InputError(name, "missing", f"{name} needs at least one value.")
    return Axis(knob, tuple(_numbered(list(values.values()))))


def refuse_shared_fields(axes: Sequence[Axis]) -> None:
    """Raises InputError for more than MAX_AXES, or two of one knob."""
    if len(axes) > MAX_AXES:
        raise InputError("explore", "too_long", f"A sweep has at most {MAX_AXES} axes.")
    names = [axis.knob.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(name, "duplicate", f"{name} is on two axes; choose another for one of them.")


def _field_knob(name: str) -> Knob:
    title = PICTURES.get(name) or IMAGE_TO_VIDEO.fields[name].title or name
    if IMAGE_TO_VIDEO.bounds(name):
        return Knob(name, title, "numbers")
    if IMAGE_TO_VIDEO.is_flag(name):
        return Knob(name, title, "words", ("off", "on"))
    words = IMAGE_TO_VIDEO.choices(name)
    return Knob(name, title, "words" if words else "lines", words)


def _typed(knob: Knob, text: str, first_seed: int) -> list[Typed]:
    try:
        if knob.kind == "numbers":
            seed = first_seed if knob.name == "seed" else None
            return read_numbers(text, whole=IMAGE_TO_VIDEO.is_whole(knob.name), first_seed=seed)
        if knob.kind == "lines":
            return read_lines(text)
        if knob.words and text.strip().lower() == "all":
            return [Typed(word) for word in knob.words]
        return read_words(text)
    except TooManyValues:
        sentence = f"{knob.name} may have at most {MAX_VALUES} values on an axis."
        raise InputError(knob.name, "too_long", sentence) from None


def _judge(knob: Knob, typed: Typed) -> AxisValue:
    if knob.name == PROMPT_WORDS:
        return AxisValue(typed.text, {PROMPT_WORDS: typed.text}, typed.skipped)
    if knob.name in (ENGINE, PRESET):
        return _named(knob, typed)
    given: object = typed.text
    if IMAGE_TO_VIDEO.is_flag(knob.name):
        given = FLAG_WORDS.get(typed.text.lower(), typed.text)
    value = getattr(IMAGE_TO_VIDEO.parse(PLACEHOLDER | {knob.name: given}), knob.name)
    written = typed.text if knob.name in IMAGE_TO_VIDEO.picture_fields else ""
    return AxisValue(label_of(value), {knob.name: value}, typed.skipped, written)


def _numbered(values: list[AxisValue]) -> list[AxisValue]:
    """Pictures without an address that a person can read are called by their number."""
    return [
        replace(value, text=f"no. {number}") if value.written.startswith((UPLOADED, "data:")) else value
        for number, value in enumerate(values, 1)
    ]


def _named(knob: Knob, typed: Typed) -> AxisValue:
    """By name or title."""
    titles = {known.title.lower(): name for name, known in (profiles() if knob.name == ENGINE else presets()).items()}
    name = typed.text if typed.text in knob.words else titles.get(typed.text.lower())
    if name is None:
        sentence = f"{knob.name} must be one of {', '.join(knob.words)}; you sent {ascii(typed.text)[:40]}."
        raise InputError(knob.name, "enum", sentence)
    if knob.name == ENGINE:
        return AxisValue(name, {ENGINE: name}, typed.skipped)
    preset = presets()[name]
    return AxisValue(name, preset.complete | ({ENGINE: preset.engine} if preset.engine else {}), typed.skipped)


def label_of(value: object) -> str:
    """As an axis shows it: `3.5`, `on`, `720p`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
