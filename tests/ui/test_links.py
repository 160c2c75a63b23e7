"""Addresses with settings: what a page writes another page reads, and strangers' addresses do no harm."""

import asyncio
import base64
import random
import zlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from tests.test_recipe import OTHER
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import presets
from wan_core.recipe import Recipe
from wan_core.ui.links import MAX_QUERY_CHARS, READABLE_CHARS, link_query, parse_link
from wan_core.ui.long_links import MAX_QUERY_BYTES, RefuseLongLinks
from wan_core.ui.saved import recipe_in, settings_file


def query_of(settings: Recipe) -> str:
    query = link_query(settings)
    assert query is not None
    return query


@pytest.mark.parametrize("field", list(IMAGE_TO_VIDEO.fields))
def test_a_clips_link_restores_each_changed_field(field: str) -> None:
    found = parse_link(dict(parse_qsl(query_of(Recipe({field: OTHER[field]}, "miniature")))))
    assert found.values[field] == OTHER[field]
    assert found.engine == "miniature"


def test_a_link_starts_from_fals_defaults_wherever_it_is_opened() -> None:
    found = parse_link(dict(parse_qsl(query_of(Recipe({"num_frames": 49})))))
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


LONG = "A camel walks through the desert while the wind blows. " * 60
CHINESE = "".join(random.Random(0).choices([chr(code) for code in range(0x4E00, 0x9FA0)], k=4_000))


def test_a_long_prompt_travels_packed_and_a_short_one_stays_readable() -> None:
    assert "prompt=a+walk" in query_of(Recipe({"prompt": "a walk"}))
    query = query_of(Recipe({"prompt": LONG, "negative_prompt": "blurry – 模糊", "num_frames": 49}))
    assert len(query) < READABLE_CHARS < len(LONG)
    assert parse_link(dict(parse_qsl(query_of(Recipe({"prompt": LONG}, picture_detail=False))))).picture_detail is False
    found = parse_link(dict(parse_qsl(query))).values
    assert (found["prompt"], found["negative_prompt"], found["num_frames"]) == (LONG, "blurry – 模糊", 49)


def test_what_does_not_fit_a_link_goes_into_a_file_that_is_read_back() -> None:
    settings = Recipe({"prompt": CHINESE, "num_frames": 49, "image_url": "uploaded"}, "miniature")
    assert link_query(settings) is None
    event: Any = SimpleNamespace(settings=settings_file(settings))
    found = recipe_in(event)
    assert found.engine == "miniature" and dict(found.values) == {"prompt": CHINESE, "num_frames": 49}


def test_every_link_that_is_offered_is_short_enough() -> None:
    for length in range(0, 4_000, 97):
        query = link_query(Recipe({"prompt": CHINESE[:length], "negative_prompt": LONG[:length]}))
        assert query is None or len(query) <= MAX_QUERY_CHARS


@pytest.mark.parametrize("packed", ["", "x", "AAAA", "é", "eJwrSS0uAQAEXQHB", "eJyLjgUAARUAuQ", "eJxTBwAAKAAn"])
def test_texts_that_are_nonsense_are_no_texts(packed: str) -> None:
    assert parse_link({"texts": packed}).values == {}


def test_a_packed_bomb_is_not_blown_up() -> None:
    bomb = zlib.compress(b'{"prompt": "' + b"a" * 50_000_000 + b'"}', 9)
    assert parse_link({"texts": base64.urlsafe_b64encode(bomb).decode()}).values == {}


@pytest.mark.parametrize(
    ("length", "status"), [(0, 200), (MAX_QUERY_BYTES, 200), (MAX_QUERY_BYTES + 1, 414), (70_000, 414)]
)
def test_an_address_that_is_too_long_for_the_page_is_refused_with_a_sentence(length: int, status: int) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"a" * length, "headers": []}
    asyncio.run(RefuseLongLinks(PlainTextResponse("the page"))(scope, receive, send))
    assert sent[0]["status"] == status
    assert (b"too long" in sent[1]["body"]) == (status == 414)
