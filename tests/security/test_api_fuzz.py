"""Every route of the HTTP API under hostile input in bulk: never a 5xx, always JSON, and the server answers on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Twin, a_twin
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore

pytestmark = [pytest.mark.security, pytest.mark.timeout(600)]

ID = "00000000-0000-4000-8000-000000000000"
ROUTES = [
    ("POST", f"/run/{IMAGE_TO_VIDEO.id}"),
    ("POST", f"/queue/{IMAGE_TO_VIDEO.id}"),
    ("GET", f"/queue/fal-ai/wan/requests/{ID}/status"),
    ("GET", f"/queue/fal-ai/wan/requests/{ID}/status/stream"),
    ("GET", f"/queue/fal-ai/wan/requests/{ID}"),
    ("PUT", f"/queue/fal-ai/wan/requests/{ID}/cancel"),
    ("POST", "/rest/storage/auth/token"),
    ("POST", "/rest/storage/upload/initiate"),
    ("POST", "/rest/storage/upload/initiate-multipart"),
    ("POST", "/cdn/files/upload"),
    ("PUT", f"/cdn/files/{ID}.png"),
    ("GET", f"/cdn/files/{ID}.png"),
    ("GET", f"/files/{ID}.mp4"),
    ("POST", f"/jobs/{ID}/finish"),
    ("GET", "/api/openapi/queue/openapi.json"),
    ("POST", "/api/fal/proxy"),
]
HEADERS = (
    "x-fal-target-url",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-for",
    "x-fal-request-timeout",
    "x-fal-queue-priority",
    "x-fal-object-lifecycle",
    "authorization",
    "range",
    "content-type",
    "host",
)
QUERIES = ("logs", "fal_webhook", "fal_max_queue_length", "endpoint_id", "storage_type", "pass")
many = settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
header_values = plain.map(str.strip) | st.sampled_from(
    [
        "https://fal.run/" + IMAGE_TO_VIDEO.id,
        "https://queue.fal.run/",
        "fal.run",
        "application/json",
        "bytes=0-",
        "Key x",
        "-1",
        "nan",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
bodies = st.binary(max_size=200) | st.dictionaries(
    st.sampled_from(list(IMAGE_TO_VIDEO.fields)) | st.text(max_size=5), json_values, max_size=8
).map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    data = FileStore(tmp_path_factory.mktemp("fuzz") / "data")
    data.root.mkdir()
    with a_twin(data) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), ROUTES)
@many
@given(
    body=bodies,
    headers=st.dictionaries(st.sampled_from(HEADERS), header_values, max_size=4),
    query=st.dictionaries(st.sampled_from(QUERIES), plain, max_size=3),
    declared=st.booleans(),
)
def test_no_request_makes_the_server_stumble(
    twin: Twin, method: str, path: str, body: bytes, headers: dict[str, str], query: dict[str, str], declared: bool
) -> None:
    kind = {"content-type": "application/json"} if declared else {}
    answer: Any = twin.http.request(method, path, content=body, headers=kind | headers, params=query)
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-fal-request-id"] if path.startswith(("/run", "/queue")) else True
    if answer.status_code >= 400 and answer.status_code != 416:
        assert json.loads(answer.text), "an error is JSON"


@many
@given(
    path=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60),
    prefix=st.sampled_from(["/files/", "/cdn/files/", "/queue/fal-ai/wan/requests/", "/jobs/"]),
)
def test_no_path_makes_the_server_stumble_or_shows_what_is_not_meant(twin: Twin, path: str, prefix: str) -> None:
    answer: Any = twin.http.get(prefix + path)
    assert answer.status_code in (400, 401, 403, 404, 405), answer.text


def test_the_next_honest_request_is_answered(twin: Twin) -> None:
    body = {"image_url": "https://example.com/a.png", "prompt": "a walk"}
    assert twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=body).status_code == 200
