"""Axes and cells: as many as the product says, each a request or a fault, labels unique, the same every time."""

from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.jobs import MINIMAL
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.explore.axes import Axis, knobs, read_axis
from wan_core.explore.cells import MOST_CELLS, Plan, plan
from wan_core.explore.definition import AxisText, Definition, from_named_axes, from_text, to_text
from wan_core.explore.order import centre_first
from wan_core.explore.scout import SCOUT

FEW = settings(max_examples=25, deadline=None)
BASE = {**IMAGE_TO_VIDEO.defaults, **MINIMAL, "seed": 7}
TEXTS = st.sampled_from(
    [
        ("guidance_scale", "1, 3.5, SKIP: 6"),
        ("guidance_scale_2", "1, 2"),
        ("shift", "1-10 [4]"),
        ("seed", "seeds: 3"),
        ("num_inference_steps", "2, 40"),
        ("acceleration", "all"),
        ("interpolator_model", "none, film"),
        ("num_interpolated_frames", "0..2"),
        ("prompt", "left, slowly\nright\n   \nSKIP: up"),
        ("negative_prompt", "blurry\nstatic"),
        ("enable_safety_checker", "on, off"),
        ("preset", "draft, smooth"),
        ("engine", "miniature, a14b-turbo, a14b-turbo-motion"),
        ("prompt_words", "walk, run, jump"),
    ]
)
AXES = st.lists(TEXTS, max_size=3, unique_by=lambda pair: pair[0])


def planned(*texts: tuple[str, str], scout: bool = False, **base: Any) -> Plan:
    return plan({**BASE, **base}, "miniature", [read_axis(*text) for text in texts], scout=scout)


def one_axis(axis: Axis) -> list[str]:
    return [value.text for value in axis.values]


@FEW
@given(AXES, st.booleans())
def test_cells_are_the_product_and_those_to_make_leave_out_the_skipped(texts: list[Any], scout: bool) -> None:
    made = planned(*texts, scout=scout)
    assert len(made.cells) == prod(len(axis.values) for axis in made.axes)
    kept = prod(sum(not value.skipped for value in axis.values) for axis in made.axes)
    assert len([cell for cell in made.cells if cell.state != "skipped"]) == kept
    assert len({cell.label for cell in made.cells}) == len(made.cells)
    assert len({cell.place for cell in made.cells}) == len(made.cells)
    assert made == planned(*texts, scout=scout), "the same every time"


@FEW
@given(AXES)
def test_every_cell_is_a_request_or_names_its_fault(texts: list[Any]) -> None:
    for cell in planned(*texts, prompt="a cat").cells:  # "walk" is not in it
        if cell.inputs is None:
            assert cell.why and cell.state in ("fault", "skipped")
        else:
            assert IMAGE_TO_VIDEO.parse(cell.inputs.model_dump()) == cell.inputs


@FEW
@given(AXES)
def test_a_clip_is_made_once_and_frames_come_from_a_cell_that_samples(texts: list[Any]) -> None:
    cells = planned(*texts).cells
    for cell in cells:
        if cell.same_as is not None:
            assert cells[cell.same_as].state == "make"
        if cell.reuses is not None:
            assert cells[cell.reuses].state == "make" and cells[cell.reuses].reuses is None


@FEW
@given(AXES)
def test_the_centre_comes_first_and_nothing_is_lost(texts: list[Any]) -> None:
    made = planned(*texts)
    order = centre_first(made.cells, made.shape)
    assert sorted(order) == list(range(len(made.cells)))
    assert made.cells[order[0]].place == tuple((length - 1) // 2 for length in made.shape.lengths)


def test_a_square_is_made_from_its_centre_over_its_corners() -> None:
    made = planned(("shift", "2, 5, 8"), ("seed", "1, 2, 3"))
    assert centre_first(made.cells, made.shape) == [4, 0, 2, 6, 8, 1, 3, 5, 7]


def test_columns_are_the_first_axis_and_everything_else_is_the_forms() -> None:
    made = planned(("shift", "2, 8"), ("guidance_scale", "2, 4"))
    assert [cell.label for cell in made.cells] == [
        "Shift 2 · Guidance scale (1st stage) 2",
        "Shift 8 · Guidance scale (1st stage) 2",
        "Shift 2 · Guidance scale (1st stage) 4",
        "Shift 8 · Guidance scale (1st stage) 4",
    ]
    last = made.cells[3].inputs
    assert last is not None and last == IMAGE_TO_VIDEO.parse({**BASE, "shift": 8, "guidance_scale": 4})


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (("negative_prompt", "blurry\nstatic"), {"guidance_scale": 1, "guidance_scale_2": 1}),
        (("num_interpolated_frames", "0, 1, 4"), {"interpolator_model": "none"}),
        (("interpolator_model", "all"), {"num_interpolated_frames": 0}),
        (("guidance_scale_2", "2, 5"), {"num_inference_steps": 2, "shift": 10, "acceleration": "regular"}),
    ],
)
def test_what_changes_nothing_is_greyed(text: tuple[str, str], base: dict[str, Any]) -> None:
    made = planned(text, **base)
    assert [cell.state for cell in made.cells] == ["make"] + ["same"] * (len(made.cells) - 1)
    assert "no effect" in made.cells[1].why


def test_a_negative_prompt_matters_as_soon_as_one_step_is_guided() -> None:
    made = planned(("negative_prompt", "blurry\nstatic"), guidance_scale=1, guidance_scale_2=2, acceleration="none")
    assert [cell.state for cell in made.cells] == ["make", "make"]


def test_guidance_1_and_the_default_differ() -> None:
    made = planned(("guidance_scale", "1, 3.5, 6"), ("shift", "2, 5, 8"), num_inference_steps=8, guidance_scale_2=1)
    assert {cell.state for cell in made.cells} == {"make"}


def test_finishing_fields_reuse_the_frames_of_the_first_cell() -> None:
    made = planned(("frames_per_second", "8, 16"), ("video_quality", "low, high"), ("shift", "2, 5"))
    assert [cell.reuses for cell in made.cells] == [None, 0, 0, 0, None, 4, 4, 4]


def test_scout_makes_cells_cheap_but_leaves_what_is_on_an_axis() -> None:
    made = planned(("num_frames", "33, 49"), scout=True, resolution="720p")
    first = made.cells[0].inputs
    assert first is not None and (first.num_frames, first.resolution, first.seed) == (33, "480p", 7)
    assert made.scouted == {"resolution": "480p", "interpolator_model": "none", "video_write_mode": "fast"}
    assert set(planned(scout=True, num_frames=81).scouted) <= set(SCOUT)


def test_words_of_the_prompt_are_replaced() -> None:
    def prompts(prompt: str) -> list[str | None]:
        made = planned(("prompt_words", "left, right"), prompt=prompt)
        return [cell.inputs.prompt if cell.inputs else None for cell in made.cells]

    assert prompts("turn {left|right} now") == ["turn left now", "turn right now"]
    assert prompts("turn left now") == ["turn left now", "turn right now"]
    assert prompts("stay") == [None, None]


def test_a_single_field_wins_over_a_preset() -> None:
    made = planned(("num_frames", "21"), ("preset", "draft, smooth"))
    assert {cell.inputs.num_frames for cell in made.cells if cell.inputs} == {21}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("guidance_scale", "1, 11", "guidance_scale must be a number from 1 to 10; you sent '11'"),
        ("guidance_scale", "", "at least one value"),
        ("resolution", "480p, 4k", "resolution must be one of 480p, 580p, 720p"),
        ("num_frames", "17..10000", "at most 100 values"),
        ("engine", "warp", "engine must be one of"),
        ("nonsense", "1", "nothing called"),
    ],
)
def test_each_axis_says_what_is_wrong_with_it(name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_axis(name, text)


def test_one_knob_on_two_axes_and_too_many_cells_are_refused() -> None:
    with pytest.raises(InputError, match="two axes"):
        planned(("shift", "1"), ("shift", "2"))
    with pytest.raises(InputError, match=f"at most {MOST_CELLS}"):
        planned(("num_frames", "17..116"), ("seed", "1..5"))


def test_every_knob_suggests_values_that_it_accepts() -> None:
    for name, knob in knobs().items():
        if knob.suggested:
            assert len(one_axis(read_axis(name, knob.suggested))) >= 2, name


@FEW
@given(AXES, st.booleans())
def test_a_definition_reads_back_from_its_text(texts: list[Any], scout: bool) -> None:
    definition = Definition(tuple(AxisText(*pair) for pair in texts), scout)
    assert from_text(to_text(definition)) == definition


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"axes": 1}', "[" * 50_000, '{"axes": "shift"}'])
def test_anything_else_is_no_definition(text: str) -> None:
    assert from_text(text) is None


def test_scripts_may_send_lists() -> None:
    asked = from_named_axes({"shift": [2, 5.5], "prompt": ["a, b", "c"], "acceleration": "all"}, scout=False)
    assert asked.axes == (AxisText("shift", "2, 5.5"), AxisText("prompt", "a, b\nc"), AxisText("acceleration", "all"))
    with pytest.raises(InputError, match="must be an object"):
        from_named_axes(["shift"], scout=True)
