"""The jobs on disk: one SQLite table that survives a crash. Knows rows and states, not who runs them.

A claim marks the row, it never deletes it, so that the job of a dead process can run again. The folder is locked while
the app runs: whatever is `running` when it opens belongs to a process that is gone.
"""

import fcntl
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO, cast

from wan_core.errors import BackendError
from wan_core.events import Finished, Job, Outcome, Status, Stopped, from_json, to_json

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, client TEXT NOT NULL, lane TEXT NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, started_at REAL, finished_at REAL,
    logs TEXT NOT NULL DEFAULT '[]', outcome TEXT, remote TEXT, start_by REAL,
    owner_pays INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE TABLE IF NOT EXISTS spending (
    job_id TEXT PRIMARY KEY, client TEXT NOT NULL, dollars REAL NOT NULL, at REAL NOT NULL
) STRICT;
"""
SPENT = """
SELECT count(*) AS jobs, total(dollars) AS dollars, count(*) FILTER (WHERE client = :client) AS own_jobs FROM spending
WHERE at > :since AND job_id <> :job_id AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE id = job_id AND status IN ('failed', 'cancelled') AND remote IS NULL
)
"""
UNUSABLE = "This server cannot read or write its list of jobs: its disk may be full. Try again later."
RETRY_AFTER_S = 600


@dataclass(frozen=True)
class LogLine:
    """A line of a job's log; `at` is Unix time in seconds."""

    message: str
    level: str
    at: float


@dataclass(frozen=True)
class Row:
    """A job as it lies on disk. `remote` is what fal gave us to find the job again."""

    job: Job
    client: str
    pool: str
    status: Status
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    logs: tuple[LogLine, ...]
    outcome: Outcome | None
    remote: dict[str, str] | None
    start_by: float | None = None


@dataclass(frozen=True)
class Spent:
    """What the owner's key at fal was used for: all jobs, their dollars, and how many were one client's."""

    jobs: int
    dollars: float
    own_jobs: int


class JobStore:
    """Thread-safe; every method is one short transaction. `now` is the clock, in Unix seconds.

    Any method may raise BackendError `storage_full`.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(path.with_suffix(".lock"))
        self._mutex = threading.Lock()
        self._now = now
        self._db = _open(path)

    def close(self) -> None:
        with self._mutex:
            self._db.close()
        self._lock_file.close()

    def add(
        self, job: Job, client: str, pool: str, start_within_s: float | None = None, *, owner_pays: bool = False
    ) -> Row:
        """A new job. `owner_pays`: if it comes to fal, it runs there with the owner's key."""
        created_at = self._now()
        start_by = None if start_within_s is None else created_at + start_within_s
        with self._transaction() as db:
            db.execute(
                "INSERT INTO jobs (id, job, client, lane, status, created_at, start_by, owner_pays) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)",
                (job.id, job.to_json(), client, pool, created_at, start_by, owner_pays),
            )
        return Row(job, client, pool, "queued", 0, created_at, None, None, (), None, None, start_by)

    def claim(self, job_id: str) -> int | None:
        """Mark a queued job as running; the number of this attempt, or `None` if it is queued no more."""
        with self._transaction() as db:
            found = db.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, started_at = ? "
                "WHERE id = ? AND status = 'queued' RETURNING attempts",
                (self._now(), job_id),
            ).fetchone()
        return found["attempts"] if found else None

    def requeue(self, job_id: str, pool: str) -> None:
        """Give a running job back, to the same lane or another."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued', lane = ? WHERE id = ?", (pool, job_id))

    def give_back(self, job_id: str) -> None:
        """The app closes on purpose: the job waits for the next start, and this attempt does not count."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued', attempts = attempts - 1 WHERE id = ?", (job_id,))

    def finish(self, job_id: str, outcome: Outcome, logs: list[LogLine]) -> bool:
        """Write the end of a job; `False` if it had already ended."""
        status: Status = "done" if isinstance(outcome, Finished) else "failed"
        status = "cancelled" if isinstance(outcome, Stopped) else status
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE jobs SET status = ?, finished_at = ?, outcome = ?, logs = ? "
                "WHERE id = ? AND status IN ('queued', 'running')",
                (status, self._now(), to_json(outcome), _logs_text(logs), job_id),
            ).rowcount
        return changed == 1

    def rows(self) -> list[Row]:
        """All jobs, oldest first."""
        with self._transaction() as db:
            return [_row(found) for found in db.execute("SELECT * FROM jobs ORDER BY created_at, rowid")]

    def release_orphans(self) -> None:
        """At start: what was running under a dead process is queued again."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued' WHERE status = 'running'")

    def remove(self, job_id: str) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def set_remote(self, job_id: str, remote: dict[str, str]) -> None:
        """Keep what fal gave us to find the job again; on the disk itself before anything else is done with it."""
        with _storage_errors(), self._mutex:
            self._db.execute("PRAGMA synchronous = FULL")  # without this note a power cut would cost a second charge
            try:
                with self._db:
                    self._db.execute("UPDATE jobs SET remote = ? WHERE id = ?", (json.dumps(remote), job_id))
            finally:
                self._db.execute("PRAGMA synchronous = NORMAL")

    def forget_remote(self, job_id: str) -> None:
        """fal has not taken the job."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET remote = NULL WHERE id = ?", (job_id,))

    def remote(self, job_id: str) -> dict[str, str] | None:
        with self._transaction() as db:
            found = db.execute("SELECT remote FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return json.loads(found["remote"]) if found and found["remote"] else None

    def owner_pays(self, job_id: str) -> bool:
        with self._transaction() as db:
            found = db.execute("SELECT owner_pays FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return bool(found and found["owner_pays"])

    def client_of(self, job_id: str) -> str:
        with self._transaction() as db:
            return str(db.execute("SELECT client FROM jobs WHERE id = ?", (job_id,)).fetchone()["client"])

    def unfinished_ids(self) -> set[str]:
        """The ids of all jobs that wait or run."""
        with self._transaction() as db:
            found = db.execute("SELECT id FROM jobs WHERE status IN ('queued', 'running')").fetchall()
        return {row["id"] for row in found}

    def note_spending(self, job_id: str, client: str, dollars: float) -> None:
        """The owner's key pays for the job. The note outlives the job's row; a second one for a job changes nothing."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO spending (job_id, client, dollars, at) VALUES (?, ?, ?, ?)",
                (job_id, client, dollars, self._now()),
            )

    def spent(self, client: str, within_s: float, *, without: str = "") -> Spent:
        """What was spent in the last `within_s` seconds, by `client` and by all, the job `without` left out.

        Jobs that ended before they were sent to fal, or that fal refused, cost nothing and do not count.
        """
        facts = {"client": client, "since": self._now() - within_s, "job_id": without}
        with self._transaction() as db:
            return Spent(**db.execute(SPENT, facts).fetchone())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _storage_errors(), self._mutex, self._db:
            yield self._db


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        log.error("the list of jobs cannot be read or written: %s", error)
        raise BackendError("storage_full", UNUSABLE, retry_after_s=RETRY_AFTER_S) from error


def _lock(path: Path) -> TextIO:
    """Hold `path` for this process; the kernel lets go when it dies, however it dies."""
    lock_file = path.open("w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        busy = f"Another app is using {path.parent}. Stop it, or set WAN_DATA_DIR to another folder."
        raise SystemExit(busy) from None
    return lock_file


def _open(path: Path) -> sqlite3.Connection:
    """The database at `path`; a damaged one is put aside and a new one begun."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError:
        damaged = path.with_suffix(f".damaged-{int(time.time())}")
        path.rename(damaged)
        log.error("The job list was damaged; it was moved to %s and a new one begun.", damaged)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(SCHEMA)
        if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _row(found: sqlite3.Row) -> Row:
    return Row(
        job=Job.from_json(found["job"]),
        client=found["client"],
        pool=found["lane"],
        status=found["status"],
        attempts=found["attempts"],
        created_at=found["created_at"],
        started_at=found["started_at"],
        finished_at=found["finished_at"],
        logs=tuple(LogLine(**line) for line in json.loads(found["logs"])),
        outcome=cast(Outcome, from_json(found["outcome"])) if found["outcome"] else None,
        remote=json.loads(found["remote"]) if found["remote"] else None,
        start_by=found["start_by"],
    )


def _logs_text(logs: list[LogLine]) -> str:
    return json.dumps([asdict(line) for line in logs])
