"""What a caller does not want to be kept is gone: after the answer, after the time asked, in every place it lay in."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette

from tests.api.conftest import BODY, Twin, a_twin
from tests.api.test_webhooks import hooked_twin, wait_until_none_waits
from tests.support.fake_backend import wait_for_stop
from tests.support.jobs import NO_FLOOR
from tests.support.serving import sent, serving
from wan_core import recipe
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.files import UPLOADED, FileStore
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.limits import Client

PRIVATE = {"X-Fal-Store-IO": "0"}
SECRET = "a walk along the Zwanenburgwal"
QUEUE = f"/queue/{IMAGE_TO_VIDEO.id}"


def lifecycle(**values: Any) -> dict[str, str]:
    return {"x-fal-object-lifecycle-preference": json.dumps(values)}


def keeps_frames(twin: Twin) -> None:
    """Let the backend leave raw frames and a preview, as a real one does."""

    def script(job: Any, stop: Any) -> Iterator[Any]:
        np.save(twin.house.jobs.files.frames(job.id), np.zeros((17, 8, 8, 3), np.uint8))
        yield from twin.backend.make_clip(job, stop)

    twin.backend.scripts[SECRET] = script


def files_of(twin: Twin, job_id: str) -> set[str]:
    files = twin.house.jobs.files
    known = [path for path in files.of_job(job_id) if path.exists()]
    return {path.parent.name for path in [*known, *files.all_pictures()]}


def clean(twin: Twin, later_s: float = 0) -> None:
    store = twin.house.store
    while twin.house.runner.records.unfinished():  # an end is told a moment before it is noted
        time.sleep(0.001)
    now = time.time() + later_s
    store._now = lambda: now
    housekeeping = Housekeeping(twin.house.runner, store, twin.house.jobs.files, NO_FLOOR, lambda: now)
    housekeeping.forget_due()


def posted(twin: Twin, path: str, headers: dict[str, str], **values: Any) -> str:
    answer = twin.http.post(path, json=BODY | {"prompt": SECRET} | values, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-fal-request-id"])


def row_of(twin: Twin, job_id: str) -> str:
    (row,) = twin.house.store.read("SELECT * FROM jobs WHERE id = ?", job_id)
    return json.dumps(dict(row))


def test_a_private_run_leaves_its_clip_and_nothing_of_its_request(twin: Twin) -> None:
    keeps_frames(twin)
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY | {"prompt": SECRET}, headers=PRIVATE)
    job_id = answer.headers["x-fal-request-id"]
    assert answer.json()["prompt"] == SECRET and twin.http.get(answer.json()["video"]["url"]).status_code == 200
    assert files_of(twin, job_id) == {"clips"}
    assert SECRET not in row_of(twin, job_id) and BODY["image_url"] not in row_of(twin, job_id)


def test_a_private_request_of_the_queue_is_there_until_its_result_is_fetched(twin: Twin) -> None:
    keeps_frames(twin)
    job_id = twin.ended(posted(twin, QUEUE, PRIVATE))
    url = f"/queue/fal-ai/wan/requests/{job_id}"
    assert twin.http.head(url).status_code == 200 and twin.http.get(f"{url}/status").status_code == 200
    assert files_of(twin, job_id) == {"pictures", "frames", "clips"} and SECRET in row_of(twin, job_id)
    first, again = twin.http.get(url).json(), twin.http.get(url).json()
    assert first["prompt"] == SECRET and again == first | {"prompt": ""}, "a client whose answer was lost asks again"
    assert files_of(twin, job_id) == {"clips"} and SECRET not in row_of(twin, job_id)


def test_an_ordinary_request_stays(twin: Twin) -> None:
    keeps_frames(twin)
    job_id = posted(twin, f"/run/{IMAGE_TO_VIDEO.id}", {"X-Fal-Store-IO": "1"})
    clean(twin, NO_FLOOR.keep_results_s - 60)
    assert files_of(twin, job_id) == {"pictures", "frames", "clips"} and SECRET in row_of(twin, job_id)


def test_a_private_request_with_a_webhook_is_forgotten_when_that_has_arrived(data: FileStore) -> None:
    with hooked_twin(data, 500) as (twin, receiver):
        url = f"{QUEUE}?fal_webhook={receiver.url}"
        job_id = twin.ended(posted(twin, url, PRIVATE))
        assert receiver.wait_for(2)[1].json["payload"]["prompt"] == SECRET
        wait_until_none_waits(twin)
        deadline = time.monotonic() + 60
        while SECRET in row_of(twin, job_id):
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_private_clip_carries_neither_prompt_nor_address(twin: Twin) -> None:
    record = twin.house.jobs.get(posted(twin, QUEUE, PRIVATE))
    assert record is not None
    comment = recipe.to_comment(recipe.from_job(record.job), record.job.id)
    assert SECRET not in comment and BODY["image_url"] not in comment
    twin.ended(record.job.id)


def test_a_failed_private_request_keeps_its_error_alone(twin: Twin) -> None:
    def script(job: Any, stop: Any) -> Iterator[Any]:
        raise InputError("prompt", "content_policy_violation", "The prompt was refused.")
        yield

    twin.backend.scripts[SECRET] = script
    job_id = twin.ended(posted(twin, QUEUE, PRIVATE))
    url = f"/queue/fal-ai/wan/requests/{job_id}"
    assert twin.http.get(url).json() == twin.http.get(url).json() and SECRET not in row_of(twin, job_id)


def test_a_job_and_its_files_go_after_the_time_asked(twin: Twin) -> None:
    job_id = twin.ended(posted(twin, QUEUE, lifecycle(expiration_duration_seconds=3600)))
    clean(twin, 3590)
    assert files_of(twin, job_id) == {"pictures", "clips"}
    clean(twin, 3610)
    assert files_of(twin, job_id) == set() and job_id not in twin.house.store.ids()
    assert twin.http.get(f"/queue/fal-ai/wan/requests/{job_id}").status_code == 404


def test_what_is_asked_for_and_not_offered_stands_in_the_notes(twin: Twin) -> None:
    asked = lifecycle(expiration_duration_seconds=10**7, initial_acl={"default": "hide"})
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY, headers=asked)
    assert any("24 hours" in note for note in answer.json()["notes"])
    assert any("address of the clip" in note for note in answer.json()["notes"])
    plain = lifecycle(expiration_duration_seconds=None, initial_acl={"default": "allow"})
    assert "notes" not in twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY, headers=plain).json()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "60", '{"expiration_duration_seconds": 0}', '{"expiration_duration_seconds": "1h"}']
)
def test_a_preference_that_cannot_be_read_is_refused(twin: Twin, text: str) -> None:
    headers = {"x-fal-object-lifecycle-preference": text}
    answer = twin.http.post(QUEUE, json=BODY, headers=headers)
    assert answer.status_code == 400 and "expiration_duration_seconds" in answer.json()["detail"]
    assert not twin.house.store.ids()


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("x-fal-object-lifecycle", lambda url: url),
        ("x-fal-object-lifecycle-preference", lambda url: url),
        ("x-fal-object-lifecycle", lambda url: UPLOADED + url.rpartition("/")[2]),
    ],
    ids=["lifecycle", "preference", "by the name of the file"],
)
def test_an_upload_goes_after_the_time_asked_and_so_do_its_copies(
    data: FileStore, header: str, named: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with a_twin(data) as twin:
        wish = {header: json.dumps({"expiration_duration_seconds": 60}), "content-type": "image/png"}
        url = twin.http.post("/cdn/files/upload", content=b"picture", headers=wish).json()["access_url"]
        assert twin.http.get(url).status_code == 200
        job_id = twin.ended(twin.submit(image_url=named(url)))
        monkeypatch.setattr(time, "time", lambda: now + 120)
        assert twin.http.get(url).status_code == 404, "at once, whoever cleans up"
        monkeypatch.undo()
        twin.api.drop_expired()
        clean(twin)
        assert twin.http.get(url).status_code == 200 and files_of(twin, job_id) == {"pictures", "clips"}
        monkeypatch.setattr(time, "time", lambda: now + 120)
        clean(twin)
        assert files_of(twin, job_id) == {"clips"}
        record = twin.house.jobs.get(job_id)
        assert record is not None
        np.save(data.frames(job_id), np.zeros((17, 8, 8, 3), np.uint8))
        with pytest.raises(InputError, match="not kept here any more"):
            twin.house.jobs.finish_again(record, {}, Client.by_key("a"))


def test_an_initiated_upload_keeps_its_time_too(twin: Twin) -> None:
    body = {"file_name": "a.png", "content_type": "image/png"}
    wish = {"X-Fal-Object-Lifecycle": '{"expiration_duration_seconds": 3600}'}
    initiate = "/rest/storage/upload/initiate"
    places = twin.http.post(initiate, json=body, headers=wish).json()
    assert twin.http.put(places["upload_url"], content=b"picture").status_code == 200
    assert twin.http.get(places["file_url"]).content == b"picture"
    (path,) = twin.house.jobs.files.uploads.iterdir()
    room = twin.api.drop_expired.__self__  # type: ignore[attr-defined]
    room._now = lambda: time.time() + 3700
    twin.api.drop_expired()
    assert not path.exists()


def test_the_wishes_survive_a_restart(data: FileStore) -> None:
    with a_twin(data) as twin:
        job_id = twin.ended(posted(twin, QUEUE, PRIVATE | lifecycle(expiration_duration_seconds=60)))
    with a_twin(data) as twin:
        assert twin.http.get(f"/queue/fal-ai/wan/requests/{job_id}").json()["prompt"] == SECRET
        assert SECRET not in row_of(twin, job_id)
        clean(twin, 70)
        assert not twin.house.store.ids()


def test_two_private_jobs_that_share_a_client_do_not_take_each_others_pictures(twin: Twin) -> None:
    first, second = (twin.ended(posted(twin, QUEUE, PRIVATE, seed=seed)) for seed in (1, 2))
    assert twin.http.get(f"/queue/fal-ai/wan/requests/{first}").status_code == 200
    assert len(twin.house.jobs.files.all_pictures()) == 1
    assert twin.http.get(f"/queue/fal-ai/wan/requests/{second}").json()["prompt"] == SECRET


def test_a_strangers_file_sets_no_time_by_its_name(twin: Twin) -> None:
    name = "0b0f5c1e-3f4a-4f0e-9d5a-1f2e3d4c5b6a-1700000000.png"
    job_id = twin.ended(twin.submit(image_url=f"https://example.com/{name}"))
    clean(twin)
    assert files_of(twin, job_id) == {"pictures", "clips"}


def test_a_private_job_whose_end_could_not_be_stored_is_made_again_after_a_restart(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*end: object) -> bool:
        raise BackendError("storage_full", "The disk is full.")

    with a_twin(data) as twin:
        monkeypatch.setattr(twin.house.store, "finish", full)
        job_id = twin.ended(posted(twin, QUEUE, PRIVATE))
        assert twin.http.get(f"/queue/fal-ai/wan/requests/{job_id}").json()["prompt"] == SECRET
        assert "pictures" in files_of(twin, job_id)
    with a_twin(data) as twin:
        assert twin.http.get(f"/queue/fal-ai/wan/requests/{twin.ended(job_id)}").json()["prompt"] == SECRET
        assert files_of(twin, job_id) == {"clips"} and SECRET not in row_of(twin, job_id)


def test_a_private_run_whose_caller_leaves_is_forgotten_too(twin: Twin) -> None:
    twin.backend.scripts[SECRET] = wait_for_stop
    app = Starlette(routes=twin.api.routes, middleware=twin.api.middleware)
    with serving(app) as home:
        with sent(home, f"/run/{IMAGE_TO_VIDEO.id}", BODY | {"prompt": SECRET}, PRIVATE):
            while not twin.backend.ran:
                time.sleep(0.005)
        (job_id,) = twin.house.store.ids()
        deadline = time.monotonic() + 60
        while SECRET in row_of(twin, job_id):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert files_of(twin, job_id) == set()
