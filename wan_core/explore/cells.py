"""Axes → cells: every combination as a request, or the reason why it is not made. Knows no jobs and no machine.

In reading order: page by page, row by row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.explore.axes import ENGINE, PICTURES, PROMPT_WORDS, Axis, refuse_shared_fields
from wan_core.explore.effects import before_finishing, effective
from wan_core.explore.prompt_words import put_in
from wan_core.explore.scout import scout_changes
from wan_core.schema import ImageToVideoInput

MOST_CELLS = 400  # of a plan; hosts allow fewer
SHORT_LABEL = 48
CellState = Literal["make", "skipped", "same", "fault"]
SKIPPED = "Skipped."
SAME = "The same clip as “{label}”: what differs has no effect here."


@dataclass(frozen=True)
class Shape:
    columns: int = 1
    rows: int = 1
    pages: int = 1

    @property
    def lengths(self) -> tuple[int, int, int]:
        return self.columns, self.rows, self.pages

    @property
    def cells(self) -> int:
        return self.columns * self.rows * self.pages


@dataclass(frozen=True)
class Cell:
    """`inputs` and `engine` are there unless `state` is "fault". `why`: a sentence, unless it is made.

    `same_as`: index of the cell with the same clip; `reuses`: with the same raw frames.
    """

    place: tuple[int, int, int]
    label: str
    state: CellState = "make"
    inputs: ImageToVideoInput | None = None
    engine: str = ""
    why: str = ""
    same_as: int | None = None
    reuses: int | None = None


@dataclass(frozen=True)
class Plan:
    """`scouted`: what Scout changes."""

    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    scouted: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def shape(self) -> Shape:
        return shape_of(self.axes)

    @property
    def made(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.state == "make"]


def shape_of(axes: Sequence[Axis]) -> Shape:
    return Shape(*(len(axis.values) for axis in axes))


def plan(base: Mapping[str, Any], engine: str, axes: Sequence[Axis], *, scout: bool = False) -> Plan:
    """Every combination of the values of `axes` over `base`.

    Raises:
        InputError: too many axes or cells, or one knob twice.
    """
    refuse_shared_fields(axes)
    shape = shape_of(axes)
    if shape.cells > MOST_CELLS:
        sentence = f"This would be {shape.cells} cells; a sweep has at most {MOST_CELLS}. Give fewer values."
        raise InputError("explore", "too_long", sentence)
    on_axes = {name for axis in axes for name in axis.fields}
    scouted = scout_changes(base, on_axes) if scout else {}
    labels = [_labels(axis) for axis in axes]
    lengths = shape.lengths
    cells: list[Cell] = []
    seen: set[str] = set()
    for page, row, column in product(*(range(length) for length in reversed(lengths))):
        at = (column, row, page)[: len(axes)]
        chosen = [axis.values[number] for axis, number in zip(axes, at, strict=True)]
        label = " · ".join(names[number] for names, number in zip(labels, at, strict=True)) or "As it stands"
        label = label if label not in seen else f"{label} ({len(cells) + 1})"
        seen.add(label)
        cell = Cell((column, row, page), label)
        changes = [value.changes for value in chosen]
        cell = _filled(cell, {**base, **scouted}, engine, axes, changes)
        if any(value.skipped for value in chosen):
            cell = replace(cell, state="skipped", why=SKIPPED)
        cells.append(cell)
    return Plan(tuple(axes), tuple(_shared(cells)), scouted)


def _filled(
    cell: Cell, base: Mapping[str, Any], engine: str, axes: Sequence[Axis], changes: Sequence[Mapping[str, Any]]
) -> Cell:
    """With its request, or the first fault. A single field wins over the preset of another axis."""
    values: dict[str, Any] = {**base, ENGINE: engine}
    for change in sorted(changes, key=len, reverse=True):
        values |= change
    try:
        if PROMPT_WORDS in values:
            axis = next(axis for axis in axes if axis.knob.name == PROMPT_WORDS)
            words = [value.text for value in axis.values]
            values["prompt"] = put_in(str(values.get("prompt", "")), words, values[PROMPT_WORDS])
        return replace(cell, inputs=IMAGE_TO_VIDEO.parse(values), engine=str(values[ENGINE]))
    except InputError as error:
        return replace(cell, state="fault", why=error.message)


def _shared(cells: Sequence[Cell]) -> list[Cell]:
    clips: dict[str, int] = {}
    frames: dict[str, int] = {}
    found: list[Cell] = []
    for index, cell in enumerate(cells):
        inputs = cell.inputs
        if cell.state != "make" or inputs is None:
            found.append(cell)
            continue
        first = clips.setdefault(_key(effective(inputs), cell.engine), index)
        source = index
        if not inputs.enable_prompt_expansion:
            source = frames.setdefault(_key(before_finishing(inputs), cell.engine), index)
        if first != index:
            found.append(replace(cell, state="same", same_as=first, why=SAME.format(label=cells[first].label)))
        else:
            found.append(cell if source == index else replace(cell, reuses=source))
    return found


def _key(values: Mapping[str, Any], engine: str) -> str:
    return json.dumps([engine, values], sort_keys=True, default=str)


def _labels(axis: Axis) -> list[str]:
    """`Shift 5`, one for each value; long texts are cut, and numbered where that made them equal."""
    labels: list[str] = []
    for value in axis.values:
        text = " ".join(value.text.split()) or "empty"
        text = text if len(text) <= SHORT_LABEL else f"{text[: SHORT_LABEL - 1].rstrip()}…"
        label = f"{axis.knob.title} {text}" if axis.knob.kind != "lines" or axis.knob.name in PICTURES else text
        labels.append(label if label not in labels else f"{label} ({len(labels) + 1})")
    return labels
