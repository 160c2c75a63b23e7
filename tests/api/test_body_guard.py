"""What a body must keep to before any route sees it: the routes of the page stand for those that are not ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from wan_core.api.body_guard import FORM_BYTES, BodyGuard
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.settings import Limits

JSON = {"content-type": "application/json"}
LIMITS = Limits()
JOIN = "/gradio_api/queue/join"
PAGE_ROUTES = [JOIN, "/gradio_api/run/a", "/gradio_api/call/a", "/gradio_api/call/v2/a", "/gradio_api/mcp/", "/login"]
SUBMIT = f"/queue/{IMAGE_TO_VIDEO.id}"


class Echo:
    """An app that answers with what it was sent, as Gradio's 422 does; `seen` counts the requests that reached it."""

    def __init__(self) -> None:
        self.seen = 0

    async def answer(self, request: Request) -> Response:
        self.seen += 1
        return PlainTextResponse(await request.body())


@pytest.fixture
def echo() -> Echo:
    return Echo()


def guarded(answer: Callable[[Request], Any], limits: Limits = LIMITS) -> Starlette:
    route = Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])
    return Starlette(routes=[route], middleware=[Middleware(BodyGuard, limits)])


@pytest.fixture
def http(echo: Echo) -> TestClient:
    return TestClient(guarded(echo.answer))


@pytest.mark.parametrize("path", PAGE_ROUTES)
def test_a_body_for_the_page_has_at_most_256_kb(http: TestClient, echo: Echo, path: str) -> None:
    most = json.dumps({"data": ["x" * 255_986]})
    assert len(most) == LIMITS.max_page_body_bytes == 256_000
    assert http.post(path, content=most, headers=JSON).text == most
    answer = http.post(path, content=most + " ", headers=JSON)
    assert answer.status_code == 413 and answer.json()["detail"][0]["ctx"] == {"max_size": 256_000}
    undeclared = http.post(path, content=iter([b"[" * 200_000] * 2), headers=JSON)
    assert undeclared.status_code == 413 and undeclared.headers["connection"] == "close"
    assert echo.seen == 1, "what is refused never reaches the app"


@pytest.mark.parametrize(
    ("path", "most"),
    [("/gradio_api/upload", 25_000_000 + FORM_BYTES), ("/cdn/files/upload", 25_000_000), (SUBMIT, 35_000_000)],
)
def test_pictures_and_submissions_may_be_longer(http: TestClient, path: str, most: int) -> None:
    assert len(http.post(path, content=bytes(most)).content) == most
    assert http.post(path, content=bytes(most + 1)).status_code == 413
    assert http.post(path, content=iter([bytes(most), b"x"])).status_code == 413


def test_no_other_spelling_of_a_path_has_more_room(http: TestClient) -> None:
    for path in ("/gradio_api/upload/", "//gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/uploads"):
        assert http.post(path, content=bytes(256_001)).status_code == 413
    assert http.get(SUBMIT, headers={"content-length": "64001"}).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        '{"data": [' + "0," * 30_000 + "0]}",
        "{" + ",".join(f'"k{number}":0' for number in range(20_001)) + "}",
        '{"data": [' + ",".join(["{}"] * 20_000) + "]}",
        "[" * 100_000,
        '{"a":' * 15_000 + "1" + "}" * 15_000,
        '{"data": [NaN]}',
        '{"data": [1], "data": [2]}',
        '{"data": ' + "9" * 5000 + "}",
        r'{"data": ["\ud800"]}',
        r'{"data": {"\uDFFF": 1}}',
        b'{"data": "\xff"}',
        "{",
        "canary",
    ],
    ids=range(13),
)
@pytest.mark.parametrize("path", [JOIN, "/gradio_api/mcp/"])
def test_what_is_no_json_for_every_parser_never_reaches_gradio(
    http: TestClient, echo: Echo, path: str, body: str | bytes
) -> None:
    answer = http.post(path, content=body, headers=JSON)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body"]
    assert len(answer.content) < 500 and "canary" not in answer.text
    assert echo.seen == 0


def test_honest_events_pass_untouched(http: TestClient) -> None:
    for body in (r'{"data": ["\ud83d\ude00 \u00e9", null, 1.5, {"path": "a"}], "fn_index": 3}', "[]", "[{}, {}]", ""):
        assert http.post(JOIN, content=body, headers=JSON).text == body


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_an_event_must_say_that_it_is_json(http: TestClient, echo: Echo, kind: str) -> None:
    """A page of a stranger can send these kinds without asking the browser's leave."""
    assert http.post(JOIN, content='{"data": []}', headers={"content-type": kind}).status_code == 415
    assert echo.seen == 0


class Line:
    """A connection whose sender waits for ever after `chunks`."""

    def __init__(self, app: Starlette, path: str, *chunks: bytes) -> None:
        self._app = app
        self._scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        self._scope["headers"] = [(b"content-type", b"application/json")]
        self._chunks = list(chunks)
        self.sent: list[Any] = []

    async def _receive(self) -> Any:
        if self._chunks:
            return {"type": "http.request", "body": self._chunks.pop(0), "more_body": True}
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        await self._app(self._scope, self._receive, self._send)


@pytest.mark.parametrize("path", [JOIN, "/gradio_api/upload", "/cdn/files/upload", SUBMIT, "/rest/x", "/jobs/x"])
def test_a_body_that_never_ends_is_refused_at_its_deadline(echo: Echo, path: str) -> None:
    line = Line(
        guarded(echo.answer, replace(LIMITS, body_deadline_s=0.02, small_body_deadline_s=0.02)), path, b"{", b'"'
    )
    asyncio.run(line.run())
    start, body = line.sent
    assert start["status"] == 408 and (b"connection", b"close") in start["headers"]
    assert b"did not arrive within 0.02 seconds" in body["body"]


def test_pictures_have_longer_than_events(echo: Echo) -> None:
    limits = replace(LIMITS, body_deadline_s=1e6, small_body_deadline_s=0.01, min_body_bytes_per_s=1)

    async def both() -> tuple[bool, int]:
        slow, small = (
            Line(guarded(echo.answer, limits), "/gradio_api/upload", b"a"),
            Line(guarded(echo.answer, limits), JOIN, b"{"),
        )
        waiting = asyncio.create_task(slow.run())
        await small.run()
        still = not waiting.done()
        waiting.cancel()
        return still, small.sent[0]["status"]

    assert asyncio.run(both()) == (True, 408)


def test_a_body_that_drips_is_refused_long_before_the_deadline_of_an_honest_one(echo: Echo) -> None:
    limits = replace(LIMITS, body_deadline_s=1e6, small_body_deadline_s=0.01, min_body_bytes_per_s=1000)
    line = Line(guarded(echo.answer, limits), "/gradio_api/upload", b"a", b"b")
    asyncio.run(line.run())
    assert line.sent[0]["status"] == 408


def test_a_deadline_is_the_bodys_and_not_the_answers(echo: Echo) -> None:
    """A caller of /run waits for minutes after its body has come."""

    async def wait_after_body(request: Request) -> Response:
        await request.body()
        waiting = asyncio.create_task(request.receive())
        await asyncio.sleep(0.05)
        left = waiting.done()
        waiting.cancel()
        return PlainTextResponse(f"left: {left}")

    limits = replace(LIMITS, body_deadline_s=0.01, small_body_deadline_s=0.01)

    async def ask(path: str) -> str:
        async with asking(guarded(wait_after_body, limits)) as http:
            return (await http.post(path, content=b"{}", headers=JSON)).text

    assert asyncio.run(ask(f"/run/{IMAGE_TO_VIDEO.id}")) == "left: False"
    assert asyncio.run(ask(JOIN)) == "left: False"


@asynccontextmanager
async def asking(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        yield http


def test_a_stream_reaches_its_route_while_it_comes_in() -> None:
    arrived: list[int] = []

    async def count(request: Request) -> Response:
        async for chunk in request.stream():
            arrived.append(len(chunk))
        return PlainTextResponse("done")

    line = Line(guarded(count), "/gradio_api/upload", bytes(10), bytes(20))

    async def see() -> None:
        task = asyncio.create_task(line.run())
        while len(arrived) < 2:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(see())
    assert arrived == [10, 20]


def test_a_sender_who_leaves_is_forgotten(echo: Echo) -> None:
    async def leave() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": JOIN, "headers": [], "query_string": b""}
        await guarded(echo.answer)(scope, receive, send)
        return sent

    assert asyncio.run(leave()) == [] and echo.seen == 0
