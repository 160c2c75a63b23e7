"""The form is the schema: its labels, help texts, bounds, choices and defaults, and its judgement."""

import gradio as gr
import pytest

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.ui.controls import control, draft_of, request_of

FIELDS = [name for name in IMAGE_TO_VIDEO.fields if name != "image_url"]
FULL = {"picture": "/tmp/a.png", "image_url": "", "prompt": "a walk", "seed": ""}


@pytest.mark.parametrize("field", IMAGE_TO_VIDEO.fields)
def test_each_control_says_what_the_schema_says(field: str) -> None:
    component, facts = control(field), IMAGE_TO_VIDEO.fields[field]
    assert component.label == facts.title
    assert component.info == facts.description
    assert component.elem_id == field


@pytest.mark.parametrize("field", IMAGE_TO_VIDEO.defaults)
def test_each_control_begins_with_fals_default(field: str) -> None:
    assert control(field).value == ({"seed": None} | IMAGE_TO_VIDEO.defaults)[field]


@pytest.mark.parametrize("field", FIELDS)
def test_each_control_allows_what_the_schema_allows(field: str) -> None:
    component = control(field)
    if IMAGE_TO_VIDEO.choices(field):
        assert isinstance(component, gr.Radio)
        assert tuple(word for _, word in component.choices) == IMAGE_TO_VIDEO.choices(field)
    elif isinstance(component, gr.Slider):
        assert (component.minimum, component.maximum) == IMAGE_TO_VIDEO.bounds(field)
        assert (component.step == 1) == IMAGE_TO_VIDEO.is_whole(field)


def test_a_form_becomes_a_request() -> None:
    request = request_of(FULL | {"num_frames": 49.0, "seed": " 7 "})
    assert (request.num_frames, request.seed, request.image_url) == (49, 7, "uploaded")


def test_an_empty_seed_box_means_a_random_seed() -> None:
    assert request_of(FULL).seed is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_frames": float("nan")}, "num_frames"),
        ({"num_frames": 27.5}, "num_frames"),
        ({"shift": float("inf")}, "shift"),
        ({"seed": "soon"}, "seed"),
        ({"seed": "-1"}, "seed"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"resolution": "8k"}, "resolution"),
        ({"picture": None}, "image_url"),
    ],
)
def test_the_form_is_judged_by_the_schema_with_its_own_sentence(change: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        request_of(FULL | change)
    assert caught.value.field == field
    assert caught.value.message.startswith(field)


def test_a_draft_may_lack_picture_and_prompt() -> None:
    assert draft_of({"num_frames": 33}).num_frames == 33
