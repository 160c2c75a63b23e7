"""What is accepted stays accepted: rows survive their process, and every job has one state."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.jobs import a_job
from wan_core.errors import BackendError
from wan_core.events import Failed, Finished, Result, Stopped
from wan_core.geometry import Size
from wan_core.jobs.rows import LogLine, NewJob
from wan_core.jobs.store import JobStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    store = JobStore(path)
    yield store
    store.close()


def test_a_job_comes_back_as_it_was_given(store: JobStore, path: Path) -> None:
    job = a_job(prompt="Ein „Löwe“\n🦁", seed=7)
    store.add(NewJob(job, "key:1", "local"))
    store.close()
    reopened = JobStore(path)
    (row,) = reopened.unfinished_rows()
    reopened.close()
    assert (row.job, row.client, row.pool, row.status) == (job, "key:1", "local", "queued")


def test_fifty_jobs_are_claimed_exactly_once_by_eight_threads(store: JobStore) -> None:
    jobs = [a_job() for _ in range(50)]
    for job in jobs:
        store.add(NewJob(job, "c", "local"))
    claims: list[str] = []

    def claim_all() -> None:
        claims.extend(job.id for job in jobs if store.claim(job.id))

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claims) == sorted(job.id for job in jobs)


def test_a_second_claim_of_a_running_job_is_refused(store: JobStore) -> None:
    job = a_job()
    store.add(NewJob(job, "c", "local"))
    assert store.claim(job.id) == 1
    assert store.claim(job.id) is None


def test_what_ran_under_a_dead_process_waits_again_and_remembers_its_attempts(store: JobStore) -> None:
    job = a_job()
    store.add(NewJob(job, "c", "local"))
    store.claim(job.id)
    store.release_orphans()
    assert store.claim(job.id) == 2


def test_a_job_given_back_by_a_closing_app_has_lost_no_attempt(store: JobStore) -> None:
    job = a_job()
    store.add(NewJob(job, "c", "local"))
    store.claim(job.id)
    store.give_back(job.id)
    assert store.claim(job.id) == 1


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Finished(Result("p", 5, Size(832, 480), 161, 32, "miniature", {"x": 1.5}, ("n",))), "done"),
        (Failed("out_of_memory", "Too large.", None), "failed"),
        (Stopped(), "cancelled"),
    ],
)
def test_an_outcome_is_kept_with_its_log(store: JobStore, outcome: Finished | Failed | Stopped, status: str) -> None:
    job = a_job()
    store.add(NewJob(job, "c", "local"))
    store.claim(job.id)
    assert store.finish(job.id, outcome, [LogLine("hello", "INFO", 1.5)])
    row = store.row(job.id)
    assert row is not None
    assert (row.status, row.outcome, row.logs) == (status, outcome, (LogLine("hello", "INFO", 1.5),))
    assert not store.finish(job.id, Stopped(), []), "a job ends once"


def test_a_second_app_on_the_same_folder_is_refused_with_advice(store: JobStore, path: Path) -> None:
    with pytest.raises(SystemExit, match="WAN_DATA_DIR"):
        JobStore(path)


def test_a_damaged_database_is_put_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)
    store = JobStore(path)
    assert not store.ids()
    store.close()
    assert len(list(path.parent.glob("jobs.damaged-*"))) == 1


def test_what_fal_gave_us_is_kept(store: JobStore) -> None:
    job = a_job()
    store.add(NewJob(job, "c", "fal"))
    assert store.remote(job.id) is None
    store.set_remote(job.id, {"request_id": "r"})
    assert store.remote(job.id) == {"request_id": "r"}


def test_a_page_that_went_bad_while_the_app_was_down_is_found_at_start(path: Path) -> None:
    store = JobStore(path)
    store.add(*(NewJob(a_job(), "c", "local") for _ in range(50)))
    store.close()
    JobStore(path).close()
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)
    again = JobStore(path)
    again.close()
    assert len(list(path.parent.glob("jobs.damaged-*"))) == 1


def test_a_page_that_went_bad_while_the_app_ran_is_found_at_the_next_start(path: Path) -> None:
    store = JobStore(path)
    store.add(*(NewJob(a_job(), "c", "local") for _ in range(50)))
    store.close()
    store = JobStore(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(BackendError):
        store.unfinished_rows()
    store.close()
    JobStore(path).close()
    assert len(list(path.parent.glob("jobs.damaged-*"))) == 1


def test_a_folder_that_was_emptied_is_still_locked_and_takes_no_more_jobs(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.db")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match="Another app is using"):
        JobStore(tmp_path / "jobs.db")
    with pytest.raises(BackendError, match="emptied or moved") as refused:
        store.add(NewJob(a_job(), "a", "local"))
    assert refused.value.type == "storage_full"
    store.close()
    JobStore(tmp_path / "jobs.db").close()
