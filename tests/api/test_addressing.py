"""Target header, host, prefix: every way in leads to one path; every answer names an address that leads back."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.api.conftest import BODY, Twin, a_twin
from wan_core.api.addressing import Target, is_local, parse_target
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore

RUN = f"/run/{IMAGE_TO_VIDEO.id}"
JOB = "/queue/fal-ai/wan/requests/1"


@pytest.mark.parametrize(
    ("path", "headers", "target"),
    [
        (RUN, {}, Target(RUN)),
        (RUN + "/", {}, Target(RUN)),
        (f"{JOB}\n/status", {}, Target(f"{JOB} /status")),
        (RUN.replace("a14b", "a14B"), {}, Target(RUN)),
        (f"/queue/{IMAGE_TO_VIDEO.id}/requests/1/status", {}, Target(f"{JOB}/status")),
        (f"{JOB}/response/", {}, Target(JOB)),
        (f"/{IMAGE_TO_VIDEO.id}", {"host": "fal.run"}, Target(RUN)),
        (f"/{IMAGE_TO_VIDEO.id}", {"host": "FAL.run:443"}, Target(RUN)),
        (f"/{IMAGE_TO_VIDEO.id}", {"host": "queue.fal.run"}, Target(f"/queue/{IMAGE_TO_VIDEO.id}")),
        (f"/{IMAGE_TO_VIDEO.id}", {"host": "127.0.0.1:1", "x-forwarded-host": "fal.run"}, Target(RUN)),
        ("/storage/auth/token", {"host": "rest.fal.ai"}, Target("/rest/storage/auth/token")),
        ("/files/upload", {"host": "v3.fal.media"}, Target("/cdn/files/upload")),
        ("/cdn/files/a.png", {"host": "v3.fal.media"}, Target("/cdn/files/a.png")),
        ("/files/1.mp4", {"host": "fal.run"}, Target("/files/1.mp4")),
        ("/", {}, Target("/")),
        ("/", {"host": "fal.run"}, Target("/run/")),
        ("/anywhere", {"x-fal-target-url": "https://queue.fal.run"}, Target("/queue/", "")),
        ("/gradio_api/info/", {}, Target("/gradio_api/info/")),
        ("/api/fal/proxy", {"x-fal-target-url": f"https://fal.run/{IMAGE_TO_VIDEO.id}"}, Target(RUN, "")),
        (
            "/anywhere",
            {"x-fal-target-url": f"https://queue.fal.run{JOB[6:]}/status?logs=1"},
            Target(f"{JOB}/status", "logs=1"),
        ),
        (
            "/files/1.mp4",
            {"host": "fal.run", "x-fal-target-url": "https://rest.fal.ai/tokens/"},
            Target("/rest/tokens", ""),
        ),
    ],
)
def test_a_request_goes_where_it_means(path: str, headers: dict[str, str], target: Target) -> None:
    assert parse_target(path, Headers({"host": "127.0.0.1"} | headers)) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x",
        "http://169.254.169.254/",
        "https://fal.run.example.com/",
        "https://user@evil/",
        "ftp://fal.run/",
        "//fal.run/x",
        "fal.run",
        "",
        "https://[",
        "https://xn--/",
    ],
)
def test_no_other_target_is_taken(twin: Twin, url: str) -> None:
    answer = twin.http.post("/api/fal/proxy", json=BODY, headers={"x-fal-target-url": url})
    assert answer.status_code == 400 and "x-fal-target-url" in answer.json()["detail"]
    assert answer.headers["x-fal-request-id"]


def test_the_proxy_path_without_a_target_is_refused(twin: Twin) -> None:
    assert twin.http.post("/api/fal/proxy", json=BODY).status_code == 400


def links(twin: Twin, path: str = f"/queue/{IMAGE_TO_VIDEO.id}", **headers: str) -> Any:
    answer = twin.http.post(path, json=BODY, headers={n.replace("_", "-"): v.encode() for n, v in headers.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()["status_url"].split("/fal-ai")[0]


def test_addresses_are_those_the_caller_typed(twin: Twin) -> None:
    assert links(twin) == "http://127.0.0.1:7860/queue"
    assert links(twin, host="localhost:9") == "http://localhost:9/queue"
    assert links(twin, x_forwarded_proto="https", x_forwarded_host="localhost") == "https://localhost/queue"
    assert links(twin, f"/{IMAGE_TO_VIDEO.id}", host="queue.fal.run") == "https://queue.fal.run"


@pytest.mark.parametrize("host", ["a b", "a/b", "<script>", "a@b", "x" * 300, "a:999999", "é"])
def test_an_odd_forwarded_host_never_reaches_an_answer(
    data: FileStore, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "open")
    with a_twin(data) as twin:
        assert links(twin, x_forwarded_host=host) == "http://127.0.0.1:7860/queue"


@pytest.mark.parametrize(
    ("name", "value", "home"),
    [
        ("WAN_PUBLIC_URL", "https://wan.example.com/fal/", "https://wan.example.com/fal/queue"),
        ("SPACE_HOST", "me-wan.hf.space", "https://me-wan.hf.space/queue"),
    ],
)
def test_what_the_host_says_about_itself_wins(
    data: FileStore, monkeypatch: pytest.MonkeyPatch, name: str, value: str, home: str
) -> None:
    monkeypatch.setenv(name, value)
    with a_twin(data) as twin:
        assert links(twin, x_forwarded_host="localhost") == home


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"host": "127.0.0.1:7860"}, True),
        ({"host": "localhost"}, True),
        ({"host": "[::1]:7860"}, True),
        ({"host": "fal.run"}, True),
        ({"host": "wan.example.com"}, False),
        ({"host": "localhost.example.com"}, False),
        ({"host": "127.0.0.1", "x-forwarded-host": "wan.example.com"}, False),
        ({"host": "wan.example.com", "x-forwarded-host": "localhost"}, False),
        ({}, False),
    ],
)
def test_only_names_of_this_machine_are_local(headers: dict[str, str], local: bool) -> None:
    assert is_local(Headers(headers)) is local


@pytest.mark.parametrize("path", ["/run/x", "/queue/x", "/rest/x", "/cdn/x", "/jobs/x", "/run/a/b/c"])
def test_what_is_not_there_is_404_in_fals_shape(twin: Twin, path: str) -> None:
    answer = twin.http.post(path, json=BODY)
    assert answer.status_code == 404 and answer.json()["detail"] == f"Path {path} not found"
    assert answer.headers["x-fal-request-id"]


def test_a_method_that_is_not_there_is_405(twin: Twin) -> None:
    answer = twin.http.get(f"/queue/{IMAGE_TO_VIDEO.id}")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=http://127.0.0.1:1/", "/gradio_api/file=https://a", "/gradio_api/file/http:/a"]
)
def test_files_of_other_servers_are_not_handed_out(twin: Twin, path: str) -> None:
    assert twin.http.get(path).status_code == 403
    assert twin.http.get("/gradio_api/file=/tmp/gradio/a.png").status_code == 404
