"""A clip's settings as a text that travels: nothing is lost on the way, and nothing foreign comes back."""

import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.jobs import MOST_FRAMES, a_job
from wan_core import recipe, schema
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.recipe import Recipe

OTHER = {
    "prompt": "The camera pans left & the cat says „100 %“ = yes?\nNew line, 中文",
    "image_url": "https://example.com/a b.png?x=1&y=2",
    "num_frames": 49,
    "frames_per_second": 24,
    "negative_prompt": "blurry",
    "seed": schema.MAX_SEED,
    "resolution": "580p",
    "aspect_ratio": "9:16",
    "num_inference_steps": 7,
    "enable_safety_checker": True,
    "enable_prompt_expansion": True,
    "acceleration": "none",
    "guidance_scale": 2.4,
    "guidance_scale_2": 9.9,
    "shift": 7.3,
    "interpolator_model": "rife",
    "num_interpolated_frames": 3,
    "adjust_fps_for_interpolation": False,
    "video_quality": "maximum",
    "video_write_mode": "small",
    "end_image_url": "https://example.com/end.png",
    "enable_output_safety_checker": True,
}


def there_and_back(settings: Recipe) -> Recipe:
    return recipe.from_query(dict(parse_qsl(recipe.to_query(settings))))


@pytest.mark.parametrize("field", list(IMAGE_TO_VIDEO.fields))
def test_a_link_carries_every_field(field: str) -> None:
    assert there_and_back(Recipe({field: OTHER[field]})).values == {field: OTHER[field]}


def test_a_link_carries_all_fields_at_once_with_the_engine_but_never_a_place_that_costs_money() -> None:
    assert there_and_back(Recipe(OTHER, "a14b", "fal")) == Recipe(OTHER, "a14b")
    assert recipe.from_query({"where": "fal"}) == Recipe({})


def test_a_link_leaves_out_what_fal_would_do_anyway() -> None:
    assert recipe.to_query(Recipe({**IMAGE_TO_VIDEO.defaults, "prompt": "a walk"})) == "prompt=a+walk"


def test_a_comment_gives_the_jobs_settings_back() -> None:
    job = a_job(num_frames=33, shift=6.5)
    kept = recipe.from_comment(recipe.to_comment(recipe.from_job(job), job.id))
    assert kept.values | {"image_url": ""} == job.inputs.model_dump(exclude={"end_image_url"}) | {"image_url": ""}
    assert kept.engine == "miniature"


def test_the_prompts_stay_out_of_the_file_when_asked() -> None:
    from dataclasses import replace

    job = a_job(prompt="a secret", negative_prompt="another")
    private = replace(job, options=replace(job.options, prompt_in_file=False))
    text = recipe.to_comment(recipe.from_job(private), private.id)
    assert "secret" not in text and "another" not in text


@pytest.mark.parametrize(
    ("field", "text", "becomes"),
    [
        ("num_frames", "9999", MOST_FRAMES),
        ("num_frames", "-3", 17),
        ("num_frames", "1e400", MOST_FRAMES),
        ("num_frames", "48.6", 49),
        ("shift", "-inf", 1),
        ("guidance_scale", "99", 10),
        ("seed", str(2**60), schema.MAX_SEED),
        ("adjust_fps_for_interpolation", "false", False),
    ],
)
def test_numbers_from_a_link_are_brought_into_their_bounds(field: str, text: str, becomes: object) -> None:
    assert recipe.from_query({field: text}).values == {field: becomes}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("num_frames", "nan"),
        ("num_frames", "many"),
        ("shift", "nan"),
        ("seed", ""),
        ("resolution", "1080p"),
        ("acceleration", "<b>"),
        ("enable_safety_checker", "perhaps"),
        ("prompt", "x" * 4001),
        ("prompt", "\ud800"),
    ],
)
def test_what_fits_no_field_is_dropped(field: str, text: str) -> None:
    assert recipe.from_query({field: text}).values == {}


def test_names_that_are_no_field_are_dropped() -> None:
    assert recipe.from_query({"__theme": "dark", "embed": "1", "where": "moon"}) == Recipe({}, None, None)


@given(st.dictionaries(st.sampled_from([*IMAGE_TO_VIDEO.fields, "engine", "where", "other"]), st.text(max_size=30)))
def test_whatever_a_link_says_the_result_is_a_request(query: dict[str, str]) -> None:
    values = recipe.from_query(query).values
    IMAGE_TO_VIDEO.parse(
        {"image_url": "x", "prompt": "x"} | {n: v for n, v in values.items() if v not in ("", " ") or n != "prompt"}
    )


NONE_OF_OURS = ["", "{", "[]", "{}", '"x"', json.dumps({"app": recipe.APP}), '{"app": "other"}', "[" * 100_000]


@pytest.mark.parametrize("text", NONE_OF_OURS, ids=lambda text: text[:20])
def test_a_file_of_somebody_else_carries_no_settings(text: str) -> None:
    with pytest.raises(InputError, match="carries no settings"):
        recipe.from_comment(text)


def test_detail_from_the_picture_travels_in_the_file_and_in_the_link() -> None:
    from dataclasses import replace

    job = a_job()
    plain = recipe.from_job(replace(job, options=replace(job.options, picture_detail=False)))
    assert recipe.from_comment(recipe.to_comment(plain, job.id)).picture_detail is False
    assert "picture_detail=false" in recipe.to_query(plain)
    assert recipe.from_query({"picture_detail": "false"}).picture_detail is False
    assert recipe.from_query({"picture_detail": "nonsense"}).picture_detail is None
    assert "picture_detail" not in recipe.to_query(recipe.from_job(job)), "on is what everybody has"


def test_settings_of_a_newer_version_are_refused_with_a_sentence() -> None:
    text = recipe.to_comment(recipe.from_job(a_job()), "id").replace('"version": 1', '"version": 2')
    with pytest.raises(InputError, match="newer version of this app"):
        recipe.from_comment(text)
