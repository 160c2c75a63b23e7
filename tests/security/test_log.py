"""The log at DEBUG: whatever way a request comes in, well or badly, nothing of it stands there, and it stays short."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.app import outcome_of, running_app
from wan_core.endpoints import IMAGE_TO_VIDEO

pytestmark = [pytest.mark.security, pytest.mark.timeout(900)]

CANARY = "canary5b1"
KEY = {"authorization": f"Key {CANARY}-key"}
SMALL = {"num_frames": 17, "num_inference_steps": 2, "resolution": "480p", "interpolator_model": "none"}
PROMPT = {"prompt": f"{CANARY} pans left", "negative_prompt": f"{CANARY} blur"}
LONG = CANARY * 25_000
CALL = "/gradio_api/call/image_to_video"
MCP = {"accept": "application/json, text/event-stream"}


@dataclass
class Watched:
    """A running app and the file that it prints to."""

    http: httpx.Client
    output: Path

    def printed(self) -> str:
        return self.output.read_text("utf-8", errors="replace")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("log")
    variables = {"WAN_LOG_LEVEL": "DEBUG", "GRADIO_TEMP_DIR": str(folder / "gradio"), "WAN_API_KEYS": f"{CANARY}-key"}
    with (folder / "output").open("wb") as output, running_app(folder / "data", output=output, **variables) as running:
        with httpx.Client(base_url=running.home, timeout=60) as http:
            yield Watched(http, folder / "output")


@pytest.fixture(autouse=True)
def nothing_is_printed_of_what_was_sent(app: Watched) -> Iterator[None]:
    before = len(app.printed())
    yield
    printed = app.printed()[before:]
    assert CANARY not in printed and picture()[60:90].hex() not in printed
    assert "Traceback" not in printed
    assert len(printed) < 20_000, "anybody could fill the disk"
    assert max((len(line) for line in printed.splitlines()), default=0) < 1_200


def picture() -> bytes:
    """A PNG with the canary in its text."""
    stored, info = io.BytesIO(), PngInfo()
    info.add_text("Comment", CANARY)
    Image.linear_gradient("L").convert("RGB").resize((64, 64)).save(stored, "PNG", pnginfo=info)
    return stored.getvalue()


def data_uri() -> str:
    return f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


def last_event(app: Watched, answer: httpx.Response) -> str:
    """What a call ended with: the data of its last event."""
    assert answer.status_code == 200, answer.text
    stream = app.http.get(f"{CALL}/{answer.json()['event_id']}").text
    return [event for event in stream.split("\n\n") if event.strip()][-1]


def test_a_job_over_http(app: Watched) -> None:
    body = SMALL | PROMPT | {"image_url": data_uri()}
    job = app.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=body, headers=KEY).json()
    assert outcome_of(job["status_url"], headers=KEY)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "values",
    [{"num_frames": CANARY}, {"prompt": LONG[:9000]}, {"image_url": f"http://127.0.0.1/{CANARY}"}, {CANARY: CANARY}],
    ids=range(4),
)
def test_a_refused_request_over_http(app: Watched, values: dict[str, Any]) -> None:
    body = PROMPT | {"image_url": f"data:image/png;base64,{CANARY}"} | values
    assert app.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=body, headers=KEY).status_code == 422
    assert app.http.post(f"/run/{IMAGE_TO_VIDEO.id}?{CANARY}", content=CANARY, headers=KEY).status_code == 415


def test_a_job_by_the_named_endpoint(app: Watched) -> None:
    upload = app.http.post("/gradio_api/upload", files={"files": (f"{CANARY}.png", picture())}).json()[0]
    for image in (data_uri(), {"path": upload, "meta": {"_type": "gradio.FileData"}}):
        answer = app.http.post("/gradio_api/call/v2/image_to_video", json=SMALL | PROMPT | {"image_url": image})
        assert "event: complete" in last_event(app, answer)


@pytest.mark.parametrize(
    "values",
    [[], [LONG], [CANARY] * 19, [{CANARY: CANARY}] * 20, [CANARY] * 30, [[CANARY]] * 20],
    ids=range(6),
)
def test_a_call_with_values_that_do_not_fit_gets_a_sentence(app: Watched, values: list[Any]) -> None:
    ended = last_event(app, app.http.post(CALL, json={"data": values}))
    assert "event: error" in ended
    error = json.loads(ended.partition("data: ")[2])["error"]
    assert error and error.endswith(".") and len(error) < 400
    ran = app.http.post("/gradio_api/run/image_to_video", json={"data": values})
    assert ran.status_code == 404, "what waits in a queue has no other way in"


@pytest.mark.parametrize(
    "body", [{"data": CANARY}, {CANARY: 1}, [CANARY], CANARY, {"data": [], "session_hash": [CANARY]}]
)
@pytest.mark.parametrize("path", [CALL, "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel"])
def test_a_body_that_no_route_takes_is_refused_without_an_echo(app: Watched, path: str, body: Any) -> None:
    answer = app.http.post(path, json=body)
    assert answer.status_code in (400, 404, 422) and answer.json()["detail"]
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/gradio_api/call/{CANARY}", {"data": [CANARY]}),
        (f"/gradio_api/call/v2/{CANARY}", {"prompt": CANARY}),
        ("/gradio_api/call/v2/image_to_video", {CANARY: CANARY}),
        ("/gradio_api/call/v2/image_to_video", {}),
        ("/gradio_api/queue/join", {"data": [CANARY], "fn_index": 9999, "session_hash": CANARY}),
        ("/gradio_api/queue/join", {"data": [CANARY], "fn_index": 0, "session_hash": CANARY, "event_data": CANARY}),
        ("/gradio_api/run/predict", {"data": [CANARY], "fn_index": 9999}),
        (f"/gradio_api/run/{CANARY}", {"data": [CANARY]}),
    ],
)
def test_a_name_or_index_that_is_not_there_is_the_callers_fault(app: Watched, path: str, body: dict[str, Any]) -> None:
    answer = app.http.post(path, json=body)
    assert answer.status_code in (200, 400, 404, 422), answer.text


@pytest.mark.parametrize("value", [CANARY, {CANARY: 1}, {"path": CANARY}, [[CANARY]], 5, None])
def test_no_event_of_the_page_prints_what_it_was_sent(app: Watched, value: Any) -> None:
    dependencies = app.http.get("/config").json()["dependencies"]
    assert len(dependencies) > 10
    for dependency in dependencies:
        body = {"fn_index": dependency["id"], "session_hash": CANARY, "trigger_id": None}
        for values in ([value] * len(dependency["inputs"]), [value]):
            route = "/gradio_api/queue/join" if dependency["queue"] else "/gradio_api/run/predict"
            answer = app.http.post(route, json=body | {"data": values})
            assert answer.status_code in (200, 400, 422), answer.text
            assert len(answer.content) < 50_000


@pytest.mark.parametrize(
    "arguments",
    [SMALL | PROMPT | {"image_url": data_uri()}, {"prompt": CANARY, "num_frames": CANARY}, {CANARY: CANARY}, {}],
    ids=range(4),
)
def test_a_call_over_mcp(app: Watched, arguments: dict[str, Any]) -> None:
    call = {"name": "image_to_video", "arguments": arguments, "_meta": {"progressToken": CANARY}}
    for method, params in (
        ("tools/call", call),
        ("tools/call", {"name": CANARY}),
        (CANARY, {}),
        ("tools/call", CANARY),
    ):
        asked = {"jsonrpc": "2.0", "id": CANARY, "method": method, "params": params}
        assert app.http.post("/gradio_api/mcp/", json=asked, headers=MCP).status_code < 500


@pytest.mark.parametrize("form", [{CANARY: CANARY}, {"files": CANARY}])
def test_a_form_without_a_file(app: Watched, form: dict[str, str]) -> None:
    content = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in form.items())
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert app.http.post("/gradio_api/upload", content=content + "--x--\r\n", headers=kind).status_code < 500
    assert app.http.post("/gradio_api/upload", content=content, headers=kind | {CANARY: CANARY}).status_code < 500
    assert app.http.post("/gradio_api/upload", content=CANARY, headers={"content-type": CANARY}).status_code == 400


def test_the_page_opened_by_a_share_link(app: Watched) -> None:
    assert app.http.get("/", params={"prompt": CANARY, "num_frames": CANARY}).status_code == 200
    assert app.http.get(f"/gradio_api/file={CANARY}").status_code in (403, 404)
    assert app.http.get(f"/{CANARY}").status_code == 404
