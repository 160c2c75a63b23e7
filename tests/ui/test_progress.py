"""The panel tells a run as it goes: place in line, stage, step, time left, and why it ended."""

import re
from dataclasses import replace

import pytest

from tests.support.jobs import a_job
from wan_core.events import Failed, JobOptions, Log, Note, Queued, Stage, Step, Stopped
from wan_core.jobs.record import JobRecord
from wan_core.pricing import dollars_of_job
from wan_core.ui.progress import Progress, duration, panel, smaller


@pytest.fixture
def record() -> JobRecord:
    return JobRecord(a_job(), "key:a", "local", 0.0)


def panel_after(record: JobRecord, *events: object) -> str:
    progress = Progress()
    for event in events:
        progress.update(event)  # type: ignore[arg-type]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", panel(progress, record))).strip()


def test_a_waiting_job_says_how_many_are_ahead(record: JobRecord) -> None:
    assert panel_after(record, Queued(3)) == "Waiting: 3 jobs are ahead of yours."
    assert panel_after(record, Queued(1)) == "Waiting: 1 job is ahead of yours."
    assert panel_after(record, Queued(0)) == "Next in line."


def test_a_running_job_says_stage_step_and_time_left(record: JobRecord) -> None:
    record.mark_running(1)
    said = panel_after(record, Stage("sampling"), Step("sampling", 3, 8, 75.0))
    assert said == "Sampling. Step 3 of 8 · 0:00 so far · about 1 min 15 s left"


def test_the_time_left_counts_interpolation_and_encoding_too_and_only_falls(record: JobRecord) -> None:
    record.mark_running(1)
    progress, left = Progress(expected={"sampling": 9, "decoding": 1, "interpolating": 20, "encoding": 10}), []
    for event in (
        Step("sampling", 3, 8, 75.0),
        Stage("interpolating"),
        Step("interpolating", 8, 16),
        Stage("encoding"),
    ):
        progress.update(event)
        left.append(progress.seconds_left)
    assert left == [105.0, 30.0, 20.0, 10.0]


def test_a_new_stage_forgets_the_steps_of_the_last(record: JobRecord) -> None:
    assert "Step" not in panel_after(
        record, Stage("sampling"), Step("sampling", 8, 8, 0.5), Stage("encoding", "Writing.")
    )


def test_notes_and_warnings_stay_on_show_once(record: JobRecord) -> None:
    said = panel_after(
        record, Note("Not checked."), Log("The job runs again.", "WARN"), Note("Not checked."), Log("12 MB")
    )
    assert said.count("Not checked.") == 1 and "runs again" in said and "12 MB" not in said


def test_an_end_without_a_clip_says_why(record: JobRecord) -> None:
    record.mark_over(Failed("out_of_memory", "The card is full. Try 480p."))
    said = panel_after(record, record.outcome)
    assert said.startswith("The card is full. Try 480p.") and record.job.id in said and "Retry" in said


def test_a_failed_run_of_the_full_model_offers_less_and_turbo() -> None:
    def offered(options: JobOptions, **values: object) -> list[str]:
        job = replace(a_job(**values), options=options)
        return [verb for verb, _ in smaller(JobRecord(job, "key:a", "local", 0.0))]

    large = {"resolution": "720p", "num_frames": 81}
    assert offered(JobOptions("a14b", "local"), **large) == ["480p", "49", "turbo"]
    assert offered(JobOptions("a14b", "fal"), **large) == ["480p", "49"]
    assert offered(JobOptions("miniature", "local"), resolution="480p", num_frames=17) == []


@pytest.mark.parametrize(
    ("options", "fal_is_paid", "offers"),
    [
        (JobOptions("a14b", "local"), True, True),
        (JobOptions("a14b", "local"), False, False),
        (JobOptions("a14b", "fal"), True, False),
        (JobOptions("turbo", "local"), True, False),
        (JobOptions("miniature", "local"), True, False),
    ],
)
def test_the_full_model_goes_to_fal_with_its_price_where_the_server_pays(
    options: JobOptions, fal_is_paid: bool, offers: bool
) -> None:
    failed = JobRecord(replace(a_job(resolution="480p", num_frames=17), options=options), "key:a", options.where, 0.0)
    failed.mark_over(Failed("out_of_memory", "The card is full."))
    progress = Progress(failed=True)
    said = panel(progress, failed, fal_is_paid=fal_is_paid)
    assert (f"fal:{failed.job.id}" in said and f"Run on fal (${dollars_of_job(failed.job):.2f})" in said) == offers


def test_a_cancelled_job_says_so(record: JobRecord) -> None:
    record.mark_over(Stopped())
    assert panel_after(record, record.outcome).startswith("Cancelled")


def test_nothing_in_an_event_becomes_html(record: JobRecord) -> None:
    progress = Progress()
    progress.update(Stage("loading", "<img src=x onerror=alert(1)>"))
    progress.update(Note("<script>alert(1)</script>"))
    assert "<img" not in panel(progress, record) and "<script" not in panel(progress, record)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (80, "1 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_read_like_speech(seconds: float, words: str) -> None:
    assert duration(seconds) == words
