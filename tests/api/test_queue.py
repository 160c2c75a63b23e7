"""submit, status, stream, result, cancel: fal's words on the wire, as its clients read them."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import BODY, Twin
from tests.support.fake_backend import wait_for_stop
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Job, Log, Note, Stage

APP = "fal-ai/wan"


@pytest.fixture
def gate(twin: Twin) -> Iterator[threading.Event]:
    """Requests with the prompt "held" wait until it opens; they log two lines before."""
    opened = threading.Event()

    def held(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("loading")
        yield Log("Nearly there.")
        opened.wait()
        yield from twin.backend.make_clip(job, stop)

    twin.backend.scripts["held"] = held
    yield opened
    opened.set()


def status(twin: Twin, request_id: str, query: str = "", app: str = APP) -> Any:
    return twin.http.get(f"/queue/{app}/requests/{request_id}/status{query}")


def running(twin: Twin, **values: Any) -> str:
    request_id = twin.submit(**{"prompt": "held"} | values)
    while status(twin, request_id).json()["status"] == "IN_QUEUE":
        time.sleep(0.01)
    return request_id


def failing(twin: Twin, error: Exception) -> str:
    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        raise error

    twin.backend.scripts["bad"] = script
    return twin.ended(twin.submit(prompt="bad"))


def test_a_submission_says_where_it_can_be_followed(twin: Twin) -> None:
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY)
    body = answer.json()
    home = f"http://127.0.0.1:7860/queue/{APP}/requests/{body['request_id']}"
    assert answer.status_code == 200
    assert body["status"] == "IN_QUEUE" and body["queue_position"] == 0
    assert body["response_url"] == home
    assert body["status_url"] == f"{home}/status" and body["cancel_url"] == f"{home}/cancel"
    assert answer.headers["x-fal-request-id"] == body["request_id"]
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-fal-request-id", "x-fal-retryable", "x-fal-request-timeout-type", "retry-after", "etag"} <= set(exposed)


def test_status_is_202_until_the_job_is_over_and_then_200(twin: Twin, gate: threading.Event) -> None:
    first = running(twin)
    second = twin.submit()
    in_progress, in_queue = status(twin, first), status(twin, second)
    assert (in_progress.status_code, in_progress.json()["status"]) == (202, "IN_PROGRESS")
    assert (in_queue.status_code, in_queue.json()["status"]) == (202, "IN_QUEUE")
    assert in_queue.json()["queue_position"] == 0
    gate.set()
    completed = status(twin, twin.ended(first))
    assert (completed.status_code, completed.json()["status"]) == (200, "COMPLETED")
    assert completed.json()["metrics"]["inference_time"] >= 0
    assert "error" not in completed.json()


def test_logs_are_cumulative_when_asked_for_and_null_otherwise(twin: Twin, gate: threading.Event) -> None:
    request_id = running(twin)
    assert status(twin, request_id).json()["logs"] is None
    assert status(twin, request_id, "?logs=false").json()["logs"] is None
    while len(logs := status(twin, request_id, "?logs=1").json()["logs"]) < 2:
        time.sleep(0.01)
    assert [line["message"] for line in logs] == ["Loading the model.", "Nearly there."]
    assert set(logs[0]) == {"message", "timestamp", "level", "source"}
    assert logs[0]["source"] == "USER" and logs[0]["timestamp"].endswith("+00:00")
    gate.set()
    after = status(twin, twin.ended(request_id), "?logs=true").json()["logs"]
    assert after[:2] == logs and len(after) > 2


@pytest.mark.parametrize("app", [APP, IMAGE_TO_VIDEO.id, IMAGE_TO_VIDEO.id.replace("a14b", "a14B")])
@pytest.mark.parametrize("end", ["", "/", "/response", "/response/"])
def test_a_result_is_found_at_every_path_clients_use(twin: Twin, app: str, end: str) -> None:
    request_id = twin.ended(twin.submit())
    answer = twin.http.get(f"/queue/{app}/requests/{request_id}{end}")
    assert answer.status_code == 200 and set(answer.json()) == {"video", "prompt", "seed"}
    assert status(twin, request_id, "/", app).json()["status"] == "COMPLETED"


def test_the_capital_letter_of_the_document_is_the_same_endpoint(twin: Twin) -> None:
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id.replace('a14b', 'a14B')}", json=BODY).status_code == 200


def test_the_result_is_fals_three_outputs(twin: Twin) -> None:
    request_id = twin.ended(twin.submit(seed=7))
    answer = twin.http.get(f"/queue/{APP}/requests/{request_id}")
    result = answer.json()
    assert result["seed"] == 7 and result["prompt"] == "a walk"
    video = result["video"]
    assert video["url"] == f"http://127.0.0.1:7860/files/{request_id}.mp4"
    assert video["content_type"] == "video/mp4" and video["file_name"] == f"{request_id}.mp4"
    record = twin.house.jobs.get(request_id)
    made = record.outcome.result
    assert (video["width"], video["height"]) == (made.size.width, made.size.height)
    assert (video["fps"], video["num_frames"]) == (made.fps, made.frames)
    assert video["duration"] == round(made.frames / made.fps, 3)
    assert video["file_size"] == len(twin.http.get(f"/files/{request_id}.mp4").content)
    assert answer.headers["x-fal-request-id"] == request_id


def test_what_was_not_done_as_asked_is_said_in_the_result(twin: Twin) -> None:
    def noting(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Note("The prompt was not checked.")
        yield from twin.backend.make_clip(job, stop)

    twin.backend.scripts["noting"] = noting
    request_id = twin.ended(twin.submit(prompt="noting"))
    assert twin.http.get(f"/queue/{APP}/requests/{request_id}").json()["notes"] == ["The prompt was not checked."]


def test_a_result_asked_for_too_early_is_refused(twin: Twin, gate: threading.Event) -> None:
    answer = twin.http.get(f"/queue/{APP}/requests/{running(twin)}")
    assert answer.status_code == 400 and answer.json()["detail"] == "Request is still in progress"


@pytest.mark.parametrize("path", ["", "/status", "/status/stream", "/cancel"])
def test_an_unknown_id_is_not_found(twin: Twin, path: str) -> None:
    method = "PUT" if path == "/cancel" else "GET"
    answer = twin.http.request(method, f"/queue/{APP}/requests/00000000-0000-4000-8000-000000000000{path}")
    assert answer.status_code == 404 and answer.json()["status"] == "NOT_FOUND"
    assert "No such request" in answer.json()["detail"]


def test_a_waiting_request_is_cancelled_at_once(twin: Twin, gate: threading.Event) -> None:
    running(twin)
    waiting = twin.submit()
    answer = twin.http.put(f"/queue/{APP}/requests/{waiting}/cancel", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    after = status(twin, waiting).json()
    assert (after["status"], after["error_type"]) == ("COMPLETED", "client_cancelled")
    result = twin.http.get(f"/queue/{APP}/requests/{waiting}")
    assert (result.status_code, result.json()["error_type"]) == (499, "client_cancelled")


def test_a_running_request_is_cancelled_and_a_finished_one_is_not(twin: Twin) -> None:
    twin.backend.scripts["endless"] = wait_for_stop
    request_id = running(twin, prompt="endless")
    assert twin.http.put(f"/queue/{APP}/requests/{request_id}/cancel").status_code == 202
    again = twin.http.put(f"/queue/{APP}/requests/{twin.ended(request_id)}/cancel/")
    assert (again.status_code, again.json()) == (400, {"status": "ALREADY_COMPLETED"})


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(part.removeprefix("data: ")) for part in text.strip().split("\n\n") if part.startswith("data: ")]


def test_a_stream_sends_each_log_line_once_and_ends_with_the_job(twin: Twin, gate: threading.Event) -> None:
    request_id = running(twin)
    threading.Timer(0.1, gate.set).start()
    answer = twin.http.get(f"/queue/{APP}/requests/{request_id}/status/stream?logs=1")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [event["status"] for event in events][-1] == "COMPLETED"
    assert [event["status"] for event in events].count("COMPLETED") == 1
    streamed = [line["message"] for event in events for line in event["logs"]]
    polled = [line["message"] for line in status(twin, request_id, "?logs=1").json()["logs"]]
    assert streamed == polled and len(polled) >= 5


def test_a_stream_of_a_finished_request_is_one_event(twin: Twin) -> None:
    request_id = twin.ended(twin.submit())
    events = events_of(twin.http.get(f"/queue/{APP}/requests/{request_id}/status/stream").text)
    assert [event["status"] for event in events] == ["COMPLETED"] and events[0]["logs"] is None


@pytest.mark.parametrize(
    ("error", "code", "type"),
    [
        (InputError("prompt", "content_policy_violation", "The prompt was refused."), 422, "content_policy_violation"),
        (BackendError("out_of_memory", "The card has too little memory."), 500, "internal_server_error"),
        (BackendError("generation_timeout", "It took too long."), 504, "generation_timeout"),
        (BackendError("no_media_generated", "Nothing came out."), 422, "no_media_generated"),
        (BackendError("quota_exceeded", "The quota is used up."), 400, "downstream_service_error"),
        (BackendError("something_new", "New."), 500, "internal_server_error"),
    ],
)
def test_a_failure_has_fals_word_in_status_and_result(twin: Twin, error: Any, code: int, type: str) -> None:
    request_id = failing(twin, error)
    after = status(twin, request_id)
    assert after.status_code == 200 and after.json()["status"] == "COMPLETED"
    assert (after.json()["error"], after.json()["error_type"]) == (error.message, type)
    result = twin.http.get(f"/queue/{APP}/requests/{request_id}")
    assert result.status_code == code
    fault = result.json()["detail"][0]
    assert (fault["msg"], fault["type"]) == (error.message, type)
    assert fault["loc"] == (["body", "prompt"] if isinstance(error, InputError) else ["body"])
    assert fault["url"] == f"https://docs.fal.ai/errors/#{type}"


@pytest.mark.parametrize(
    ("type", "code", "word"),
    [
        ("worker_lost", 503, "runner_disconnected"),
        ("storage_full", 503, "runner_scheduling_failure"),
        ("runner_incomplete_response", 502, "runner_incomplete_response"),
        ("concurrent_requests_limit", 500, "concurrent_requests_limit"),
    ],
)
def test_a_fault_around_the_model_has_fals_other_shape(twin: Twin, type: str, code: int, word: str) -> None:
    result = twin.http.get(f"/queue/{APP}/requests/{failing(twin, BackendError(type, 'It broke.'))}")
    assert result.status_code == code and result.json()["detail"] == "It broke."
    assert result.json()["error_type"] == result.headers["x-fal-error-type"] == word
    again = code in (500, 503)
    assert result.headers["x-fal-retryable"] == str(again).lower()
    assert result.headers["x-fal-needs-retry"] == str(int(again))


def test_an_unforeseen_failure_shows_no_detail(twin: Twin) -> None:
    result = twin.http.get(f"/queue/{APP}/requests/{failing(twin, ZeroDivisionError('/secret'))}")
    assert result.status_code == 500 and "secret" not in result.text


def test_a_request_that_may_not_wait_long_fails_with_fals_timeout(twin: Twin, gate: threading.Event) -> None:
    running(twin)
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY, headers={"x-fal-request-timeout": "0.2"})
    request_id = twin.ended(answer.json()["request_id"])
    after = status(twin, request_id).json()
    assert (after["status"], after["error_type"]) == ("COMPLETED", "request_timeout")
    result = twin.http.get(f"/queue/{APP}/requests/{request_id}")
    assert result.status_code == 504 and result.headers["x-fal-request-timeout-type"] == "user"
    assert result.json()["error_type"] == "request_timeout"


def test_the_timeout_stops_counting_once_the_job_has_begun(twin: Twin, gate: threading.Event) -> None:
    answer = twin.http.post(
        f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"prompt": "held"}, headers={"x-fal-request-timeout": "1"}
    )
    threading.Timer(1.2, gate.set).start()
    request_id = twin.ended(answer.json()["request_id"])
    assert twin.http.get(f"/queue/{APP}/requests/{request_id}").status_code == 200


@pytest.mark.parametrize("seconds", ["", "0.1", "-3", "nan", "inf", "soon", "1e999"])
def test_an_odd_timeout_is_refused(twin: Twin, seconds: str) -> None:
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY, headers={"x-fal-request-timeout": seconds})
    assert answer.status_code == 400 and not twin.house.store.ids()


def test_a_queue_longer_than_the_caller_likes_is_refused_before_anything_is_kept(
    twin: Twin, gate: threading.Event
) -> None:
    running(twin)
    twin.submit()
    refusal = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}?fal_max_queue_length=1", json=BODY)
    assert refusal.status_code == 429 and refusal.headers["x-fal-needs-retry"] == "1"
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}?fal_max_queue_length=2", json=BODY).status_code == 200
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}?fal_max_queue_length=many", json=BODY).status_code == 400


def test_a_full_queue_is_429_with_a_time_to_come_back(twin: Twin, gate: threading.Event) -> None:
    running(twin)
    for _ in range(50):
        twin.submit()
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY)
    assert answer.status_code == 429 and answer.headers["retry-after"] == "60"
    assert answer.json()["error_type"] == "concurrent_requests_limit"


def test_hints_for_fals_own_machines_are_accepted(twin: Twin) -> None:
    hints = {"x-fal-runner-hint": "here", "x-fal-no-retry": "1"}
    assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY, headers=hints).status_code == 200


def test_polls_ask_the_database_nothing(twin: Twin, gate: threading.Event) -> None:
    request_id = running(twin)
    waiting = twin.submit()
    statements: list[str] = []
    twin.house.store._db.set_trace_callback(statements.append)
    for each in (request_id, waiting) * 20:
        assert status(twin, each, "?logs=1").status_code == 202
    assert statements == []


def test_a_request_of_low_priority_waits_behind_the_others(twin: Twin, gate: threading.Event) -> None:
    running(twin)
    low = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY, headers={"x-fal-queue-priority": "low"})
    normal = twin.submit()
    gate.set()
    ended = [twin.house.jobs.get(twin.ended(each)) for each in (low.json()["request_id"], normal)]
    assert ended[0].started_at > ended[1].started_at
