"""Number boxes hand over what was typed; the schema judges it."""

import gradio as gr
import pytest

from wan_core.errors import InputError
from wan_core.ui.controls import control, draft_of


def typed(field: str, text: object) -> object:
    slider = control(field)
    assert isinstance(slider, gr.Slider)
    return slider.preprocess(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "number"), [("81", 81), (81, 81), ("4.5", 4.5), ("4,5", 4.5), (" 7 ", 7)])
def test_a_number_is_read_with_a_point_or_a_comma(text: object, number: float) -> None:
    assert typed("shift", text) == number


@pytest.mark.parametrize("text", ["8", "", None, "4,5,6", "abc", "162", "1e9", "27,5", "nan"])
def test_anything_else_reaches_the_judge_and_gets_a_sentence(text: object) -> None:
    with pytest.raises(InputError, match="num_frames must be a whole number from 17 to 161; you sent"):
        draft_of({"num_frames": typed("num_frames", text)})


def test_an_emptied_box_is_called_empty() -> None:
    with pytest.raises(InputError, match="you sent nothing"):
        draft_of({"num_frames": typed("num_frames", "")})


def test_the_front_end_is_gradios_slider() -> None:
    assert control("shift").get_block_name() == "slider"
