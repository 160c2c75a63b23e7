"""The synchronous route: one answer, and no work for callers that are gone."""

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette

from tests.api.conftest import BODY, Twin, a_twin
from tests.support.fake_backend import wait_for_stop
from tests.support.serving import sent, serving
from wan_core.api.job_routes import add_pings
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Job, Stage, Stopped
from wan_core.files import FileStore


def failing(twin: Twin, error: Exception) -> None:
    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        raise error

    twin.backend.scripts["bad"] = script


def test_run_answers_with_the_output_itself(twin: Twin) -> None:
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY | {"seed": 3})
    request_id = answer.headers["x-fal-request-id"]
    assert answer.status_code == 200 and answer.json()["seed"] == 3
    assert answer.json()["video"]["url"].endswith(f"/files/{request_id}.mp4")


@pytest.mark.parametrize(
    ("type", "word", "code"),
    [
        ("worker_lost", "runner_disconnected", 500),
        ("generation_timeout", "generation_timeout", 500),
        ("storage_full", "runner_scheduling_failure", 500),
        ("downstream_service_unavailable", "downstream_service_unavailable", 500),
    ],
)
def test_run_never_answers_what_would_make_a_client_send_it_again(twin: Twin, type: str, word: str, code: int) -> None:
    failing(twin, BackendError(type, "It broke."))
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY | {"prompt": "bad"})
    assert answer.status_code == code and word in answer.text and "It broke." in answer.text


def test_run_reports_a_fault_of_the_input_at_its_field(twin: Twin) -> None:
    failing(twin, InputError("prompt", "content_policy_violation", "The prompt was refused."))
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY | {"prompt": "bad"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "prompt"]


def test_run_keeps_to_the_callers_own_deadline(twin: Twin) -> None:
    twin.backend.scripts["endless"] = wait_for_stop
    held = twin.submit(prompt="endless")
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY, headers={"x-fal-request-timeout": "0.3"})
    assert answer.status_code == 504 and answer.headers["x-fal-request-timeout-type"] == "user"
    twin.http.put(f"/queue/fal-ai/wan/requests/{held}/cancel")


def test_run_cancels_its_job_when_the_caller_leaves(twin: Twin) -> None:
    twin.backend.scripts["endless"] = wait_for_stop
    app = Starlette(routes=twin.api.routes, middleware=twin.api.middleware)
    with serving(app) as home:
        with sent(home, f"/run/{IMAGE_TO_VIDEO.id}", BODY | {"prompt": "endless"}):
            while not twin.backend.ran:
                time.sleep(0.005)
        (record,) = map(twin.house.jobs.get, twin.house.store.ids())
        assert twin.house.outcome(record) == Stopped()


def test_run_makes_no_job_for_a_caller_who_leaves_while_the_picture_is_read(
    twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gone = threading.Event(), threading.Event()

    async def endless(source: object, use: object) -> object:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            gone.set()

    monkeypatch.setattr(twin.house.jobs, "_read_picture", endless)
    app = Starlette(routes=twin.api.routes, middleware=twin.api.middleware)
    with serving(app) as home:
        with sent(home, f"/run/{IMAGE_TO_VIDEO.id}", BODY):
            assert begun.wait(60)
        assert gone.wait(60)
    assert not twin.house.store.ids()


def test_leaving_a_stream_or_the_polls_cancels_nothing(twin: Twin) -> None:
    twin.backend.scripts["endless"] = wait_for_stop
    request_id = twin.submit(prompt="endless")
    record = twin.house.jobs.get(request_id)
    twin.house.wait_until_running(record)
    app = Starlette(routes=twin.api.routes, middleware=twin.api.middleware)
    with serving(app) as home:
        with httpx.stream("GET", f"{home}/queue/fal-ai/wan/requests/{request_id}/status/stream") as stream:
            assert next(stream.iter_lines()).startswith("data: ")
        time.sleep(0.1)
        assert not record.is_over
    twin.house.jobs.cancel(record)


def test_a_long_run_is_logged_with_the_advice_to_queue(data: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    with a_twin(data, seconds_of=lambda job: 281.0) as twin:
        request_id = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY).headers["x-fal-request-id"]
    assert request_id in caplog.text and "use the queue" in caplog.text


def test_a_short_run_is_not(data: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    with a_twin(data, seconds_of=lambda job: 280.0) as twin:
        twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY)
    assert "use the queue" not in caplog.text


def test_the_context_of_a_request_is_prepared_before_it_becomes_a_job(data: FileStore) -> None:
    entered: list[str] = []
    with a_twin(data, enter=lambda request: entered.append(request.url.path)) as twin:
        twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY)
    assert entered == [f"/run/{IMAGE_TO_VIDEO.id}"]


def test_a_quiet_stream_gets_a_comment_line_now_and_then() -> None:
    async def one_late_change() -> list[str]:
        opened = asyncio.Event()

        async def changes():  # type: ignore[no-untyped-def]
            await opened.wait()
            yield "{}"

        parts = []
        async for part in add_pings(changes(), every_s=0.01):
            parts.append(part)
            if len(parts) == 3:
                opened.set()
        return parts

    parts = asyncio.run(one_late_change())
    assert parts[:3] == [": ping\n\n"] * 3 and parts[-1] == "data: {}\n\n"
