"""A sweep as text: in the address (`?explore=…`), a clip's recipe, exported files. Untrusted when read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wan_core.errors import InputError
from wan_core.explore.axes import MAX_AXES, Axis, knobs, read_axis

MAX_AXIS_CHARS = 20_000


@dataclass(frozen=True)
class AxisText:
    """Values as typed."""

    name: str
    text: str


@dataclass(frozen=True)
class Definition:
    """Columns, rows and pages. All else is in the settings."""

    axes: tuple[AxisText, ...] = ()
    scout: bool = True

    def read_axes(self, first_seed: int = 0) -> list[Axis]:
        """Raises InputError at the first fault."""
        return [read_axis(axis.name, axis.text, first_seed=first_seed) for axis in self.axes]


OPENING = Definition((AxisText("num_inference_steps", "4, 8, 16"), AxisText("guidance_scale", "1, 3.5, 6")))


def to_text(definition: Definition) -> str:
    plain = {"axes": [[axis.name, axis.text] for axis in definition.axes], "scout": definition.scout}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def from_text(text: str) -> Definition | None:
    """`None` if it is none; unknown knobs are left out."""
    try:
        return of_plain(json.loads(text))
    except (ValueError, RecursionError):
        return None


def of_plain(plain: Any) -> Definition | None:
    axes = plain.get("axes") if isinstance(plain, dict) else None
    if not isinstance(axes, list):
        return None
    pairs = [
        pair for pair in axes if isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
    ]
    known = [AxisText(name, text[:MAX_AXIS_CHARS]) for name, text in pairs if name in knobs()]
    return Definition(tuple(known[:MAX_AXES]), plain.get("scout") is not False)


def from_named_axes(axes: Any, *, scout: bool) -> Definition:
    """From `{"guidance_scale": "1, 3.5, 6"}`, or lists of values. Raises InputError for anything else."""
    if not isinstance(axes, dict) or not axes:
        raise InputError("axes", "type_error", 'axes must be an object like {"shift": "2, 5, 8"}.')
    texts = [AxisText(str(name), _joined(str(name), values)) for name, values in axes.items()]
    return Definition(tuple(texts), scout)


def _joined(name: str, values: object) -> str:
    if isinstance(values, Sequence) and not isinstance(values, str):
        knob = knobs().get(name)
        between = "\n" if knob is not None and knob.kind == "lines" else ", "
        return between.join(_word(value) for value in values)
    return _word(values)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
