"""The request is fal's, word for word, and every fault is a sentence about one field."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from wan_core.endpoints import IMAGE_TO_VIDEO, Endpoint
from wan_core.errors import InputError
from wan_core.schema import ImageToVideoOutput, PictureUrl, Prompt, Resolution

# The endpoint's facts, copied from its public document: name, type, default, bounds or words.
REQUIRED = object()
FACTS: list[tuple[str, str, object, object]] = [
    ("image_url", "string", REQUIRED, None),
    ("prompt", "string", REQUIRED, None),
    ("num_frames", "integer", 81, (17, 121)),
    ("frames_per_second", "integer", 16, (4, 60)),
    ("negative_prompt", "string", "", None),
    ("seed", "integer", None, (0, 2**53 - 1)),  # ours: JavaScript keeps integers only so far
    ("resolution", "string", "720p", ("480p", "580p", "720p")),
    ("aspect_ratio", "string", "auto", ("auto", "16:9", "9:16", "1:1")),
    ("num_inference_steps", "integer", 27, (2, 40)),
    ("enable_safety_checker", "boolean", False, None),
    ("enable_prompt_expansion", "boolean", False, None),
    ("acceleration", "string", "regular", ("none", "regular")),
    ("guidance_scale", "number", 3.5, (1, 10)),
    ("guidance_scale_2", "number", 3.5, (1, 10)),
    ("shift", "number", 5, (1, 10)),
    ("interpolator_model", "string", "film", ("none", "film", "rife")),
    ("num_interpolated_frames", "integer", 1, (0, 4)),
    ("adjust_fps_for_interpolation", "boolean", True, None),
    ("video_quality", "string", "high", ("low", "medium", "high", "maximum")),
    ("video_write_mode", "string", "balanced", ("fast", "balanced", "small")),
]
# Ours, as the endpoint's siblings and its page today have them: more fields, and a wider bound.
ADDED: list[tuple[str, str, object, object]] = [
    ("end_image_url", "string", None, None),
    ("enable_output_safety_checker", "boolean", False, None),
]
WIDER: dict[str, object] = {"num_frames": (17, 161)}
FIELDS = [(name, kind, default, WIDER.get(name, limits)) for name, kind, default, limits in FACTS] + ADDED
NUMBERS = [(name, kind, limits) for name, kind, _, limits in FIELDS if kind in ("integer", "number")]
MINIMAL = {"image_url": "https://example.com/a.png", "prompt": "a walk"}


def fault(**values: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        IMAGE_TO_VIDEO.parse(MINIMAL | values)
    return caught.value


def test_the_fields_are_the_endpoints_in_its_order() -> None:
    assert list(IMAGE_TO_VIDEO.fields) == [name for name, *_ in FACTS + ADDED]


@pytest.mark.parametrize(("name", "kind", "default", "limits"), FIELDS)
def test_a_field_has_the_endpoints_type_default_bounds_and_words(
    name: str, kind: str, default: object, limits: object
) -> None:
    facts = IMAGE_TO_VIDEO.json_schema["properties"][name]
    assert (facts.get("anyOf") or [facts])[0]["type"] == kind
    assert (name in IMAGE_TO_VIDEO.json_schema["required"]) == (default is REQUIRED)
    assert default is REQUIRED or (facts["default"] == default and IMAGE_TO_VIDEO.defaults[name] == default)
    assert (IMAGE_TO_VIDEO.bounds(name) or IMAGE_TO_VIDEO.choices(name) or None) == limits
    assert facts["description"] and facts["title"]


def test_only_picture_and_prompt_are_needed() -> None:
    request = IMAGE_TO_VIDEO.parse(MINIMAL)
    assert request.model_dump() == MINIMAL | IMAGE_TO_VIDEO.defaults


@pytest.mark.parametrize(("name", "kind", "limits"), NUMBERS)
def test_a_number_is_taken_at_its_bounds_and_refused_beyond_them(
    name: str, kind: str, limits: tuple[float, float]
) -> None:
    step = 1 if kind == "integer" else 1e-6
    for bound in limits:
        assert getattr(IMAGE_TO_VIDEO.parse(MINIMAL | {name: bound}), name) == bound
    assert fault(**{name: limits[0] - step}).type == "greater_than_equal"
    assert fault(**{name: limits[1] + step}).context == {"le": limits[1]}


@pytest.mark.parametrize(("name", "kind", "limits"), NUMBERS)
@pytest.mark.parametrize("value", [True, False, "many", [], {}, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_with_a_sentence(name: str, kind: str, limits: object, value: object) -> None:
    error = fault(**{name: value})
    assert error.field == name
    assert error.message.startswith(f"{name} must be ") and error.message.endswith(".")


@pytest.mark.parametrize(("name", "kind", "limits"), NUMBERS)
def test_a_number_of_5000_digits_is_refused_without_being_written_out(name: str, kind: str, limits: object) -> None:
    assert len(fault(**{name: 10**5000}).message) < 200


@pytest.mark.parametrize(
    "name", [name for name, _, default, _ in FIELDS if default is not None and name != "interpolator_model"]
)
def test_null_is_refused_where_it_means_nothing(name: str) -> None:
    assert fault(**{name: None}).field == name


def test_no_interpolator_may_be_written_as_null_as_its_help_text_says() -> None:
    assert IMAGE_TO_VIDEO.parse(MINIMAL | {"interpolator_model": None}).interpolator_model == "none"
    assert IMAGE_TO_VIDEO.parse(MINIMAL).interpolator_model == "film"


@pytest.mark.parametrize("name", [name for name, *_ in FACTS if IMAGE_TO_VIDEO.choices(name)])
def test_an_enum_takes_its_words_only_and_the_sentence_lists_them(name: str) -> None:
    for word in IMAGE_TO_VIDEO.choices(name):
        assert getattr(IMAGE_TO_VIDEO.parse(MINIMAL | {name: word}), name) == word
    error = fault(**{name: "other"})
    assert (error.type, error.context) == ("one_of", {"expected": list(IMAGE_TO_VIDEO.choices(name))})
    assert ", ".join(IMAGE_TO_VIDEO.choices(name)) in error.message and "'other'" in error.message


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_a_prompt_may_have_4000_characters_and_no_more(name: str) -> None:
    assert len(getattr(IMAGE_TO_VIDEO.parse(MINIMAL | {name: "é" * 4000}), name)) == 4000
    assert fault(**{name: "é" * 4001}).message == f"{name} may have at most 4,000 characters; yours has 4,001."


@pytest.mark.parametrize("name", ["image_url", "prompt", "negative_prompt"])
def test_half_a_surrogate_pair_is_refused_and_never_echoed(name: str) -> None:
    error = fault(**{name: "a\ud800b"})
    assert error.field == name
    error.message.encode()


@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
def test_the_prompt_may_be_empty_only_when_one_will_be_written(blank: str) -> None:
    assert "turn prompt expansion on" in fault(prompt=blank).message
    assert IMAGE_TO_VIDEO.parse(MINIMAL | {"prompt": blank, "enable_prompt_expansion": True}).prompt == blank


def test_unknown_fields_are_ignored_as_fal_does() -> None:
    assert IMAGE_TO_VIDEO.parse(MINIMAL | {"lora_scale": 3}) == IMAGE_TO_VIDEO.parse(MINIMAL)


def test_all_faults_of_a_request_are_reported_in_the_fields_order() -> None:
    error = fault(num_frames=5, shift=99)
    assert [error.field, *(other.field for other in error.others)] == ["num_frames", "shift"]


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InputError, match="JSON object"):
        IMAGE_TO_VIDEO.parse(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(list(IMAGE_TO_VIDEO.fields)), json_values))
def test_any_json_is_accepted_or_refused_with_sentences_that_fit_into_json(values: dict[str, Any]) -> None:
    try:
        request = IMAGE_TO_VIDEO.parse(values)
    except InputError as error:
        for each in (error, *error.others):
            json.dumps({"msg": each.message, "ctx": each.context}, allow_nan=False).encode()
            assert len(each.message) < 300 and "\n" not in each.message
    else:
        assert IMAGE_TO_VIDEO.parse(request.model_dump()) == request


@pytest.mark.parametrize("head", ["http://example.com/", "https://example.com/", "HTTPS://", "ftp://", "", "  "])
def test_only_a_data_uri_may_be_long(head: str) -> None:
    fits = {"image_url": head + "a" * (2048 - len(head)), "prompt": "a"}
    assert IMAGE_TO_VIDEO.parse(fits).image_url == fits["image_url"]
    with pytest.raises(
        InputError, match="at most 2,048 characters unless it is a data URI; yours has 2,049"
    ) as refusal:
        IMAGE_TO_VIDEO.parse(fits | {"image_url": fits["image_url"] + "a"})
    assert (refusal.value.field, refusal.value.type) == ("image_url", "string_too_long")
    for data in ("data:image/png;base64,", " DATA:image/png;base64,"):
        assert IMAGE_TO_VIDEO.parse(fits | {"image_url": data + "A" * 3_000_000})


def test_pictures_are_known_by_their_type_also_where_they_may_be_left_out() -> None:
    assert IMAGE_TO_VIDEO.picture_fields == ("image_url", "end_image_url")
    assert IMAGE_TO_VIDEO.parse(MINIMAL).end_image_url is None


class Small(BaseModel):
    """An endpoint that offers three fields."""

    image_url: PictureUrl
    prompt: Prompt
    resolution: Resolution = "480p"


def test_an_endpoint_completes_its_requests_with_what_it_does_not_offer() -> None:
    small = Endpoint("fal-ai/wan/small", Small, ImageToVideoOutput, {}, fixed={"num_inference_steps": 4})
    inputs = small.parse(MINIMAL | {"num_frames": 99, "num_inference_steps": 40})
    assert (inputs.num_inference_steps, inputs.resolution) == (4, "480p")
    assert inputs.num_frames == IMAGE_TO_VIDEO.defaults["num_frames"], "what it does not offer is ignored, as fal does"
    with pytest.raises(InputError, match="resolution must be one of"):
        small.parse(MINIMAL | {"resolution": "1080p"})
