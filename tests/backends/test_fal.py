"""The backend against a fal that does everything wrong: each fault has its sentence, and nothing is ever sent twice."""

import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import fal_client
import pytest
from PIL import Image
from pydantic import SecretStr

from tests.intake.servers import Names
from tests.support.faulty_fal import (
    HASTE,
    Call,
    FaultyFal,
    Reply,
    both,
    completed,
    cut,
    cut_short,
    held,
    in_progress,
    in_queue,
    nginx,
    says,
)
from tests.support.jobs import a_request
from wan_core.backends.fal import FalBackend, Timeouts, files
from wan_core.backends.fal import backend as fal_backend
from wan_core.backends.fal.files import picture_bytes
from wan_core.endpoints import IMAGE_TO_VIDEO_TURBO
from wan_core.errors import BackendError, Cancelled, InputError, WanError
from wan_core.events import Event, Failed, Finished, Job, JobOptions, Log, Note, Queued, Stage
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.intake import Fetcher, FetchLimits
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.rows import NewJob
from wan_core.jobs.store import JobStore
from wan_core.profiles import pool_of
from wan_core.schema import ADDED
from wan_core.settings import Limits, Settings

CANARY = "canary-0123456789:abcdef"
OWN_CANARY = "canary-of-a-visitor:fedcba"


class Desk:
    """The backend with a real store and purse behind it, on a fal of our own."""

    def __init__(self, fal: FaultyFal, data: FileStore, key: str | None = CANARY) -> None:
        self.fal, self.files, self.limits, self.timeouts, self.fetcher = fal, data, Limits(), HASTE, fal.fetcher()
        self.clock = 1_000_000.0
        self.store = JobStore(data.database)
        settings = Settings(FAL_KEY=key)  # type: ignore[arg-type]
        self.budget = FalBudget(self.store, settings, per_client=False)
        self.keys = FalKeys(self.store, settings.fal_key)

    def backend(self) -> FalBackend:
        return FalBackend(
            self.store,
            self.keys,
            self.budget,
            self.files,
            self.limits,
            hosts=self.fal.hosts,
            fetcher=self.fetcher,
            timeouts=self.timeouts,
            now=lambda: self.clock,
        )

    def job(self, *, own_key: str | None = None, where: str = "fal", **values: object) -> Job:
        """A claimed job, as the runner would hand it over."""
        job_id = str(uuid.uuid4())
        Image.new("RGB", (64, 48), "teal").save(self.files.picture(job_id))
        options = JobOptions("miniature", where)  # type: ignore[arg-type]
        job = Job(job_id, a_request(**{"seed": 5} | values), Size(832, 480), options, {"image_url": job_id})
        self.store.add(NewJob(job, "client", "fal", owner_pays=own_key is None))
        self.store.claim(job_id)
        if own_key is not None:
            self.keys.lend(job_id, SecretStr(own_key))
        return job

    def events(self, job: Job | None = None) -> list[Event]:
        return list(self.backend().run(job or self.job()))

    def finished(self, job: Job | None = None) -> Finished:
        last = self.events(job)[-1]
        assert isinstance(last, Finished)
        return last

    def error(self, job: Job | None = None) -> WanError:
        with pytest.raises(WanError) as caught:
            self.events(job)
        return caught.value


@pytest.fixture
def desk(fal: FaultyFal, data: FileStore) -> Iterator[Desk]:
    desk = Desk(fal, data)
    yield desk
    desk.store.close()


def test_a_job_comes_back_as_a_clip_on_our_disk_with_fals_address_beside_it(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job()
    result = desk.finished(job).result
    assert desk.files.clip(job.id).read_bytes() == fal.clip
    assert result.fal_url == f"{fal.base}/clip.mp4"
    assert (result.prompt, result.seed, result.engine) == ("as used", 7, "a14b")
    assert (result.size, result.frames, Fraction(result.fps)) == (Size(64, 48), 5, 16)
    assert (fal.submissions, fal.charges, fal.cancels) == (1, 1, 0)


def test_places_in_fals_queue_and_new_log_lines_become_events_in_their_order(desk: Desk, fal: FaultyFal) -> None:
    working = (in_progress("a"), in_progress("a", "b"), completed("a", "b", "c"))
    fal.life = (in_queue(2), in_queue(2), in_queue(0), *working)
    told = [event for event in desk.events() if isinstance(event, Stage | Queued | Log)]
    assert told[0] == Stage("fal")
    assert told[1].message.startswith("fal has the job as request ")  # type: ignore[union-attr]
    assert told[2:-1] == [Queued(2), Queued(0), Log("a"), Log("b"), Log("c")]


def test_an_odd_log_line_spoils_nothing(desk: Desk, fal: FaultyFal) -> None:
    odd = {"status": "COMPLETED", "logs": ["text", {"message": None}, 7, {"message": "x\x1b[31m\ny", "level": []}]}
    fal.life = ({**odd, "metrics": None},)
    assert Log("x[31m y") in desk.events()


def test_fal_is_asked_for_exactly_the_same_twenty_fields(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job(prompt="a lion", guidance_scale=1.5, video_quality="low")
    desk.finished(job)
    asked = dict(fal.arguments)
    picture = asked.pop("image_url")
    assert asked == job.inputs.model_dump(exclude={"image_url", *ADDED})
    assert asked["seed"] == 5 and len(asked) == 19
    assert picture == fal_client.encode(desk.files.picture(job.picture).read_bytes(), "image/png")


def test_fal_gets_the_end_picture_and_the_check_of_the_frames_where_they_are_asked_for(
    desk: Desk, fal: FaultyFal
) -> None:
    job = desk.job(enable_output_safety_checker=True)
    Image.new("RGB", (64, 48), "navy").save(desk.files.picture("end"))
    desk.finished(replace(job, files=job.files | {"end_image_url": "end"}))
    assert fal.arguments["enable_output_safety_checker"] is True
    assert fal.arguments["end_image_url"] == fal_client.encode(desk.files.picture("end").read_bytes(), "image/png")


def test_a_picture_too_big_for_a_data_uri_as_png_goes_as_a_fine_jpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    Image.effect_noise((400, 300), 20).convert("RGB").save(path)
    monkeypatch.setattr(files, "MAX_INLINE_BYTES", path.stat().st_size - 1)
    content, content_type = picture_bytes(path)
    assert content_type == "image/jpeg" and content[:3] == b"\xff\xd8\xff" and b"Exif" not in content


def test_a_still_bigger_picture_is_uploaded_and_the_key_stays_out_of_the_store(
    desk: Desk, fal: FaultyFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_INLINE_BYTES", 10)
    fal.then("initiate", nginx(502))
    desk.timeouts = replace(HASTE, silence_s=5)
    desk.finished()
    assert fal.arguments["image_url"] == f"{fal.base}/picture" and fal.stored[:3] == b"\xff\xd8\xff"
    assert fal.keys["initiate"] == f"Key {CANARY}" and fal.keys["store"] is None and fal.keys["clip"] is None


EARLY = says(400, {"detail": "Request is still in progress"})
TAKEN = "It may have taken the job and charge for it, so it was not sent again."


@pytest.mark.parametrize(
    "reply, kind, sentence",
    [
        (says(401, {"detail": "No user found"}), "downstream_service_error", "fal does not accept the key."),
        (says(403, {"detail": "Exhausted balance"}), "downstream_service_error", "its balance may be used up"),
        (says(429, {"detail": "slow down"}), "concurrent_requests_limit", "Try again in a minute."),
        (says(404, {"detail": "Application not found"}), "downstream_service_error", "fal does not offer the model"),
        (says(418, "?"), "bad_request", "fal refused the request (418)."),
        (says(307, b"", location="http://127.0.0.2/"), "bad_request", "fal refused the request (307)."),
    ],
)
def test_a_submission_that_fal_refuses_is_sent_once_and_costs_nothing(
    desk: Desk, fal: FaultyFal, reply: Reply, kind: str, sentence: str
) -> None:
    fal.always("submit", reply)
    job = desk.job()
    error = desk.error(job)
    assert isinstance(error, BackendError) and error.type == kind and sentence in error.message
    assert (fal.submissions, fal.charges) == (1, 0)
    desk.store.finish(job.id, Failed(kind, sentence), [])
    assert desk.store.spending("client", 1e9).jobs == 0


@pytest.mark.parametrize(
    "reply, kind, sentence",
    [
        (says(500, {"detail": "Internal Server Error"}), "downstream_service_error", "a fault of its own (500)."),
        (says(503, b"away"), "downstream_service_unavailable", "a fault of its own (503)."),
        (nginx(502), "downstream_service_unavailable", "a fault of its own (502)."),
        (nginx(504), "downstream_service_unavailable", "a fault of its own (504)."),
        (cut, "downstream_service_unavailable", "The line to fal broke before its answer was here."),
        (cut_short, "downstream_service_unavailable", "The line to fal broke before its answer was here."),
        (says(200, b"<html>"), "downstream_service_error", "fal's answer could not be read."),
        (says(200, {"request_id": "../../etc"}), "downstream_service_error", "fal's answer could not be read."),
        (says(200, [1, 2]), "downstream_service_error", "fal's answer could not be read."),
        (says(200, b"[" * 100_000), "downstream_service_error", "fal's answer could not be read."),
    ],
)
def test_a_submission_whose_answer_is_lost_is_sent_once_and_said_to_be_charged_perhaps(
    desk: Desk, fal: FaultyFal, reply: Reply, kind: str, sentence: str
) -> None:
    fal.always("submit", both(fal.charge, reply))
    job = desk.job()
    error = desk.error(job)
    assert isinstance(error, BackendError) and error.type == kind and f"{sentence} {TAKEN}" in error.message
    assert TAKEN in desk.error(job).message, "not even after a restart"
    assert (fal.submissions, fal.charges) == (1, 1)
    desk.store.finish(job.id, Failed(kind, sentence), [])
    assert desk.store.spending("client", 1e9).jobs == 1


def test_an_answer_that_comes_too_late_is_a_lost_one(desk: Desk, fal: FaultyFal) -> None:
    never = threading.Event()
    fal.always("submit", held(never, both(fal.charge, cut)))
    desk.timeouts = replace(HASTE, send_s=0.5)
    assert TAKEN in desk.error().message
    never.set()
    assert fal.submissions == 1


def test_a_fal_that_cannot_be_reached_costs_nothing(desk: Desk, fal: FaultyFal) -> None:
    fal.hosts = replace(fal.hosts, queue="http://127.0.0.1:9")
    error = desk.error(job := desk.job())
    assert error.message == "fal could not be reached from this server. Nothing was charged."
    assert desk.store.remote(job.id) is None


def test_what_fal_finds_wrong_is_shown_at_the_field(desk: Desk, fal: FaultyFal) -> None:
    faults = [
        {
            "loc": ["body", "num_frames"],
            "msg": "Input should be less than 161",
            "type": "less_than",
            "ctx": {"lt": 161},
        },
        {"loc": ["body", "last_image_url"], "msg": "unknown", "type": "WEIRD ONE"},
        "no object",
    ]
    fal.always("submit", says(422, {"detail": faults}))
    error = desk.error()
    assert isinstance(error, InputError)
    assert (error.field, error.type, error.context) == ("num_frames", "less_than", {"lt": 161})
    assert error.message == "fal refused num_frames: Input should be less than 161."
    assert [(other.field, other.type) for other in error.others] == [("body", "value_error")]
    assert fal.submissions == 1


PASSING = [says(500, b"?"), says(503, b"?"), nginx(502), says(429, {}), cut, cut_short]


@pytest.mark.parametrize(
    "place, reply",
    [(place, reply) for place in ("status", "result", "clip") for reply in PASSING]
    + [("status", says(200, b"<html>")), ("result", says(200, b"<html>")), ("status", says(404, {}))],
)
def test_a_fault_that_passes_costs_neither_the_clip_nor_a_second_charge(
    desk: Desk, fal: FaultyFal, place: str, reply: Reply
) -> None:
    fal.then(place, reply, reply)
    desk.timeouts = replace(HASTE, silence_s=5)
    job = desk.job()
    desk.finished(job)
    assert desk.files.clip(job.id).read_bytes() == fal.clip
    assert (fal.submissions, fal.charges) == (1, 1)


@pytest.mark.parametrize(
    "place, reply, kind, sentence",
    [
        ("status", says(401, {}), "downstream_service_error", "fal does not accept the key."),
        ("status", says(403, {}), "downstream_service_error", "does not let this key"),
        ("status", says(404, {"status": "NOT_FOUND"}), "downstream_service_error", "does not know this job any more"),
        ("status", says(500, b"?"), "downstream_service_error", "fal has a fault of its own (500)."),
        ("status", nginx(502), "downstream_service_unavailable", "fal has a fault of its own (502)."),
        ("status", cut, "downstream_service_unavailable", "The line to fal broke"),
        ("status", says(200, {"status": "PAUSED"}), "downstream_service_error", "could not be read"),
        ("result", says(500, b"?"), "downstream_service_error", "fal has a fault of its own (500)."),
        ("result", says(200, {"video": "https://v3.fal.media/a.mp4"}), "downstream_service_error", "could not be read"),
        (
            "result",
            says(200, {"video": {"url": "file:///etc/passwd"}}),
            "downstream_service_error",
            "could not be read",
        ),
        (
            "result",
            EARLY,
            "bad_request",
            "fal does not hand out the result (400).",
        ),
        ("clip", says(404, b"gone"), "file_download_error", "The clip is ready but could not be fetched."),
        ("clip", says(200, b"<html>not a clip</html>"), "downstream_service_error", "is no whole mp4"),
        ("clip", says(200, b"\0\0\0\x18ftypmp42" + bytes(500)), "downstream_service_error", "is no whole mp4"),
    ],
)
def test_a_fault_that_stays_ends_the_job_with_a_sentence_and_fals_request_id(
    desk: Desk, fal: FaultyFal, place: str, reply: Reply, kind: str, sentence: str
) -> None:
    fal.always(place, reply)
    job = desk.job()
    error = desk.error(job)
    assert isinstance(error, BackendError) and error.type == kind and sentence in error.message
    remote = desk.store.remote(job.id)
    assert remote is not None and f"fal's request id is {remote['request_id']}." in error.message
    assert (fal.submissions, fal.charges) == (1, 1)
    assert not desk.files.clip(job.id).exists()


def test_a_late_result_is_waited_for(desk: Desk, fal: FaultyFal) -> None:
    fal.then("result", EARLY, says(504, {"detail": "timeout"}), EARLY)
    desk.timeouts = replace(HASTE, silence_s=5)
    assert desk.finished().result.seed == 7


def test_a_result_without_a_seed_keeps_the_one_that_was_asked_for(desk: Desk, fal: FaultyFal) -> None:
    fal.output = {"video": fal.output["video"]}
    result = desk.finished(desk.job(prompt="a lion")).result
    assert (result.prompt, result.seed) == ("a lion", 5)


def test_a_job_that_failed_at_fal_fails_here_at_its_field(desk: Desk, fal: FaultyFal) -> None:
    fal.life = (completed(error="Invalid status code: 422", error_type=None),)
    refusal = {"loc": ["body", "prompt"], "msg": "The prompt was refused", "type": "content_policy_violation"}
    fal.always("result", says(422, {"detail": [refusal]}))
    error = desk.error()
    assert isinstance(error, InputError) and (error.field, error.type) == ("prompt", "content_policy_violation")
    assert (fal.submissions, fal.charges) == (1, 1)


@pytest.mark.parametrize(
    "life, result, kind, sentence",
    [
        (
            {"error": "boom", "error_type": "runner_server_error"},
            says(500, b""),
            "runner_server_error",
            "failed on fal",
        ),
        ({"error": "boom"}, says(200, {"video": {"url": "https://x/"}}), "downstream_service_error", "failed on fal"),
        (
            {"error": "boom"},
            says(500, {"detail": [{"loc": ["body"], "type": "internal_server_error"}]}),
            "internal_server_error",
            "failed on fal",
        ),
        ({"error": "x", "error_type": "client_cancelled"}, cut, "client_cancelled", "cancelled on fal's side"),
    ],
)
def test_completed_with_an_error_is_a_failure(
    desk: Desk, fal: FaultyFal, life: dict[str, str], result: Reply, kind: str, sentence: str
) -> None:
    fal.life = (completed(**life),)
    fal.always("result", result)
    error = desk.error()
    assert isinstance(error, BackendError) and error.type == kind and sentence in error.message


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.2:80/clip.mp4", "http://[::1]/clip.mp4", "https://fal.media.evil.example/a.mp4", "http://[/a"],
)
def test_a_result_outside_fals_hosts_is_never_opened(desk: Desk, fal: FaultyFal, url: str) -> None:
    fal.output = {"video": {"url": url}}
    error = desk.error()
    assert isinstance(error, BackendError) and error.type == "downstream_service_error"
    assert error.message.startswith("fal named a clip outside its own hosts; it was not opened. fal's request id is ")


def test_a_name_of_fals_that_leads_to_loopback_is_never_opened(desk: Desk, fal: FaultyFal) -> None:
    names = Names({"v3.fal.media": [["127.0.0.1"]]})
    desk.fetcher = Fetcher(resolver=names, limits=FetchLimits(ports=frozenset({fal.port})), hosts=("fal.media",))
    fal.hosts = replace(fal.hosts, media=("fal.media",))
    fal.output = {"video": {"url": f"http://v3.fal.media:{fal.port}/clip.mp4"}}
    error = desk.error()
    assert isinstance(error, BackendError) and error.type == "file_download_error"
    assert names.lookups > 0 and "clip" not in fal.keys


def test_a_clip_of_two_gigabytes_is_left_at_fal(desk: Desk, fal: FaultyFal) -> None:
    fal.always("clip", lambda call: call.send(200, b"\0\0\0\x18ftyp", length=2_000_000_000))
    job = desk.job()
    error = desk.error(job)
    assert isinstance(error, BackendError) and error.type == "file_too_large"
    assert "larger than 500 MB and was not fetched. It lies at http" in error.message
    assert not desk.files.clip(job.id).exists() and list(desk.files.clip(job.id).parent.iterdir()) == []


def test_cancel_cancels_at_fal_and_ends_within_a_look(desk: Desk, fal: FaultyFal) -> None:
    fal.life = (in_progress("a"),)
    backend, job = desk.backend(), desk.job()
    with pytest.raises(Cancelled):
        for event in backend.run(job):
            if event == Log("a"):
                backend.cancel(job.id)
    assert (fal.submissions, fal.cancels, fal.polls) == (1, 1, 1)


def test_a_cancel_before_anything_was_sent_sends_nothing(desk: Desk, fal: FaultyFal) -> None:
    backend, job = desk.backend(), desk.job()
    with pytest.raises(Cancelled):
        for _ in backend.run(job):
            backend.cancel(job.id)
    backend.cancel(job.id)
    assert (fal.submissions, fal.cancels) == (0, 0) and desk.store.remote(job.id) is None


def test_a_cancel_stops_the_fetching_of_the_clip(desk: Desk, fal: FaultyFal) -> None:
    backend, job, over = desk.backend(), desk.job(), threading.Event()

    def stop_while_waiting(call: Call) -> None:
        backend.cancel(job.id)
        over.wait(20)

    fal.always("clip", stop_while_waiting)
    with pytest.raises(Cancelled):
        list(backend.run(job))
    over.set()
    assert fal.cancels == 0 and list(desk.files.clip(job.id).parent.iterdir()) == []


def test_a_cancel_that_fal_does_not_hear_is_not_kept_secret(desk: Desk, fal: FaultyFal) -> None:
    fal.life = (in_progress(),)
    fal.always("cancel", says(400, {"status": "ALREADY_COMPLETED"}))
    backend, job, told = desk.backend(), desk.job(), list[Event]()
    with pytest.raises(Cancelled):
        for event in backend.run(job):
            told.append(event)
            if len(told) == 3:
                backend.cancel(job.id)
    assert told[-1] == Log("fal did not confirm that it stops; the job may go on there and be charged.", "WARN")


def test_a_job_that_takes_too_long_is_cancelled_there(desk: Desk, fal: FaultyFal) -> None:
    fal.life = (in_progress("slow"),)
    job = desk.job()
    with pytest.raises(BackendError) as caught:
        for event in desk.backend().run(job):
            if event == Log("slow"):
                desk.clock += 3601
    assert caught.value.type == "generation_timeout"
    assert "fal did not finish the job within 60 minutes and was asked to stop." in caught.value.message
    assert fal.cancels == 1


def test_an_app_that_closes_leaves_the_job_at_fal_and_takes_it_up_again(desk: Desk, fal: FaultyFal) -> None:
    fal.life = (in_progress("a"), completed("a"))
    backend, job = desk.backend(), desk.job()
    with pytest.raises(Cancelled):
        for event in backend.run(job):
            if event == Log("a"):
                backend.close()
    with pytest.raises(Cancelled):
        list(backend.run(job))
    assert (fal.submissions, fal.cancels) == (1, 0)
    desk.finished(job)
    assert desk.files.clip(job.id).is_file()
    assert (fal.submissions, fal.charges) == (1, 1)


def test_a_clip_that_was_finished_while_this_app_was_away_for_hours_still_arrives(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job()
    running = desk.backend().run(job)
    while not isinstance(next(running), Queued):
        pass
    running.close()  # type: ignore[attr-defined]
    desk.clock += 8 * 3600
    fal.life = (completed(),)
    assert desk.finished(job).result.seed == 7
    assert fal.submissions == 1


def test_a_job_whose_submission_was_cut_off_by_a_crash_is_never_sent_again(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job()
    desk.store.set_remote(job.id, {"submitted_at": "1000000"})
    assert "This app stopped while it sent the job to fal. It may have taken" in desk.error(job).message
    assert fal.submissions == 0


def test_urls_that_lead_away_from_fal_are_replaced_and_the_key_stays_home(desk: Desk, fal: FaultyFal) -> None:
    elsewhere = {"status_url": "http://127.0.0.2/s", "response_url": "http://127.0.0.2/r", "cancel_url": "x"}
    fal.then("submit", lambda call: call.send(200, fal.take() | elsewhere))
    job = desk.job()
    desk.finished(job)
    assert "127.0.0.2" not in str(desk.store.remote(job.id))
    assert fal.keys["status"] == fal.keys["result"] == f"Key {CANARY}"


def test_a_visitors_own_key_pays_for_one_run_and_is_forgotten(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job(own_key=f" {OWN_CANARY}\n")
    desk.finished(job)
    assert fal.keys["submit"] == fal.keys["result"] == f"Key {OWN_CANARY}"
    assert desk.keys.key_for(job.id) is None
    assert desk.store.spending("client", 1e9).jobs == 0


def test_a_job_with_a_lent_key_cannot_go_on_after_a_crash_and_names_fals_request(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job(own_key=OWN_CANARY)
    running = desk.backend().run(job)
    while not isinstance(next(running), Queued):
        pass
    remote = desk.store.remote(job.id)
    assert remote is not None
    desk.keys = FalKeys(desk.store, SecretStr(CANARY))
    fal.keys.clear()
    error = desk.error(job)
    assert "lent for one run" in error.message and remote["request_id"] in error.message
    assert fal.keys == {}, "the owner's key does not take its place"


def test_a_lent_key_that_is_gone_before_the_job_was_sent_is_asked_for_again(desk: Desk, fal: FaultyFal) -> None:
    job = desk.job(own_key=OWN_CANARY)
    desk.keys.forget(job.id)
    assert desk.error(job).message.startswith("There is no fal key for this job.")
    assert fal.submissions == 0


@pytest.mark.parametrize("key", ["canary with blanks", "canary-é", "canary\nX: y", "-" * 600])
def test_an_odd_key_is_refused_without_being_quoted(desk: Desk, fal: FaultyFal, key: str) -> None:
    error = desk.error(desk.job(own_key=key))
    assert isinstance(error, BackendError) and error.type == "engine_unavailable" and key not in error.message
    assert fal.submissions == 0


@pytest.mark.parametrize("place", ["submit", "status", "result", "clip"])
def test_the_key_is_in_no_log_event_error_or_file_even_if_fal_repeats_it(
    desk: Desk, fal: FaultyFal, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fal.life = (in_progress(f"key {CANARY}"), completed(f"key {CANARY}"))
    echo = {"detail": [{"loc": ["body", "prompt"], "msg": f"bad key {CANARY}", "type": CANARY}]}
    fal.then("status", says(500, {"detail": CANARY}))
    fal.output |= {"prompt": f"prompt {CANARY}"}
    job = desk.job()
    fal.then(place, says(422, echo), says(422, echo), says(422, echo))
    told: list[Event] = []
    try:
        told.extend(desk.backend().run(job))
    except WanError as error:
        assert "canary" not in f"{error!r} {error.message} {vars(error)} {error.__cause__!r}"
    assert "canary" not in repr(told) and "canary" not in repr(vars(desk.backend()))
    assert caplog.records and not [record for record in caplog.records if "canary" in record.getMessage()]
    desk.store.close()
    for path in desk.files.root.rglob("*"):
        assert path.is_dir() or b"canary" not in path.read_bytes(), path
    desk.store = JobStore(desk.files.database)


def test_a_job_that_may_go_to_fal_goes_at_once_where_the_miniature_is_all_there_is() -> None:
    assert pool_of("fal", "a14b") == pool_of("fal_when_needed", "miniature") == "fal"
    assert pool_of("fal_when_needed", "a14b") == pool_of("local", "miniature") == "local"


def test_a_job_that_went_to_fal_at_once_says_why(desk: Desk) -> None:
    notes = [event for event in desk.events(desk.job(where="fal_when_needed")) if isinstance(event, Note)]
    assert notes == [Note("Made on fal by the full model; the engine here would have been the miniature.")]
    assert not [event for event in desk.events(desk.job()) if isinstance(event, Note)]


@pytest.mark.parametrize("engine", ["a14b-turbo", "a14b-turbo-motion"])
def test_fal_has_no_lightning_behind_the_full_endpoint_and_the_clip_says_what_made_it(desk: Desk, engine: str) -> None:
    job = desk.job(guidance_scale_2=1)
    events = desk.events(replace(job, options=replace(job.options, engine=engine)))
    (note,) = [event.message for event in events if isinstance(event, Note)]
    assert "without the Lightning LoRAs" in note and "27 steps with guidance 3.5 and 1." in note
    assert isinstance(events[-1], Finished) and events[-1].result.engine == "a14b"


def test_the_turbo_endpoint_of_fal_is_lightning_and_says_nothing(desk: Desk) -> None:
    """This fal has no such endpoint, but the note would come before it is asked."""
    job, told = desk.job(), []
    turbo = replace(job, endpoint=IMAGE_TO_VIDEO_TURBO.id, options=replace(job.options, engine="a14b-turbo"))
    with pytest.raises(BackendError, match="does not offer"):
        for event in desk.backend().run(turbo):
            told.append(event)
    assert told == [Stage("fal")]


def test_fal_itself_is_the_default_and_its_clips_come_over_tls() -> None:
    assert fal_backend.FAL.queue == "https://queue.fal.run" and fal_backend.FAL.rest == "https://rest.fal.ai"
    assert fal_backend.FAL.media == ("fal.media",)
    assert Timeouts().poll_s == 1.0
