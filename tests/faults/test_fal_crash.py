"""`kill -9` of the app around a job on fal: what was paid for still arrives, and nothing is sent a second time.

Run as a module, this file is the app: the desk, the runner and the fal backend on a data folder, without a page.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.faulty_fal import HASTE, FaultyFal, completed, cut, held, in_progress
from tests.support.jobs import NO_FLOOR, a_request, grey_picture
from wan_core.backends.fal import FalBackend
from wan_core.events import Failed, Finished, JobOptions
from wan_core.files import FileStore
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import Row
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService, Submission
from wan_core.jobs.store import JobStore
from wan_core.profiles import pool_of
from wan_core.settings import Settings

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[2]


def app(root: Path, port: int) -> None:
    """Finish the jobs that are there, or submit one if there is none; ends when all are over."""
    fal, data = FaultyFal(port, b""), FileStore(root)
    store = JobStore(data.database)
    budget, keys = FalBudget(store, Settings(), per_client=False), FalKeys(store, Settings().fal_key)
    backend = FalBackend(store, keys, budget, data, NO_FLOOR, hosts=fal.hosts, fetcher=fal.fetcher(), timeouts=HASTE)
    runner = JobRunner(store, {"fal": WorkerPool(backend, 2)}, NO_FLOOR, per_client=False)
    jobs = JobService(store, runner, data, NO_FLOOR, grey_picture, pool_of, per_client=False, budget=budget, keys=keys)
    known = store.ids()
    runner.start()
    asyncio.run(work(jobs, [record for record in map(jobs.get, known) if record is not None]))
    runner.close()
    store.close()


async def work(jobs: JobService, records: list[JobRecord]) -> None:
    if not records:
        records = [await jobs.submit(Submission(a_request(), JobOptions("a14b", "fal")), Client.by_key("a"))]
    for record in records:
        async for _ in jobs.watch(record):
            pass


@contextmanager
def running_app(data: FileStore, fal: FaultyFal) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.test_fal_crash", str(data.root), str(fal.port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"FAL_KEY": "canary:key"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        output, _ = process.communicate()
        assert b"canary" not in output, output.decode()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def only_row(data: FileStore) -> Row:
    store = JobStore(data.database)
    (row,) = map(store.row, store.ids())
    assert row is not None
    store.close()
    return row


def test_a_clip_arrives_although_the_app_was_killed_between_submission_and_result(
    data: FileStore, fal: FaultyFal
) -> None:
    fal.life = (in_progress("a"),)
    with running_app(data, fal) as process:
        wait_until(lambda: fal.polls > 2)
        kill(process)
    fal.life = (completed("a"),)
    with running_app(data, fal) as process:
        assert process.wait(30) == 0
    row = only_row(data)
    assert isinstance(row.outcome, Finished) and data.clip(row.job.id).read_bytes() == fal.clip
    assert (fal.submissions, fal.charges, fal.cancels) == (1, 1, 0)
    assert not [path for path in data.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


def test_an_app_killed_before_fals_answer_never_sends_the_job_again(data: FileStore, fal: FaultyFal) -> None:
    killed = threading.Event()
    fal.always("submit", held(killed, cut))
    with running_app(data, fal) as process:
        wait_until(lambda: fal.submissions == 1)
        kill(process)
    killed.set()
    with running_app(data, fal) as process:
        assert process.wait(30) == 0
    outcome = only_row(data).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("This app stopped while it sent the job to fal. It may have taken the job")
    assert fal.submissions == 1


def test_a_job_outlives_twenty_kills_at_any_moment_with_one_submission(data: FileStore, fal: FaultyFal) -> None:
    fal.life = (in_progress("a"),)
    chance = random.Random(7)
    for _ in range(20):
        with running_app(data, fal) as process:
            asked = fal.polls
            wait_until(lambda asked=asked: fal.polls > asked)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.05))
            kill(process)
    fal.life = (completed(),)
    with running_app(data, fal) as process:
        assert process.wait(30) == 0
    assert isinstance(only_row(data).outcome, Finished)
    assert (fal.submissions, fal.charges) == (1, 1)


if __name__ == "__main__":
    app(Path(sys.argv[1]), int(sys.argv[2]))
