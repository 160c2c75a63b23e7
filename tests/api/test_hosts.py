"""A server on loopback answers to this machine only, on every route; one that is meant for others answers to all."""

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from wan_core.api.hosts import HostGuard
from wan_core.settings import Settings

ROUTES = ["/", "/config", "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/mcp/", "/run/x", "/files/x.mp4"]
FOREIGN: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "evil.example:7860"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "127.0.0.1", "x-forwarded-host": "evil.example"},
    {"host": "evil.example", "x-forwarded-host": "localhost"},
    {"host": "localhost", "x-forwarded-host": "localhost, evil.example"},
    {"host": ""},
]


def asked(headers: dict[str, str], path: str = "/", **variables: Any) -> int:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("here")

    settings = Settings(data_dir=Path("data"), **variables)
    app = Starlette(routes=[Route("/{path:path}", answer)], middleware=[Middleware(HostGuard, settings)])
    with TestClient(app, base_url="http://127.0.0.1:7860") as http:
        return http.get(path, headers=headers).status_code


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_name_is_refused_on_every_route(path: str, headers: dict[str, str]) -> None:
    assert asked(headers, path) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860", "fal.run", "rest.fal.ai"])
def test_this_machine_and_fals_names_are_answered(host: str) -> None:
    assert asked({"host": host}) == 200
    assert asked({"host": "localhost", "x-forwarded-host": host}) == 200


@pytest.mark.parametrize(
    "variables",
    [{"api_keys": "open"}, {"server_name": "0.0.0.0"}, {"space_id": "me/wan"}],
    ids=str,
)
def test_a_server_meant_for_others_answers_to_every_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    names = {"api_keys": "WAN_API_KEYS", "server_name": "GRADIO_SERVER_NAME", "space_id": "SPACE_ID"}
    for name, value in variables.items():
        monkeypatch.setenv(names[name], value)
    assert asked({"host": "wan.example.com"}) == 200


def test_keys_alone_do_not_open_the_page_to_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "one, two")
    assert asked({"host": "wan.example.com"}) == 403


def test_the_public_address_is_answered_beside_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_PUBLIC_URL", "https://wan.example.com/fal/")
    assert asked({"host": "WAN.example.com:443"}) == 200
    assert asked({"host": "127.0.0.1:7860", "x-forwarded-host": "wan.example.com"}) == 200
    assert asked({"host": "127.0.0.1:7860"}) == 200
    assert asked({"host": "other.example.com"}) == 403


def test_the_refusal_says_what_the_owner_can_do() -> None:
    from wan_core.api.hosts import FOREIGN as sentence

    assert "WAN_PUBLIC_URL" in sentence
