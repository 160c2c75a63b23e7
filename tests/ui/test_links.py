"""Addresses with settings: what a page writes another page reads, and strangers' addresses do no harm."""

from urllib.parse import parse_qsl

import pytest

from tests.test_recipe import OTHER
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import presets
from wan_core.recipe import Recipe
from wan_core.ui.links import link_query, parse_link


@pytest.mark.parametrize("field", list(IMAGE_TO_VIDEO.fields))
def test_a_clips_link_restores_each_changed_field(field: str) -> None:
    found = parse_link(dict(parse_qsl(link_query(Recipe({field: OTHER[field]}, "miniature")))))
    assert found.values[field] == OTHER[field]
    assert found.engine == "miniature"


def test_a_link_starts_from_fals_defaults_wherever_it_is_opened() -> None:
    found = parse_link(dict(parse_qsl(link_query(Recipe({"num_frames": 49})))))
    assert found.values == {**presets()["fal_defaults"].complete, "num_frames": 49}


def test_an_uploaded_picture_and_an_empty_prompt_stay_out_of_the_link() -> None:
    assert link_query(Recipe({"image_url": "uploaded", "prompt": ""})) == "preset=fal_defaults"


def test_a_field_in_the_address_counts_more_than_its_preset() -> None:
    found = parse_link({"preset": "draft", "num_frames": "49", "prompt": "a walk"})
    assert found.preset is presets()["draft"]
    assert found.values["num_frames"] == 49 and found.values["video_write_mode"] == "fast"


def test_a_presets_engine_is_asked_for_unless_another_is_named() -> None:
    assert parse_link({"preset": "turbo"}).engine == "a14b-turbo"
    assert parse_link({"preset": "turbo", "engine": "a14b"}).engine == "a14b"


def test_an_address_without_settings_asks_for_nothing() -> None:
    found = parse_link({"__theme": "dark", "embed": "1", "preset": "../../etc/passwd"})
    assert (found.values, found.preset, found.engine) == ({}, None, None)
