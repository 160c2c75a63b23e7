"""What no ASGI app sees: headers that drip, requests that are none, and answers that the server gives by itself."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support.serving import serving
from wan_core.api import connections, guard_all


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())}")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server as anybody configures one, after `limit_headers`, with little patience."""
    monkeypatch.setattr(connections, "HEADERS_S", 0.3)
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", dict(uvicorn.config.HTTP_PROTOCOLS))
    connections.limit_headers()
    with serving(Starlette(routes=[Route("/", answer, methods=["POST"])])) as home:
        yield home


def connected(home: str) -> socket.socket:
    parts = urlsplit(home)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def read_until(line: socket.socket, end: bytes) -> bytes:
    said = b""
    while not said.endswith(end):
        piece = line.recv(1000)
        assert piece, said
        said += piece
    return said


def drip(line: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        try:
            line.sendall(b"a: b\r\n")
        except OSError:
            return


@pytest.mark.parametrize("before", [b"", b"POST / HTTP/1.1\r\n"])
def test_headers_that_never_end_lose_their_connection(home: str, before: bytes) -> None:
    over = threading.Event()
    with connected(home) as line:
        line.sendall(before)
        dripping = threading.Thread(target=drip, args=(line, over)) if before else None
        if dripping:
            dripping.start()
        with suppress(ConnectionResetError):
            assert line.recv(100) == b""
        over.set()
        if dripping:
            dripping.join()


def test_the_next_request_on_a_connection_has_the_same_deadline(home: str) -> None:
    with connected(home) as line:
        line.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab")
        read_until(line, b"2")
        line.sendall(b"POST / HT")
        assert line.recv(1000) == b""


def test_a_body_may_take_longer_than_headers(home: str) -> None:
    with connected(home) as line:
        line.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
        time.sleep(0.6)
        line.sendall(b"b")
        assert read_until(line, b"2").startswith(b"HTTP/1.1 200")


def test_what_is_no_request_is_answered_without_a_guess_of_its_type(home: str) -> None:
    with connected(home) as line:
        line.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        said = read_until(line, b"request.\n")
        assert said.startswith(b"HTTP/1.1 400") and b"x-content-type-options: nosniff" in said


def test_a_preflight_that_the_server_answers_by_itself_carries_the_mark_too() -> None:
    app = Starlette(lifespan=guard_all)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    with TestClient(app) as http:
        preflight = http.options("/", headers=asked)
        assert preflight.status_code == 200 and preflight.headers["x-content-type-options"] == "nosniff"
        assert http.get("/nowhere").headers["x-content-type-options"] == "nosniff"
