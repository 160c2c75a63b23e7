"""Clients of others that speak fal's protocol, unchanged, over both endpoints, and webhooks with fal's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fal_client.client
import httpx
import pytest

from tests.clients.conftest import HERE, twin_process
from tests.clients.test_fal_clients import Place, node, picture, python
from tests.support.receiver import Receiver, receiving, verify
from tests.support.tls import terminated, tunnel
from wan_core.endpoints import ENDPOINTS

__all__ = ["picture"]

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # fal's client leaves sockets open
]

SCRIPTS = HERE / "scripts"
both = pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Place]:
    """A twin that may post to the receiver."""
    folder = tmp_path_factory.mktemp("place")
    options = ("--step", "0.05", "--receiver", str(receiver.port))
    with twin_process(folder / "data", *options) as (home, _), terminated(home, folder) as (secure, ca):
        with tunnel(int(secure.rpartition(":")[2])) as proxy:
            yield Place(home, secure, ca, proxy, folder / "data")


def report(place: Place, script: str, *arguments: str) -> Any:
    return json.loads(node(place, "fetch.mjs", SCRIPTS / script, *arguments, home=place.home).splitlines()[-1])


@both
def test_fals_javascript_client_has_runs_queue_and_webhooks(
    place: Place, receiver: Receiver, picture: Path, endpoint: str
) -> None:
    seen = report(place, "fal_endpoint.mjs", endpoint, str(picture), receiver.url)
    assert seen["seeds"] == [7, 7] and seen["url"].startswith(f"{place.home}/files/")
    check_told(place, receiver, seen["told"])


@both
def test_fals_python_client_has_webhooks(
    place: Place, receiver: Receiver, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{place.home}/queue/")
    client = fal_client.client.SyncClient(key="id:secret")
    values = {"image_url": "https://example.com/a.png", "prompt": "a walk", "seed": 7}
    handle = client.submit(endpoint, arguments=values, webhook_url=receiver.url)
    check_told(place, receiver, handle.request_id)
    assert handle.get()["seed"] == 7
    client._client.close()


def check_told(place: Place, receiver: Receiver, request_id: str) -> None:
    told = receiver.wait_until(lambda each: each.json["request_id"] == request_id)
    assert told.json["status"] == "OK" and told.json["payload"]["seed"] == 7
    verify(told, httpx.get(f"{place.home}/rest/.well-known/jwks.json").json())


@both
def test_the_ai_sdk_makes_a_clip_and_tells_a_refusal(place: Place, endpoint: str) -> None:
    seen = report(place, "ai_sdk.mjs", endpoint)
    assert seen["mediaType"] == "video/mp4" and seen["bytes"] > 1000
    assert seen["width"] > 400 and seen["refused"] == 422


@both
def test_huggingfaces_javascript_client_makes_a_clip(place: Place, picture: Path, endpoint: str) -> None:
    seen = report(place, "hugging_face.mjs", endpoint, str(picture))
    assert seen["type"] == "video/mp4" and seen["bytes"] > 1000


@both
def test_huggingfaces_python_client_makes_a_clip(place: Place, picture: Path, endpoint: str) -> None:
    text = python(
        SCRIPTS / "hugging_face.py", endpoint, str(picture), SSL_CERT_FILE=str(place.ca), HTTPS_PROXY=place.proxy
    )
    kind, size = text.split()
    assert kind == "ftyp" and int(size) > 1000
