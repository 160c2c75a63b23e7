"""The turbo endpoint: its own fields and price, the engine that serves it here, and what is said of both."""

from functools import partial
from typing import Any

import pytest

from tests.api.conftest import BODY, Twin, a_twin
from tests.support.jobs import OPTIONS
from wan_core.endpoints import ENDPOINTS, IMAGE_TO_VIDEO, IMAGE_TO_VIDEO_TURBO
from wan_core.files import FileStore
from wan_core.pricing import dollars_on_fal
from wan_core.profiles import GIB, Choice, Machine, profiles
from wan_core.serving import Serving, serve

BOTH = sorted(ENDPOINTS)
BARE, CARD = Machine(), Machine("L40S", 45 * GIB)
MINIATURE = Choice(profiles()["miniature"], "It suits.")
FULL = Choice(profiles()["a14b"], "It suits.")


def post(twin: Twin, endpoint: str, **values: Any) -> Any:
    answer = twin.http.post(f"/run/{endpoint}", json=BODY | values)
    assert answer.status_code == 200, answer.text
    record = twin.house.jobs.get(answer.headers["x-fal-request-id"])
    assert record is not None
    return record.job, answer.json()


def test_it_makes_81_frames_in_four_steps_and_nothing_that_is_sent_changes_that(shared_twin: Twin) -> None:
    job, _ = post(shared_twin, IMAGE_TO_VIDEO_TURBO.id, num_frames=17, resolution="480p", seed=3)
    asked = job.inputs
    assert (asked.num_frames, asked.frames_per_second, asked.num_inference_steps) == (81, 16, 4)
    assert (asked.guidance_scale, asked.interpolator_model, asked.resolution, asked.seed) == (1, "none", "480p", 3)
    assert job.endpoint == IMAGE_TO_VIDEO_TURBO.id


@pytest.mark.parametrize("endpoint", BOTH)
def test_what_has_no_field_is_named_in_the_notes_and_the_log(shared_twin: Twin, endpoint: str) -> None:
    odd = {"loras": [], "reverse_video": True, "a\nb": 1}
    job, answer = post(shared_twin, endpoint, **odd)
    told = f"Ignored, because {endpoint} has no such field: loras, reverse_video, 1 more."
    assert answer["notes"] == [told]
    status = shared_twin.http.get(f"/queue/{endpoint}/requests/{job.id}/status", params={"logs": 1}).json()
    assert [line["message"] for line in status["logs"]].count(told) == 1


@pytest.mark.parametrize("wrapper", ["input", "extra_body"])
def test_a_request_inside_another_object_is_refused_with_the_hint(shared_twin: Twin, wrapper: str) -> None:
    answer = shared_twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json={wrapper: BODY})
    assert answer.status_code == 422 and "at the top of the body" in answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("endpoint", BOTH)
def test_it_has_its_own_document(shared_twin: Twin, endpoint: str) -> None:
    path = "/api/openapi/queue/openapi.json"
    published = shared_twin.http.get(path, params={"endpoint_id": endpoint}).json()
    (inputs,) = [each for name, each in published["components"]["schemas"].items() if name.endswith("Input")]
    assert inputs["x-fal-order-properties"] == list(ENDPOINTS[endpoint].fields)
    assert f"/{endpoint}" in published["paths"]


@pytest.mark.parametrize("kept", ["", "/queue"])
@pytest.mark.parametrize("endpoint", BOTH)
def test_a_proxied_target_is_found_with_and_without_our_prefix(shared_twin: Twin, endpoint: str, kept: str) -> None:
    def ask(method: str, path: str, **more: Any) -> Any:
        target = {"x-fal-target-url": f"https://queue.fal.run{kept}/{path}"}
        return shared_twin.http.request(method, "/api/fal/proxy", headers=target, **more)

    request_id = ask("POST", endpoint, json=BODY).json()["request_id"]
    assert ask("GET", f"{endpoint}/requests/{request_id}/status").json()["request_id"] == request_id


@pytest.mark.parametrize("sibling", ["lora", "turbo/lora"])
def test_another_sibling_is_404_and_names_what_there_is(shared_twin: Twin, sibling: str) -> None:
    for host in ("/queue", "/run"):
        answer = shared_twin.http.post(f"{host}/{IMAGE_TO_VIDEO.id}/{sibling}", json=BODY)
        said = answer.json()["detail"]
        assert answer.status_code == 404 and all(endpoint in said for endpoint in ENDPOINTS)
        assert "/queue/" not in said and "/run/" not in said


@pytest.mark.parametrize("what", ["stream", "realtime"])
def test_a_stream_of_results_is_refused_at_once_in_a_sentence(shared_twin: Twin, what: str) -> None:
    answer = shared_twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}/{what}", json=BODY)
    assert answer.status_code == 404 and f"has no {what}: submit it to the queue" in answer.json()["detail"]


@pytest.mark.parametrize(("resolution", "dollars"), [("480p", 0.05), ("580p", 0.075), ("720p", 0.10)])
def test_fal_bills_a_video_whatever_its_frames(resolution: str, dollars: float) -> None:
    asked = IMAGE_TO_VIDEO_TURBO.parse(BODY | {"resolution": resolution})
    assert dollars_on_fal(asked, IMAGE_TO_VIDEO_TURBO) == dollars


def test_the_turbo_engine_serves_it_where_it_can_run() -> None:
    assert serve(IMAGE_TO_VIDEO_TURBO, FULL, CARD) == Serving("a14b-turbo")
    assert serve(IMAGE_TO_VIDEO, FULL, CARD) == Serving("a14b")


def test_else_the_miniature_does_in_its_own_few_steps_and_every_result_says_so(data: FileStore) -> None:
    with a_twin(data, serving=partial(serve, choice=MINIATURE, machine=BARE)) as twin:
        job, answer = post(twin, IMAGE_TO_VIDEO_TURBO.id)
        assert (job.options.engine, job.inputs.num_inference_steps, job.inputs.num_frames) == (OPTIONS.engine, 8, 81)
        (note,) = answer["notes"]
        assert note.startswith("Made by the miniature") and "needs a CUDA card" in note
        assert "notes" not in post(twin, IMAGE_TO_VIDEO.id)[1]
