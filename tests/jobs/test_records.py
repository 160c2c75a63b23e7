"""Ended jobs cost no memory and no time, and are as well known as they ever were."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.jobs import a_house, a_job
from wan_core.errors import BackendError
from wan_core.events import Finished, Result
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs import records
from wan_core.jobs.record import JobRecord
from wan_core.jobs.records import Records
from wan_core.jobs.rows import LogLine, NewJob
from wan_core.jobs.served import Served
from wan_core.jobs.store import JobStore

DONE = Finished(Result("p", 5, Size(832, 480), 161, 32, "miniature"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "jobs.db")
    yield store
    store.close()


def ended(store: JobStore, known: Records, *, is_saved: bool = True) -> JobRecord:
    job = a_job()
    (row,) = store.add(NewJob(job, "a", "local"))
    record = JobRecord.from_row(row)
    known.add(record)
    record.logs.append(LogLine("Sampling.", "INFO", 1.5))
    if is_saved:
        store.finish(job.id, DONE, record.logs)
    record.mark_over(DONE)
    known.end(record, is_saved=is_saved)
    return record


def test_an_ended_job_that_left_memory_is_read_with_its_log_and_outcome(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT_ENDED", 2)
    known = Records(store)
    first, *_ = [ended(store, known) for _ in range(4)]
    again = known.get(first.job.id)
    assert again is not None and again is not first
    assert (again.outcome, again.logs, again.status, again.job) == (DONE, first.logs, "done", first.job)
    assert known.get(first.job.id) is again, "the next poll reads no disk"
    assert known.unfinished() == [] and known.get("unknown") is None


def test_an_outcome_that_the_full_disk_did_not_take_is_remembered_however_many_follow(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT_ENDED", 2)
    known = Records(store)
    unsaved = ended(store, known, is_saved=False)
    for _ in range(4):
        ended(store, known)
    assert known.get(unsaved.job.id) is unsaved


def test_a_job_whose_end_cannot_be_written_is_over_all_the_same(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_house(data) as house:

        def full(*_: object) -> bool:
            raise BackendError("storage_full", "Full.")

        monkeypatch.setattr(house.store, "finish", full)
        record = house.submit()
        assert isinstance(house.outcome(record), Finished)
        assert house.jobs.get(record.job.id) is record


def test_ended_jobs_are_not_read_at_start_and_a_broken_one_is_set_aside_when_asked_for(data: FileStore) -> None:
    with a_house(data) as house:
        good, bad = house.submit(), house.submit()
        house.outcome(bad)
    with closing(sqlite3.connect(data.database)) as db, db:
        db.execute("UPDATE jobs SET outcome = '{ no json' WHERE id = ?", (bad.job.id,))
    with a_house(data) as house:
        assert house.store.set_aside_since(60) == set()
        assert house.jobs.get(bad.job.id) is None
        assert house.store.set_aside_since(60) == {bad.job.id}
        known = house.jobs.get(good.job.id)
        assert known is not None and house.jobs.result(known) is not None


def test_who_was_served_last_is_known_after_a_restart(data: FileStore) -> None:
    with a_house(data) as house:
        first, second = house.submit("first"), house.submit("second")
        house.outcome(second)
        starts = house.store.last_starts(9)
    served = Served(starts).of_pool("local")
    assert served[first.client] < served[second.client]
