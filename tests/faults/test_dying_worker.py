"""Workers that die or hang, in numbers: no job is lost, none is made twice, and the next one runs."""

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fast_worker import fast_worker
from tests.support.jobs import NO_FLOOR, a_house
from wan_core.backends import local
from wan_core.backends.local import LocalBackend
from wan_core.events import Failed, Finished
from wan_core.files import FileStore

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

JOBS, KILLS = 300, 30


@pytest.fixture(autouse=True)
def without_models(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WORKER", fast_worker(data))


def workers() -> list[int]:
    """The pids of the workers of this process."""
    children = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    found = []
    for pid in children:
        with suppress(OSError):
            if b"THE-ID" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def kill_at_random(over: threading.Event, kills: list[int]) -> None:
    """SIGKILL the worker every 50 to 250 ms, until it was killed often enough."""
    chance = random.Random(7)
    while len(kills) < KILLS and not over.wait(chance.uniform(0.05, 0.25)):
        for pid in workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills.append(pid)


def test_thirty_kills_at_random_lose_no_job_of_three_hundred_and_make_none_twice(data: FileStore) -> None:
    patient = replace(NO_FLOOR, attempts=1000, waiting_jobs=JOBS, unfinished_jobs=JOBS)
    over, kills = threading.Event(), list[int]()
    with a_house(data, LocalBackend(patient, lambda job: 60), patient) as house:
        killer = threading.Thread(target=kill_at_random, args=(over, kills))
        killer.start()
        records = [house.submit(seed=number) for number in range(JOBS)]
        while len(kills) < KILLS and killer.is_alive():
            house.outcome(house.submit(seed=JOBS))  # the work lasts as long as the killing
        outcomes = [house.outcome(record) for record in records]
        over.set()
        killer.join()
        assert len(kills) >= KILLS
        assert {type(outcome) for outcome in outcomes} == {Finished}
        assert {record.job.inputs.seed for record in records} == set(range(JOBS))
        calm = [record for record in records if record.attempts == 1]
        twice = [record for record in calm if data.clip(record.job.id).read_text() != "made\n"]
        assert twice == [], "a job that was not disturbed is made once"
    with sqlite3.connect(data.database) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        statuses = dict(db.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())
    assert set(statuses) == {"done"} and statuses["done"] >= JOBS


@pytest.mark.parametrize("fault", ["segfault", "exit", "hang"])
def test_a_job_that_kills_its_worker_fails_with_a_reason_and_the_next_one_is_made(data: FileStore, fault: str) -> None:
    impatient = replace(NO_FLOOR, heartbeat_timeout_s=1.0)
    with a_house(data, LocalBackend(impatient, lambda job: 60), impatient) as house:
        bad, good = house.submit(prompt=fault), house.submit(prompt="a walk")
        outcome = house.outcome(bad)
        assert isinstance(outcome, Failed) and outcome.type == "worker_lost" and outcome.message.endswith(".")
        assert bad.attempts == NO_FLOOR.attempts
        assert isinstance(house.outcome(good), Finished) and good.attempts == 1
        assert not data.picture(bad.job.picture).exists()


def test_a_locked_database_makes_a_submission_wait_and_not_fail(data: FileStore) -> None:
    with a_house(data, LocalBackend(NO_FLOOR, lambda job: 60)) as house:
        house.outcome(house.submit())
        with sqlite3.connect(data.database, check_same_thread=False, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(1.0, other.execute, ["ROLLBACK"]).start()
            assert isinstance(house.outcome(house.submit()), Finished)
        other.close()


def test_a_clock_that_is_set_back_an_hour_stops_nothing(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_house(data, LocalBackend(NO_FLOOR, lambda job: 60)) as house:
        before = house.submit()
        house.outcome(before)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        after = [house.submit(), house.submit()]
        assert all(isinstance(house.outcome(record), Finished) for record in after)
    with a_house(data, LocalBackend(NO_FLOOR, lambda job: 60)) as house:
        assert all(house.jobs.get(record.job.id) is not None for record in (before, *after))
