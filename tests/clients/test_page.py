"""The routes beside a real page, in the server that will carry them: Gradio's own middleware stands before ours."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import twin_process
from wan_core.endpoints import IMAGE_TO_VIDEO

pytestmark = pytest.mark.client

BODY = {"image_url": "https://example.com/a.png", "prompt": "a walk"}
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,x-fal-queue-priority",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page that carries the API."""
    with twin_process(tmp_path_factory.mktemp("page"), "--page") as (address, _):
        yield address


def test_page_and_api_answer_on_one_port(home: str) -> None:
    assert "gradio" in httpx.get(home).text
    answer = httpx.post(f"{home}/run/{IMAGE_TO_VIDEO.id}", json=BODY)
    assert answer.status_code == 200, answer.text
    clip = httpx.get(answer.json()["video"]["url"], headers={"range": "bytes=0-7"})
    assert clip.status_code == 206 and len(clip.content) == 8


def test_a_stream_is_not_held_back(home: str) -> None:
    url = httpx.post(f"{home}/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"prompt": "slowly now"}).json()["status_url"]
    with httpx.stream("GET", f"{url}/stream?logs=1", headers={"accept-encoding": "br, gzip"}) as stream:
        lines = ((time.monotonic(), line) for line in stream.iter_lines() if line)
        began, first = next(lines)
        *_, (ended, last) = lines
    assert "COMPLETED" not in first and "COMPLETED" in last
    assert ended - began > 1, "the first event came while the job went on"


def test_faults_are_in_fals_shape_here_too_and_the_connection_lives(home: str) -> None:
    with httpx.Client(base_url=home) as http:
        for path, code in ((f"/run/{IMAGE_TO_VIDEO.id}", 422), ("/run/nothing", 404), ("/rest/storage/x", 404)):
            answer = http.post(path, json={})
            assert answer.status_code == code and "detail" in answer.json()
            assert answer.headers["x-fal-request-id"]
        assert http.get(f"/run/{IMAGE_TO_VIDEO.id}").json()["detail"] == "Method Not Allowed"
        assert http.post("/gradio_api/queue/join", content=bytes(35_000_001)).status_code == 413


def test_a_foreign_page_may_ask_a_public_server(tmp_path: Path) -> None:
    with twin_process(tmp_path, "--page", WAN_API_KEYS="open") as (home, _):
        ask_from_a_foreign_page(home)


def test_the_page_answers_no_foreign_name_on_loopback(home: str) -> None:
    for path in ("/", "/config", "/gradio_api/info", f"/run/{IMAGE_TO_VIDEO.id}"):
        answer = httpx.get(home + path, headers={"host": "evil.example"})
        assert answer.status_code == 403 and "WAN_PUBLIC_URL" in answer.json()["detail"]


def test_every_answer_of_the_page_forbids_guessing_its_type(home: str) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/nowhere", "/assets/nothing.js", "/theme.css", "/robots.txt"):
        assert httpx.get(home + path).headers["x-content-type-options"] == "nosniff"


def ask_from_a_foreign_page(home: str) -> None:
    public = {"host": "wan.example.com", "origin": "https://shop.example"}
    answer = httpx.options(f"{home}/queue/{IMAGE_TO_VIDEO.id}", headers=public | PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert {"authorization", "x-fal-queue-priority"} <= set(answer.headers["access-control-allow-headers"].split(","))
    asked = httpx.get(f"{home}/api/openapi/queue/openapi.json", headers=public)
    assert "x-fal-request-id" in asked.headers["access-control-expose-headers"]


def test_a_foreign_page_may_not_use_the_server_of_somebodys_own_machine(home: str) -> None:
    answer = httpx.options(f"{home}/run/{IMAGE_TO_VIDEO.id}", headers={"origin": "https://evil.example"} | PREFLIGHT)
    assert "access-control-allow-origin" not in answer.headers
    own = httpx.options(f"{home}/run/{IMAGE_TO_VIDEO.id}", headers={"origin": "http://localhost:3000"} | PREFLIGHT)
    assert own.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("path", ["/gradio_api/file=", "/gradio_api/file/"])
def test_the_page_fetches_nobody_elses_files(home: str, path: str) -> None:
    answer = httpx.get(f"{home}{path}{home}/config")
    assert answer.status_code == 403 and "other servers" in answer.json()["detail"]
