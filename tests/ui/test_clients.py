"""The named endpoint as its users meet it: gradio_client, plain HTTP and an MCP client, against a served page."""

import asyncio
import base64
import io
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.clients.conftest import tool
from tests.support.app import free_port
from tests.support.fake_backend import held_until, wait_for_stop
from tests.support.jobs import MOST_FRAMES, House, a_house
from tests.test_recipe import OTHER
from tests.ui.conftest import CHOICE, MACHINE
from wan_core import intake, schema, ui
from wan_core.endpoints import EMPTY_TEXT, IMAGE_TO_VIDEO
from wan_core.errors import Cancelled, InputError
from wan_core.estimator import Estimator
from wan_core.events import Event, Job, Stage, Step, Stopped
from wan_core.files import FileStore
from wan_core.settings import Settings

pytestmark = [
    pytest.mark.client,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CLIENTS = Path(__file__).parents[1] / "clients"
PROMPT = "The camera pans left."


@dataclass
class Served:
    """A page with a scripted backend behind it; `fetched` are the addresses that intake was asked for."""

    house: House
    address: str
    fetched: list[str]
    page: gr.Blocks

    def last_job(self) -> Job:
        record = self.house.jobs.get(self.house.backend.ran[-1])
        assert record is not None
        return record.job

    def request(self) -> schema.ImageToVideoInput:
        """The request of the last job."""
        return self.last_job().inputs

    def picture_of_last_job(self) -> Image.Image:
        job = self.last_job()
        return Image.open(self.house.jobs.files.picture(job.picture))


@pytest.fixture
def served(data: FileStore) -> Iterator[Served]:
    fetched: list[str] = []

    async def fetch(url: str, into: Any, **_: Any) -> int:
        fetched.append(url)
        return into.write(png())

    web: Any = type("Web", (), {"fetch": staticmethod(fetch)})
    read = partial(intake.read, fetch=web, local=lambda url: None, uploads=ui.uploads_folder())
    with a_house(data, read_picture=read) as house:
        page = ui.build(house.jobs, Settings(), Estimator(MACHINE), CHOICE)
        _, address, _ = page.queue(max_size=50, default_concurrency_limit=None).launch(
            server_port=free_port(),
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            show_error=False,
            run_history=False,
            mcp_server=True,
            **ui.launch_options(),
        )
        try:
            yield Served(house, address.rstrip("/"), fetched, page)
        finally:
            page.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "mine.png"
    path.write_bytes(png())
    return path


def png(size: tuple[int, int] = (320, 180)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, "PNG")
    return out.getvalue()


def client(served: Served) -> Client:
    return Client(served.address, verbose=False, analytics_enabled=False)


def test_picture_and_prompt_alone_give_a_clip_with_fals_defaults(served: Served, picture: Path) -> None:
    video, prompt, seed, notes, job_id = client(served).predict(
        image_url=handle_file(picture), prompt=PROMPT, api_name="/image_to_video"
    )
    assert Path(video).read_bytes()[4:8] == b"ftyp"
    assert prompt == PROMPT and 0 <= seed <= schema.MAX_SEED
    assert notes == [] and job_id == served.last_job().id
    request = served.request().model_dump()
    assert {name: request[name] for name in IMAGE_TO_VIDEO.defaults if name != "seed"} == {
        name: value for name, value in IMAGE_TO_VIDEO.defaults.items() if name != "seed"
    }


def test_all_twenty_inputs_arrive_as_sent(served: Served) -> None:
    _, _, seed, *_ = client(served).predict(**OTHER, api_name="/image_to_video")
    assert served.request().model_dump() == OTHER
    assert seed == OTHER["seed"]


def test_an_address_is_fetched_by_intake_and_by_nobody_else(served: Served) -> None:
    address = "http://192.0.2.7/a.png"
    for source in (address, handle_file(address)):
        client(served).predict(image_url=source, prompt=PROMPT, api_name="/image_to_video")
        assert served.fetched.pop() == address and served.fetched == []
        assert served.request().image_url == address


def test_a_data_uri_is_a_picture(served: Served) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png((48, 32))).decode()
    client(served).predict(image_url=uri, prompt=PROMPT, api_name="/image_to_video")
    assert served.picture_of_last_job().size == (48, 32)
    assert served.request().image_url == ""


@pytest.mark.parametrize("with_meta", [True, False])
@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "app.py", "../../etc/passwd"])
def test_a_path_on_the_server_that_was_not_uploaded_is_refused(served: Served, path: str, with_meta: bool) -> None:
    file = {"path": path} | ({"meta": {"_type": "gradio.FileData"}} if with_meta else {})
    answer = called(served, image_url=file, prompt=PROMPT)
    assert answer.startswith("error") and "passwd" not in answer
    assert served.house.backend.ran == []


def test_gradio_checks_paths_because_the_page_was_launched(served: Served) -> None:
    assert served.page.has_launched


def test_our_own_picture_folder_cannot_be_named_either(served: Served, data: FileStore) -> None:
    secret = data.root / "secret.png"
    secret.write_bytes(png())
    assert called(served, image_url={"path": str(secret)}, prompt=PROMPT).startswith("error")
    assert "uploads" in called(served, image_url={"path": str(secret)}, prompt=PROMPT)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_frames": "many"}, f"num_frames must be a whole number from 17 to {MOST_FRAMES}; you sent 'many'."),
        ({"num_frames": 16}, f"num_frames must be a whole number from 17 to {MOST_FRAMES}; you sent 16."),
        ({"shift": 11}, "shift must be a number from 1 to 10; you sent 11."),
        ({"resolution": "1080p"}, "resolution must be one of 480p, 580p, 720p; you sent '1080p'."),
        ({"prompt": " "}, EMPTY_TEXT["prompt"]),
        ({"image_url": ""}, EMPTY_TEXT["image_url"]),
        ({"seed": True}, "seed must be a whole number"),
        ({"image_url": "data:image/png;base64,AAAA"}, "The file is not a picture."),
    ],
)
def test_a_bad_value_gets_our_sentence_and_the_next_request_works(
    served: Served, values: dict[str, Any], sentence: str
) -> None:
    good = {"image_url": "https://example.com/a.png", "prompt": PROMPT}
    answer = called(served, **good | values)
    assert answer.startswith("error") and sentence in json.loads(answer.partition("\n")[2])["error"]
    assert "Traceback" not in answer
    assert called(served, **good).startswith("complete")


def test_a_refusal_of_the_engine_is_told_as_it_is(served: Served) -> None:
    def refuse(job: Any, stop: Any) -> Any:
        yield from ()
        raise InputError("prompt", "content_policy_violation", "The safety check refused the prompt.")

    served.house.backend.scripts[PROMPT] = refuse
    answer = called(served, image_url="https://example.com/a.png", prompt=PROMPT)
    assert "The safety check refused the prompt." in answer


def test_when_the_caller_hangs_up_the_job_is_cancelled(served: Served) -> None:
    served.house.backend.scripts[PROMPT] = wait_for_stop
    asking = client(served)
    job = asking.submit(image_url="https://example.com/a.png", prompt=PROMPT, api_name="/image_to_video")
    while not served.house.backend.ran:
        asyncio.run(asyncio.sleep(0.05))
    record = served.house.jobs.get(served.house.backend.ran[0])
    assert record is not None
    job.cancel()
    assert "Stopped" in type(served.house.outcome(record)).__name__


def wait_for_jobs(served: Served, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(served.house.runner.records.unfinished()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_second_call_of_a_client_lives_when_its_first_is_cancelled(served: Served) -> None:
    served.house.backend.scripts[PROMPT] = wait_for_stop
    asking = client(served)
    values = {"image_url": "https://example.com/a.png", "api_name": "/image_to_video"}
    first = asking.submit(prompt=PROMPT, **values)
    wait_for_jobs(served, 1)
    second = asking.submit(prompt="another walk", **values)
    wait_for_jobs(served, 2)
    first.cancel()
    assert second.result(timeout=60)[1] == "another walk"
    (stopped,) = [job_id for job_id in served.house.backend.ran if job_id != served.last_job().id]
    record = served.house.jobs.get(stopped)
    assert record is not None and isinstance(served.house.outcome(record), Stopped)


def test_the_first_call_of_a_client_lives_when_its_second_is_cancelled_while_it_waits(served: Served) -> None:
    gate = threading.Event()
    served.house.backend.scripts[PROMPT] = held_until(gate, served.house.backend.make_clip)
    asking = client(served)
    values = {"image_url": "https://example.com/a.png", "api_name": "/image_to_video"}
    first = asking.submit(prompt=PROMPT, **values)
    wait_for_jobs(served, 1)
    second = asking.submit(prompt="another walk", **values)
    wait_for_jobs(served, 2)
    waiting = served.house.runner.records.unfinished()[-1]
    second.cancel()
    assert isinstance(served.house.outcome(waiting), Stopped)
    gate.set()
    assert first.result(timeout=60)[1] == PROMPT


def test_the_helpers_of_the_page_cannot_be_called_by_name(served: Served) -> None:
    assert list(client(served).view_api(return_format="dict")["named_endpoints"]) == ["/image_to_video", "/explore"]


def test_an_mcp_client_finds_the_tool_and_makes_a_clip(served: Served) -> None:
    async def use() -> tuple[Any, Any]:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(f"{served.address}/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            arguments = {"image_url": "https://example.com/a.png", "prompt": PROMPT, "num_frames": 17}
            return tools.tools, await session.call_tool("image_to_video", arguments)

    tools, answer = asyncio.run(use())
    (tool,) = [each for each in tools if each.name == "image_to_video"]
    assert tool.name == "image_to_video" and "Wan 2.2" in tool.description
    assert set(tool.inputSchema["properties"]) == set(IMAGE_TO_VIDEO.fields)
    assert tool.inputSchema["required"] == ["image_url", "prompt"]
    assert IMAGE_TO_VIDEO.fields["shift"].description in tool.inputSchema["properties"]["shift"]["description"]
    assert not answer.isError, answer
    video, prompt, seed, _, job_id = [part.text for part in answer.content]
    assert video.startswith("http") and video.endswith(".mp4"), video
    assert prompt == PROMPT and seed.isdecimal()
    assert served.request().num_frames == 17 and job_id == served.last_job().id
    properties = tool.inputSchema["properties"]
    bounds = {name: (properties[name].get("minimum"), properties[name].get("maximum")) for name in properties}
    assert bounds["num_inference_steps"] == (2, 40) and bounds["shift"] == (1, 10)
    assert properties["resolution"]["enum"] == ["480p", "580p", "720p"]
    assert properties["enable_safety_checker"]["default"] is False


def test_an_mcp_client_hears_of_each_step_and_a_caller_who_leaves_leaves_no_job(served: Served) -> None:
    def endless(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        yield Step("sampling", 1, 4)
        stop.wait(60)
        raise Cancelled

    served.house.backend.scripts[PROMPT] = endless
    heard: list[str] = []

    async def use() -> None:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        stepped = asyncio.Event()

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            heard.append(message or "")
            if "Step 1 of 4" in heard[-1]:
                stepped.set()

        async with (
            streamable_http_client(f"{served.address}/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            arguments = {"image_url": "https://example.com/a.png", "prompt": PROMPT}
            call = asyncio.create_task(session.call_tool("image_to_video", arguments, progress_callback=on_progress))
            await asyncio.wait_for(stepped.wait(), 30)
            call.cancel()

    asyncio.run(use())
    record = served.house.jobs.get(served.house.backend.ran[0])
    assert record is not None and served.house.outcome(record) == Stopped()


def called(served: Served, **values: Any) -> str:
    """The last event of a call over plain HTTP: its name, a new line, its data."""
    begun = httpx.post(f"{served.address}/gradio_api/call/v2/image_to_video", json=values)
    assert begun.status_code == 200, begun.text
    stream = httpx.get(f"{served.address}/gradio_api/call/image_to_video/{begun.json()['event_id']}", timeout=30).text
    name, _, data = [event for event in stream.split("\n\n") if event.strip()][-1].partition("\n")
    return f"{name.removeprefix('event: ')}\n{data.removeprefix('data: ')}"


def test_a_fault_reaches_gradio_client_as_our_sentence(served: Served) -> None:
    with pytest.raises(AppError, match=f"num_frames must be a whole number from 17 to {MOST_FRAMES}"):
        client(served).predict(
            image_url="https://example.com/a.png", prompt=PROMPT, num_frames=3, api_name="/image_to_video"
        )


def javascript(script: str, address: str) -> Any:
    """What a script of tests/clients reports of the page."""
    if not (CLIENTS / "node_modules" / "@gradio" / "client").is_dir():
        missing = "run `npm ci --prefix tests/clients`"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    command = [tool("node"), str(CLIENTS / "scripts" / script), address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_gradios_javascript_client_makes_a_clip_and_hears_a_fault(served: Served) -> None:
    seen = javascript("gradio.mjs", served.address)
    assert (seen["prompt"], seen["seed"], seen["id"]) == ("a walk", 7, served.last_job().id)
    assert httpx.get(seen["url"]).content[4:8] == b"ftyp"
    assert "from 2 to 40" in seen["fault"]


def test_mcps_javascript_client_finds_the_bounds_hears_progress_and_hears_a_fault(served: Served) -> None:
    seen = javascript("mcp.mjs", served.address)
    assert (seen["steps"]["minimum"], seen["steps"]["maximum"], seen["steps"]["default"]) == (2, 40, 27)
    assert seen["heard"] > 0 and not seen["isError"] and served.last_job().id in str(seen["content"])
    assert seen["refused"]["isError"] and "40" in seen["refused"]["text"]
