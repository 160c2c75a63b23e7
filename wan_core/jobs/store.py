"""Jobs on disk, in one SQLite table. Knows rows and states, not who runs them.

The folder is locked while the app runs: a row found `running` at start is a dead process's, and runs again.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.events import JOB, OUTCOME, Finished, Outcome, Status, Stopped
from wan_core.jobs.migrations import MIGRATIONS, SPENDING, migrate, version
from wan_core.jobs.rows import EndedJob, LogLine, NewJob, Row, logs_text, queued_row, read_row, without_texts
from wan_core.jobs.webhooks import add_webhooks, drop_webhooks_without_body

log = logging.getLogger(__name__)

SPENT = """
SELECT count(*) AS jobs, total(dollars) AS dollars, count(*) FILTER (WHERE client = :client) AS own_jobs
FROM fal.spending WHERE at > :since AND job_id <> :job_id AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE id = job_id AND status IN ('failed', 'cancelled') AND remote IS NULL
)
"""
OWN_PICTURES = """
SELECT picture FROM job_pictures AS own WHERE job_id = ? AND NOT EXISTS (
    SELECT 1 FROM job_pictures AS other WHERE other.picture = own.picture AND other.job_id <> ?
)
"""
UNUSED_PICTURES = """
SELECT picture FROM job_pictures AS own WHERE job_id = ? AND NOT EXISTS (
    SELECT 1 FROM job_pictures AS other JOIN jobs ON jobs.id = other.job_id
    WHERE other.picture = own.picture AND other.job_id <> ? AND jobs.status IN ('queued', 'running', 'done')
)
"""
UNFINISHED = """
SELECT * FROM jobs WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_by_status WHERE status NOT IN (?, ?, ?))
ORDER BY created_at, rowid
"""
LAST_STARTS = """
SELECT pool, client, started_at FROM (
    SELECT pool, client, started_at FROM jobs WHERE started_at NOT NULL ORDER BY started_at DESC LIMIT ?
) ORDER BY started_at
"""
OVER = ("done", "failed", "cancelled")
UNUSABLE = "This server cannot read or write its list of jobs: its disk may be full. Try again later."
GONE = "This server's data folder was emptied or moved while it ran. Its owner has to restart it."
NEWER = "{path} was written by a newer version of this app. Update the app, or set WAN_DATA_DIR to another folder."
UNOPENED = "{path} cannot be opened ({error}). Check the disk, or set WAN_DATA_DIR to another folder."
SOUND = ".sound"
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
RETRY_AFTER_S = 600


@dataclass(frozen=True)
class Spending:
    """Of the owner's key; `own_jobs`: one client's."""

    jobs: int
    dollars: float
    own_jobs: int


class JobStore:
    """Thread-safe; each method is one short transaction, and may raise BackendError `storage_full`. `now`: Unix
    seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._locks = _lock(path.with_suffix(".lock"))
        self._mutex = threading.Lock()
        self._now = now
        self._reading = threading.Lock()
        self._path, self._is_sound = path, True
        try:
            self._db = _open(path)
            self._reader = _open_reader(path)
            self._inode = path.stat().st_ino
        except BaseException:
            self._locks.close()
            raise

    def close(self) -> None:
        with self._mutex, self._reading:
            self._reader.close()
            self._db.close()
            if self._is_sound:
                _note_sound(self._path)
        self._locks.close()

    def add(self, *jobs: NewJob) -> list[Row]:
        """All or none."""
        created_at = self._now()
        rows = [queued_row(new, created_at) for new in jobs]
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO jobs (id, job, client, pool, status, created_at, start_by, owner_pays) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)",
                [
                    (
                        new.job.id,
                        JOB.dump_json(new.job).decode(),
                        new.client,
                        new.pool,
                        created_at,
                        row.start_by,
                        new.owner_pays,
                    )
                    for new, row in zip(jobs, rows, strict=True)
                ],
            )
            add_webhooks(db, jobs, created_at)
        return rows

    def claim(self, job_id: str) -> int | None:
        """The attempt's number, or `None` if the job is not queued."""
        with self.transaction() as db:
            found = db.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, started_at = ? "
                "WHERE id = ? AND status = 'queued' RETURNING attempts",
                (self._now(), job_id),
            ).fetchone()
        return found["attempts"] if found else None

    def requeue(self, job_id: str, pool: str) -> None:
        with self.transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued', pool = ? WHERE id = ?", (pool, job_id))

    def give_back(self, job_id: str) -> None:
        """For the next start; this attempt does not count."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued', attempts = attempts - 1 WHERE id = ?", (job_id,))

    def finish(self, job_id: str, outcome: Outcome, logs: list[LogLine], keep_s: float | None = None) -> bool:
        """`False` if it had already ended. `keep_s`: seconds until it is to be forgotten."""
        status: Status = "done" if isinstance(outcome, Finished) else "failed"
        status = "cancelled" if isinstance(outcome, Stopped) else status
        now = self._now()
        forget_at = None if keep_s is None else now + keep_s
        with self.transaction() as db:
            changed = db.execute(
                "UPDATE jobs SET status = ?, finished_at = ?, forget_at = ?, outcome = ?, logs = ? "
                "WHERE id = ? AND status IN ('queued', 'running')",
                (status, now, forget_at, OUTCOME.dump_json(outcome).decode(), logs_text(logs), job_id),
            ).rowcount
        return changed == 1

    def unfinished_rows(self) -> list[Row]:
        """Oldest first; unreadable ones are set aside."""
        return self._readable(UNFINISHED, *OVER)

    def row(self, job_id: str) -> Row | None:
        """`None` if there is none, or it cannot be read: then it is set aside."""
        found = self._readable("SELECT * FROM jobs WHERE id = ?", job_id)
        return found[0] if found else None

    def done_of(self, client: str, most: int) -> list[Row]:
        """The last first."""
        return self._readable(
            "SELECT * FROM jobs WHERE client = ? AND status = 'done' ORDER BY finished_at DESC LIMIT ?", client, most
        )

    def ids(self) -> set[str]:
        return {row["id"] for row in self.read("SELECT id FROM jobs")}

    def picture_ids(self) -> set[str]:
        return {row["picture"] for row in self.read("SELECT picture FROM job_pictures")}

    def ended(self) -> list[EndedJob]:
        """Oldest first."""
        found = self.read("SELECT id, finished_at FROM jobs WHERE status IN (?, ?, ?) ORDER BY finished_at", *OVER)
        return [EndedJob(row["id"], row["finished_at"] or 0) for row in found]

    def to_be_forgotten(self) -> list[str]:
        """Ids of ended jobs whose time is over that their callers set."""
        return [row["id"] for row in self.read("SELECT id FROM jobs WHERE forget_at <= ?", self._now())]

    def forget_texts(self, job_id: str) -> None:
        """Empty what its caller wrote, and what was written from it, in the row of an ended job."""
        row = self.row(job_id)
        if row is None or row.outcome is None:
            return
        job, outcome = without_texts(row.job, row.outcome)
        values = JOB.dump_json(job).decode(), OUTCOME.dump_json(outcome).decode(), logs_text(()), job_id
        with self.transaction() as db:
            db.execute("UPDATE jobs SET job = ?, outcome = ?, logs = ? WHERE id = ?", values)

    def unused_pictures(self, job_id: str) -> list[str]:
        """Ids of the job's pictures that no job with a clip, or still to run, needs."""
        return [row["picture"] for row in self.read(UNUSED_PICTURES, job_id, job_id)]

    def own_pictures(self, job_id: str) -> list[str]:
        """Ids of pictures that no other job shares."""
        return [row["picture"] for row in self.read(OWN_PICTURES, job_id, job_id)]

    def last_starts(self, most: int) -> dict[tuple[str, str], float]:
        """(pool, client) → Unix seconds, by the last `most` starts."""
        found = self.read(LAST_STARTS, most)
        return {(row["pool"], row["client"]): row["started_at"] for row in found}

    def set_aside_since(self, within_s: float) -> set[str]:
        """Ids; their files must stay."""
        with self.transaction() as db:
            found = db.execute("SELECT id FROM unreadable_jobs WHERE at > ?", (self._now() - within_s,)).fetchall()
        return {row["id"] for row in found}

    def release_orphans(self) -> None:
        """At start: requeue what a dead process was running."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET status = 'queued' WHERE status = 'running'")

    def remove(self, *job_ids: str) -> None:
        with self.transaction() as db:
            db.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in job_ids])
            drop_webhooks_without_body(db, job_ids)

    def set_remote(self, job_id: str, remote: dict[str, str]) -> None:
        """On disk before it returns."""
        with self._storage_errors(), self._mutex:
            self._db.execute("PRAGMA synchronous = FULL")  # losing this row in a power cut would cost a second charge
            try:
                with self._db:
                    self._db.execute("UPDATE jobs SET remote = ? WHERE id = ?", (json.dumps(remote), job_id))
            finally:
                self._db.execute("PRAGMA synchronous = NORMAL")

    def forget_remote(self, job_id: str) -> None:
        with self.transaction() as db:
            db.execute("UPDATE jobs SET remote = NULL WHERE id = ?", (job_id,))

    def remote(self, job_id: str) -> dict[str, str] | None:
        with self.transaction() as db:
            found = db.execute("SELECT remote FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return json.loads(found["remote"]) if found and found["remote"] else None

    def owner_pays(self, job_id: str) -> bool:
        with self.transaction() as db:
            found = db.execute("SELECT owner_pays FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return bool(found and found["owner_pays"])

    def client_of(self, job_id: str) -> str:
        with self.transaction() as db:
            return str(db.execute("SELECT client FROM jobs WHERE id = ?", (job_id,)).fetchone()["client"])

    def unfinished_ids(self) -> set[str]:
        with self.transaction() as db:
            found = db.execute("SELECT id FROM jobs WHERE status IN ('queued', 'running')").fetchall()
        return {row["id"] for row in found}

    def note_spending(self, job_id: str, client: str, dollars: float) -> None:
        """Once per job; outlives the job's row."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO fal.spending (job_id, client, dollars, at) VALUES (?, ?, ?, ?)",
                (job_id, client, dollars, self._now()),
            )

    def forget_spending(self, *job_ids: str) -> None:
        with self.transaction() as db:
            db.executemany("DELETE FROM fal.spending WHERE job_id = ?", [(job_id,) for job_id in job_ids])

    def spending(self, client: str, within_s: float, *, without: str = "") -> Spending:
        """Without the job `without`, and without jobs that ended before fal took them."""
        facts = {"client": client, "since": self._now() - within_s, "job_id": without}
        with self.transaction() as db:
            return Spending(**db.execute(SPENT, facts).fetchone())

    def _readable(self, query: str, *values: object) -> list[Row]:
        rows = []
        for each in self.read(query, *values):
            try:
                rows.append(read_row(each))
            except (ValueError, TypeError) as error:
                self._set_aside(each, error)
        return rows

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """On a connection of its own: readers wait for no write."""
        with self._storage_errors(), self._reading:
            return self._reader.execute(query, values).fetchall()

    def _set_aside(self, found: sqlite3.Row, error: Exception) -> None:
        log.error("job %s cannot be read and is set aside: %s", found["id"], type(error).__name__)
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO unreadable_jobs (id, row, reason, at) VALUES (?, ?, ?, ?)",
                (found["id"], json.dumps(dict(found)), str(error), self._now()),
            )
            db.execute("DELETE FROM jobs WHERE id = ?", (found["id"],))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Also for the tables beside the jobs'. Raises BackendError."""
        self._refuse_if_gone()
        with self._storage_errors(), self._mutex, self._db:
            yield self._db

    def _refuse_if_gone(self) -> None:
        """A file without a name is lost with this process."""
        try:
            found = self._path.stat().st_ino
        except OSError:
            found = None
        if found != self._inode:
            log.error("%s is gone or another file; nothing is stored until this app is restarted", self._path)
            raise BackendError("storage_full", GONE, retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            self._is_sound &= not _tells_of_damage(error)
            log.error("the list of jobs cannot be read or written: %s", error)
            raise BackendError("storage_full", UNUSABLE, retry_after_s=RETRY_AFTER_S) from error


def _lock(path: Path) -> ExitStack:
    """The file, as older versions do, and its folder: a deleted file's successor is not locked."""
    with ExitStack() as locks:
        for descriptor in (os.open(path, os.O_RDWR | os.O_CREAT, 0o644), os.open(path.parent, os.O_RDONLY)):
            locks.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                busy = f"Another app is using {path.parent}. Stop it, or set WAN_DATA_DIR to another folder."
                raise SystemExit(busy) from None
        return locks.pop_all()


def _open(path: Path) -> sqlite3.Connection:
    """Migrate; set a damaged database aside and begin a new one.

    Raises:
        SystemExit: from a newer version, or cannot be opened.
    """
    spending = path.with_name("fal_spending.db")
    try:
        _refuse_newer(path)
        return _connect(path, spending)
    except sqlite3.DatabaseError as error:
        if not _tells_of_damage(error):
            raise SystemExit(UNOPENED.format(path=path, error=error)) from None
    damaged = _rename_damaged(path if _is_damaged(path) else spending)
    db = _connect(path, spending)
    _copy_spending(damaged, db)
    return db


def _refuse_newer(path: Path) -> None:
    if not path.exists():
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        if version(db) > len(MIGRATIONS):
            raise SystemExit(NEWER.format(path=path))


def _connect(path: Path, spending: Path) -> sqlite3.Connection:
    unchanged = _take_sound_note(path)
    db = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("ATTACH DATABASE ? AS fal", (str(spending),))
        for schema in ("main", "fal"):
            db.execute(f"PRAGMA {schema}.journal_mode = WAL")
            db.execute(f"PRAGMA {schema}.synchronous = NORMAL")
            if schema == "fal" or not unchanged:
                _check(db, schema)
        migrate(db)
        db.execute(SPENDING)  # may be new beside an old database
    except BaseException:
        db.close()
        raise
    return db


def _open_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA query_only = ON")
    return db


def _check(db: sqlite3.Connection, schema: str) -> None:
    if db.execute(f"PRAGMA {schema}.quick_check(1)").fetchone()[0] != "ok":
        error = sqlite3.DatabaseError("quick_check failed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _tells_of_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def _note_sound(path: Path) -> None:
    """An unchanged file needs no check, which takes 0.5 s for 100,000 jobs."""
    with suppress(OSError):  # then it is checked
        status = path.stat()
        path.with_suffix(SOUND).write_text(f"{status.st_size} {status.st_mtime_ns}")


def _take_sound_note(path: Path) -> bool:
    """Whether the file is as it was closed. A process that dies leaves no note."""
    try:
        status, note = path.stat(), path.with_suffix(SOUND).read_text()
    except OSError:
        return False
    path.with_suffix(SOUND).unlink()
    return note == f"{status.st_size} {status.st_mtime_ns}"


def _is_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as db:
            _check(db, "main")
    except sqlite3.DatabaseError:
        return True
    return False


def _rename_damaged(path: Path) -> Path:
    """With its WAL files; nothing is deleted."""
    damaged = path.with_suffix(f".damaged-{int(time.time())}")
    for end in ("-wal", "-shm", ""):
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(damaged.with_name(damaged.name + end))
    log.error("%s was damaged; it was moved to %s and a new one begun.", path.name, damaged)
    return damaged


def _copy_spending(damaged: Path, db: sqlite3.Connection) -> None:
    """Older versions kept it in the jobs' database."""
    try:
        with closing(sqlite3.connect(damaged)) as old:
            rows = old.execute("SELECT job_id, client, dollars, at FROM spending").fetchall()
        with db:
            db.executemany("INSERT OR IGNORE INTO fal.spending VALUES (?, ?, ?, ?)", rows)
    except sqlite3.DatabaseError as error:
        log.info("%s tells nothing of spending on fal (%s)", damaged.name, error)
