"""Finishing a clip again over HTTP: a new job from kept frames."""

import numpy as np
import pytest

from tests.api.conftest import BODY, Twin, a_twin
from wan_core.cutting import Cut
from wan_core.files import FileStore


@pytest.fixture
def source(twin: Twin) -> str:
    """A finished request whose frames are kept."""
    request_id = twin.ended(twin.submit(seed=5))
    np.save(twin.house.jobs.files.frames(request_id), np.zeros((17, 16, 16, 3), np.uint8))
    return request_id


def test_a_clip_is_finished_again_as_a_new_request(twin: Twin, source: str) -> None:
    answer = twin.http.post(f"/jobs/{source}/finish", json={"frames_per_second": 30, "video_quality": "low"})
    again = answer.json()["request_id"]
    assert answer.status_code == 200 and again != source and answer.json()["status"] == "IN_QUEUE"
    record = twin.house.jobs.get(twin.ended(again))
    assert record is not None and record.job.frames_of == source
    assert (record.job.inputs.frames_per_second, record.job.inputs.seed) == (30, 5)
    assert twin.http.get(answer.json()["response_url"]).json()["video"]["url"].endswith(f"/files/{again}.mp4")


def test_a_clip_is_trimmed_and_looped_and_what_is_not_named_stays(twin: Twin, source: str) -> None:
    first = twin.http.post(f"/jobs/{source}/finish", json={"first_frame": 3, "last_frame": 12})
    second = twin.ended(first.json()["request_id"])
    third = twin.http.post(f"/jobs/{second}/finish", json={"ending": "loop"}).json()["request_id"]
    record = twin.house.jobs.get(twin.ended(third))
    assert record is not None and record.job.options.cut == Cut(3, 12, "loop")


def test_a_clip_that_is_finished_again_counts_for_whoever_asks(data: FileStore) -> None:
    entered: list[str] = []
    with a_twin(data, enter=lambda request: entered.append(request.url.path)) as twin:
        source = twin.ended(twin.submit())
        np.save(twin.house.jobs.files.frames(source), np.zeros((17, 16, 16, 3), np.uint8))
        twin.ended(twin.http.post(f"/jobs/{source}/finish", json={}).json()["request_id"])
    assert entered[1:] == [f"/jobs/{source}/finish"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"shift": 3}, "shift"),
        ({"frames_per_second": 1000}, "frames_per_second"),
        ({"prompt": "x"}, "prompt"),
        ({"x": 1}, "x"),
        ({"last_frame": 99}, "last_frame"),
        ({"ending": 1}, "ending"),
    ],
)
def test_what_cannot_change_now_is_refused_at_its_field(twin: Twin, source: str, changes: object, field: str) -> None:
    answer = twin.http.post(f"/jobs/{source}/finish", json=changes)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", field]


def test_without_frames_there_is_nothing_to_finish(twin: Twin) -> None:
    answer = twin.http.post(f"/jobs/{twin.ended(twin.submit())}/finish", json={})
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "feature_not_supported"
    assert "not kept" in answer.json()["message"]


def test_an_unknown_job_and_a_body_that_is_no_json_are_refused(twin: Twin, source: str) -> None:
    assert twin.http.post("/jobs/nothing/finish", json={}).status_code == 404
    assert twin.http.post(f"/jobs/{source}/finish", data=BODY).status_code == 415
    assert twin.http.post(f"/jobs/{source}/finish", json=[]).status_code == 422
