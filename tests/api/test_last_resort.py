"""Every answer of the port is marked as what it says it is, and no exception leaves the app."""

import logging
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.api.conftest import Twin
from wan_core.api.last_resort import LastResort
from wan_core.errors import UNEXPECTED


async def fail(request: Request) -> PlainTextResponse:
    raise RuntimeError("this server broke")


async def fail_late(request: Request) -> StreamingResponse:
    async def halves() -> AsyncIterator[str]:
        yield "one half"
        raise RuntimeError("this server broke")

    return StreamingResponse(halves())


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("<script>")


@pytest.fixture
def http() -> TestClient:
    routes = [Route("/fail", fail), Route("/late", fail_late), Route("/fine", answer)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(LastResort)]))


def test_a_fault_behind_is_a_sentence_and_a_log_line(http: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        refused = http.get("/fail")
    assert refused.status_code == 500 and refused.json()["detail"][0]["msg"] == UNEXPECTED
    assert "'/fail' failed" in caplog.text


def test_half_an_answer_is_cut_and_not_ended(http: TestClient) -> None:
    with pytest.raises(RuntimeError):
        http.get("/late")


@pytest.mark.parametrize("path", ["/fail", "/fine", "/nowhere"])
def test_no_browser_guesses_a_type(http: TestClient, path: str) -> None:
    assert http.get(path).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/run/x", "/elsewhere", "/files/x", "/api/openapi/queue/openapi.json"])
def test_all_routes_of_the_twin_say_so(twin: Twin, path: str) -> None:
    assert twin.http.get(path).headers["x-content-type-options"] == "nosniff"
    assert twin.http.get(path, headers={"host": "evil.example"}).headers["x-content-type-options"] == "nosniff"
    assert twin.http.post(path, content=bytes(256_001)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording",
        "/gradio_api/component_server/",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-code",
    ],
)
def test_what_the_page_does_not_use_is_not_there(twin: Twin, path: str) -> None:
    assert twin.http.post(path, json={}).json()["detail"] == "This server does not offer that."
