"""Measure what ended jobs cost those that come after them: at start, in memory, and from submission to end.

    python -m benchmarks.many_jobs [--jobs 200] [--known 10 10000 100000]

Aims: as much with 100,000 ended jobs as with 10, and at most 0.5 s of processor to start. Each job has its own client,
and the limits for each client are on. Processor seconds, because the machine is shared; the encoder is a fake.
"""

import argparse
import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.support.fake_backend import FakeBackend
from tests.support.jobs import NO_FLOOR, OPTIONS, a_house, a_job, a_request
from wan_core.events import JOB, OUTCOME, Finished, Result
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs.limits import Client
from wan_core.jobs.rows import LogLine, logs_text
from wan_core.jobs.service import JobService, Submission
from wan_core.jobs.store import JobStore

INSERT = (
    "INSERT INTO jobs (id, job, client, pool, status, attempts, created_at, started_at, finished_at, logs, outcome) "
    "VALUES (?, ?, ?, 'local', 'done', 1, ?, ?, ?, ?, ?)"
)


def fill(files: FileStore, count: int) -> None:
    """Write `count` ended jobs of as many clients, each with the log of 27 steps."""
    JobStore(files.database).close()
    job, now = a_job(), time.time()
    text = JOB.dump_json(job).decode()
    outcome = OUTCOME.dump_json(Finished(Result("a walk", 1, Size(832, 480), 17, 16, "miniature"))).decode()
    logs = logs_text([LogLine(f"sampling: {step} of 27", "INFO", now) for step in range(1, 28)])

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(count):
            other, began = f"{number:08}{job.id[8:]}", now - count + number
            yield other, text.replace(job.id, other), f"c{number}", began, began, began + 1, logs, outcome

    with closing(sqlite3.connect(files.database)) as db, db:
        db.executemany(INSERT, rows())
    JobStore(files.database).close()  # as an app that ended well leaves it


def measure(files: FileStore, jobs: int) -> dict[str, float]:
    """Run `jobs` jobs, one after another, in a fresh process's service."""
    before = time.process_time()
    with a_house(files, FakeBackend(files), NO_FLOOR, per_client=True) as house:
        started = time.process_time()
        asyncio.run(run_jobs(house.jobs, jobs))
        ended = time.process_time()
    return {
        "start_s": started - before,
        "job_ms": (ended - started) / jobs * 1000,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def run_jobs(jobs: JobService, count: int) -> None:
    for number in range(count):
        record = await jobs.submit(Submission(a_request(), OPTIONS), Client.by_key(str(number)))
        async for _ in jobs.watch(record):
            pass


def measured_apart(root: Path, jobs: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.many_jobs", "--in", str(root), "--jobs", str(jobs)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--known", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--in", dest="root", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.root:
        print(json.dumps(measure(FileStore(asked.root), asked.jobs)))
        return
    print(f"{'ended jobs':>10} {'start':>9} {'a job':>9} {'process':>9}")
    for count in asked.known:
        with tempfile.TemporaryDirectory() as folder:
            fill(FileStore(Path(folder)), count)
            found = measured_apart(Path(folder), asked.jobs)
        print(f"{count:10,} {found['start_s']:7.2f} s {found['job_ms']:6.1f} ms {found['mb']:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()
