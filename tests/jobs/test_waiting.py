"""The wait before the click: what runs and waits, shared among the workers that are there."""

import threading
from dataclasses import replace

import pytest

from tests.support.fake_backend import FakeBackend, held_until
from tests.support.jobs import NO_FLOOR, OPTIONS, a_house, a_job
from wan_core.events import Step
from wan_core.files import FileStore
from wan_core.jobs.record import JobRecord
from wan_core.jobs.waiting import seconds_left, wait_s


@pytest.mark.parametrize(
    ("running", "queued", "workers", "expected"),
    [
        ([], [], 1, 0),
        ([30], [], 1, 30),
        ([30], [], 2, 0),
        ([30], [60, 60], 1, 150),
        ([30, 10], [60], 2, 30),
        ([30, 10], [60, 60], 2, 70),
        ([30, 20, 10], [], 2, 20),  # a worker has left: the first to end gives no place
        ([], [60] * 8, 4, 120),
    ],
)
def test_each_job_goes_to_the_worker_that_is_free_first(
    running: list[float], queued: list[float], workers: int, expected: float
) -> None:
    assert wait_s(running, queued, workers) == expected


def test_a_running_job_tells_what_is_left_itself_and_else_its_estimate_does() -> None:
    record = JobRecord(a_job(), "a", "local", 0.0, "running")
    record.started_at = 100.0
    assert seconds_left(record, lambda job: 60.0, 120.0) == 40
    assert seconds_left(record, lambda job: 60.0, 300.0) == 1, "it may end any moment"
    record.events.append(Step("sampling", 1, 4, 25.0))
    assert seconds_left(record, lambda job: 60.0, 120.0) == 25


@pytest.mark.parametrize(("workers", "wait", "ahead"), [(1, 30_000, 3), (2, 10_000, 3), (4, 0, 3)])
def test_more_workers_mean_less_waiting(data: FileStore, workers: int, wait: float, ahead: int) -> None:
    backend, gate = FakeBackend(data), threading.Event()
    backend.scripts["a walk"] = held_until(gate, backend.make_clip)
    with a_house(data, backend, concurrency=workers, seconds_of=lambda job: 10_000.0) as house:
        records = [house.submit() for _ in range(3)]
        for record in records[:workers]:
            house.wait_until_running(record)
        outlook = house.jobs.outlook("local", "miniature")
        assert outlook.ahead == ahead and outlook.wait_s == pytest.approx(wait, abs=1_000)
        assert outlook.at_once == workers
        gate.set()
        for record in records:
            house.outcome(record)


def test_a_visitor_whose_jobs_run_one_at_a_time_gains_nothing_from_more_workers(data: FileStore) -> None:
    with a_house(data, concurrency=4, per_client=True) as house:
        assert house.jobs.outlook("local", "miniature").at_once == NO_FLOOR.running_jobs_per_client


def test_a_pool_that_grows_takes_the_jobs_that_waited_and_one_that_shrinks_lets_running_ones_end(
    data: FileStore,
) -> None:
    backend, gate = FakeBackend(data), threading.Event()
    backend.scripts["a walk"] = held_until(gate, backend.make_clip)
    with a_house(data, backend, concurrency=0, varies=True) as house:
        house.runner.set_workers("local", 0, "Nobody is there.")
        records = [house.submit() for _ in range(3)]
        assert house.jobs.outlook("local", "miniature").trouble == "Nobody is there." and not backend.ran
        house.runner.set_workers("local", 2)
        for record in records[:2]:
            house.wait_until_running(record)
        assert not house.jobs.outlook("local", "miniature").trouble and len(backend.ran) == 2
        house.runner.set_workers("local", 1)
        gate.set()
        for record in records:
            house.outcome(record)
        assert len(backend.ran) == 3 and all(record.attempts == 1 for record in records)


def test_a_low_priority_job_is_waited_for_once_it_runs_and_not_before(data: FileStore) -> None:
    backend, gate = FakeBackend(data), threading.Event()
    backend.scripts["a walk"] = held_until(gate, backend.make_clip)
    low = replace(OPTIONS, low_priority=True)
    with a_house(data, backend, seconds_of=lambda job: 10_000.0) as house:
        records = [house.submit(options=low) for _ in range(2)]
        house.wait_until_running(records[0])
        outlook = house.jobs.outlook("local", "miniature")
        assert outlook.ahead == 1 and outlook.wait_s == pytest.approx(10_000, abs=1_000)
        gate.set()
        for record in records:
            house.outcome(record)
