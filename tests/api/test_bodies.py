"""What the routes make of faulty requests: a field, a sentence, a 4xx; never a 5xx, never an echo."""

import gzip
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import BODY, Twin
from tests.support.jobs import MOST_FRAMES
from wan_core.api.bodies import parse
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError

JSON = {"content-type": "application/json"}
WRONG: dict[str, list[Any]] = {
    "image_url": ["", None, 5, [], {}],
    "prompt": ["", "  ", None, 5, "x" * 4001],
    "negative_prompt": [None, 5, "x" * 4001],
    "seed": [-1, 2**53, 1.5, True, "x", 10**400],
    **{
        field: [low - 1, high + 1, None, True, "x", [], {}, 10**400]
        for field in IMAGE_TO_VIDEO.fields
        if (bounds := IMAGE_TO_VIDEO.bounds(field)) and field != "seed"
        for low, high in [bounds]
    },
    **{field: ["", "other", None, 5, True] for field in IMAGE_TO_VIDEO.fields if IMAGE_TO_VIDEO.choices(field)},
    "interpolator_model": ["", "other", 5, True],  # null is its word for none
    **{
        field: [None, "perhaps", 7, []]
        for field in ("enable_safety_checker", "enable_prompt_expansion", "adjust_fps_for_interpolation")
    },
}


@pytest.fixture
def twin(shared_twin: Twin) -> Twin:
    return shared_twin


def sent(twin: Twin, content: bytes | str, route: str = "queue") -> Any:
    return twin.http.post(f"/{route}/{IMAGE_TO_VIDEO.id}", content=content, headers=JSON)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_by_its_field(twin: Twin, field: str, value: Any) -> None:
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {field: value})
    assert answer.status_code == 422
    (fault,) = answer.json()["detail"]
    assert fault["loc"] == ["body", field] and fault["msg"].startswith(field)
    assert fault["url"].endswith(fault["type"]) and "input" not in fault
    assert answer.json()["message"] == fault["msg"]


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f in IMAGE_TO_VIDEO.fields if (b := IMAGE_TO_VIDEO.bounds(f)) for v in b]
)
def test_a_value_at_its_bound_is_taken(twin: Twin, field: str, value: Any) -> None:
    plain = int(value) if IMAGE_TO_VIDEO.is_whole(field) else value
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {field: plain}).status_code == 200


def test_all_faults_of_a_request_are_told_at_once(twin: Twin) -> None:
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json={"num_frames": 5, "shift": 99})
    assert {fault["loc"][1] for fault in answer.json()["detail"]} == {"image_url", "prompt", "num_frames", "shift"}


def test_limits_travel_in_ctx(twin: Twin) -> None:
    fault = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"num_frames": MOST_FRAMES + 1}).json()["detail"][
        0
    ]
    assert fault["type"] == "less_than_equal" and fault["ctx"] == {"le": MOST_FRAMES}


def test_a_compressed_body_is_refused_by_the_name_of_its_coding(twin: Twin) -> None:
    packed = gzip.compress(json.dumps(BODY).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", content=packed, headers=headers)
    assert answer.status_code == 415 and "(gzip)" in answer.json()["detail"]


def test_unknown_fields_are_ignored_as_fal_does(twin: Twin) -> None:
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"no_field": None, "x": [1]}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "5",
        '{"prompt": NaN}',
        '{"x": NaN}',
        '{"guidance_scale": Infinity}',
        '{"guidance_scale": -Infinity}',
        '{"prompt": "a", "prompt": "b"}',
        '{"x": {"a": 1, "a": 2}}',
        '{"seed": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 15_000 + "1" + "}" * 15_000,
        '{"x": [' + "0," * 30_000 + "0]}",
        b'{"prompt": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        "{'prompt': 1}",
        '{"prompt": "a" "b"}',
        '{"prompt": "tab\there"}',
    ],
    ids=range(22),
)
def test_what_is_no_json_object_is_refused(twin: Twin, body: str | bytes) -> None:
    answer = sent(twin, body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


def test_a_body_behind_a_byte_order_mark_is_read(twin: Twin) -> None:
    assert sent(twin, b"\xef\xbb\xbf" + json.dumps(BODY).encode()).status_code == 200


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfffb"', "1e999", "-1e999"])
def test_values_that_json_can_spell_but_nobody_can_use_end_at_their_field(twin: Twin, text: str) -> None:
    for field in ("prompt", "guidance_scale", "seed", "image_url", "negative_prompt"):
        plain = {"image_url": '"https://example.com/a.png"', "prompt": '"a"'} | {field: text}
        answer = sent(twin, "{" + ", ".join(f'"{name}": {value}' for name, value in plain.items()) + "}")
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"] == ["body", field]


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
@pytest.mark.parametrize("route", ["run", "queue"])
def test_a_body_that_does_not_say_it_is_json_gets_415(twin: Twin, route: str, kind: str) -> None:
    answer = twin.http.post(f"/{route}/{IMAGE_TO_VIDEO.id}", content=json.dumps(BODY), headers={"content-type": kind})
    assert answer.status_code == 415 and "application/json" in answer.json()["detail"]


def test_json_may_name_its_charset(twin: Twin) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", content=json.dumps(BODY), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "cap"),
    [(f"/run/{IMAGE_TO_VIDEO.id}", 35_000_000), ("/rest/storage/upload/initiate", 64_000), ("/elsewhere", 256_000)],
)
def test_bodies_have_a_cap(twin: Twin, path: str, cap: int) -> None:
    answer = twin.http.post(path, content=bytes(cap + 1), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["detail"][0]["ctx"] == {"max_size": cap}


def test_a_body_of_undeclared_length_has_the_same_cap(twin: Twin) -> None:
    answer = twin.http.post("/rest/storage/upload/initiate", content=iter([bytes(60_000)] * 2), headers=JSON)
    assert answer.status_code == 413 and answer.headers["x-fal-request-id"]


def test_a_25_mb_picture_fits_as_a_data_uri(twin: Twin) -> None:
    uri = "data:image/png;base64," + "A" * (25_000_000 // 3 * 4)
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"image_url": uri}).status_code == 200


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(list(IMAGE_TO_VIDEO.fields)) | st.text(), values, max_size=6))
def test_no_object_at_all_makes_an_unforeseen_error(twin: Twin, body: dict[str, Any]) -> None:
    answer = sent(twin, json.dumps(body))
    assert answer.status_code in (200, 422, 429)
    json.dumps(answer.json(), allow_nan=False)


@given(st.binary(max_size=64) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parsing_ends_in_a_value_or_a_sentence(body: bytes) -> None:
    try:
        value = parse(body)
    except InputError as error:
        assert error.message.endswith(".")
    else:
        assert not (isinstance(value, float) and math.isnan(value))
