"""Migrations of the jobs' database; `PRAGMA user_version` counts those applied.

Never change a released step; add another. Spending on fal is in a file of its own, attached as `fal`: it outlives a
damaged jobs' database.
"""

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

JOBS = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, client TEXT NOT NULL, lane TEXT NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, started_at REAL, finished_at REAL,
    logs TEXT NOT NULL DEFAULT '[]', outcome TEXT, remote TEXT, start_by REAL,
    owner_pays INTEGER NOT NULL DEFAULT 0
) STRICT
"""
ADDED_COLUMNS = {"start_by": "REAL", "owner_pays": "INTEGER NOT NULL DEFAULT 0"}
SPENDING = """
CREATE TABLE IF NOT EXISTS fal.spending (
    job_id TEXT PRIMARY KEY, client TEXT NOT NULL, dollars REAL NOT NULL, at REAL NOT NULL
) STRICT
"""
SET_ASIDE = """
CREATE TABLE unreadable_jobs (id TEXT PRIMARY KEY, row TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL) STRICT
"""

JOB_PICTURES = """
CREATE TABLE job_pictures (job_id TEXT NOT NULL, picture TEXT NOT NULL, PRIMARY KEY (job_id, picture)) WITHOUT ROWID
"""
PICTURES_OF = """
INSERT OR IGNORE INTO job_pictures SELECT {job}.id, files.value
FROM json_each(CASE WHEN json_valid({job}.job) THEN {job}.job ELSE '{{}}' END, '$.files') AS files
"""

WEBHOOKS = """
CREATE TABLE webhooks (
    job_id TEXT PRIMARY KEY, url TEXT NOT NULL, origin TEXT NOT NULL, queue TEXT NOT NULL, user TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL, body TEXT
) STRICT
"""


def _create_jobs(db: sqlite3.Connection) -> None:
    db.execute(JOBS)
    db.execute("CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at)")
    for name, kind in ADDED_COLUMNS.items():
        if name not in columns(db, "jobs"):
            db.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")


def _move_spending(db: sqlite3.Connection) -> None:
    """The oldest versions kept dollars in the job's row."""
    db.execute(SPENDING)
    if "dollars" in columns(db, "jobs"):
        db.execute(
            "INSERT OR IGNORE INTO fal.spending SELECT id, client, dollars, created_at FROM jobs "
            "WHERE owner_pays AND dollars > 0"
        )
        db.execute("ALTER TABLE jobs DROP COLUMN dollars")
    if columns(db, "spending"):
        db.execute("INSERT OR IGNORE INTO fal.spending SELECT job_id, client, dollars, at FROM main.spending")
        db.execute("DROP TABLE main.spending")


def _name_files_by_id(db: sqlite3.Connection) -> None:
    """Unreadable rows stay as they are."""
    db.execute("ALTER TABLE jobs RENAME COLUMN lane TO pool")
    for job_id, text in db.execute("SELECT id, job FROM jobs").fetchall():
        try:
            db.execute("UPDATE jobs SET job = ? WHERE id = ?", (_with_file_ids(text), job_id))
        except (ValueError, TypeError, LookupError):
            log.warning("job %s of an older version cannot be read", job_id)


def _with_file_ids(text: str) -> str:
    old = json.loads(text)
    known = {"id", "request", "picture", "size", "engine", "where", "frames_of", "prompt_in_file"}
    if not old.keys() <= known:
        raise ValueError("unknown fields")
    options = {name: old[name] for name in ("engine", "where", "prompt_in_file") if name in old}
    files = {"image_url": Path(old["picture"]).stem}
    new = {"id": old["id"], "inputs": old["request"], "size": old["size"], "options": options, "files": files}
    return json.dumps(new | {"frames_of": old.get("frames_of")})


def _add_unreadable_jobs(db: sqlite3.Connection) -> None:
    db.execute(SET_ASIDE)


def _index_ended_jobs(db: sqlite3.Connection) -> None:
    """Triggers note which pictures a job has."""
    db.execute("CREATE INDEX jobs_by_status ON jobs (status, finished_at, id)")
    db.execute("CREATE INDEX jobs_by_start ON jobs (started_at, pool, client)")
    db.execute(JOB_PICTURES)
    db.execute("CREATE INDEX jobs_by_picture ON job_pictures (picture)")
    db.execute(PICTURES_OF.format(job="jobs").replace("FROM json_each", "FROM jobs, json_each"))
    note, forget = PICTURES_OF.format(job="new"), "DELETE FROM job_pictures WHERE job_id = old.id"
    db.execute(f"CREATE TRIGGER note_pictures AFTER INSERT ON jobs BEGIN {note}; END")
    db.execute(f"CREATE TRIGGER forget_pictures AFTER DELETE ON jobs BEGIN {forget}; END")


def _add_webhooks(db: sqlite3.Connection) -> None:
    db.execute(WEBHOOKS)


def _add_forgetting(db: sqlite3.Connection) -> None:
    """Jobs whose callers set a time are found without reading the others."""
    db.execute("ALTER TABLE jobs ADD COLUMN forget_at REAL")
    db.execute("CREATE INDEX jobs_by_forgetting ON jobs (forget_at) WHERE forget_at IS NOT NULL")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _create_jobs,
    _move_spending,
    _name_files_by_id,
    _add_unreadable_jobs,
    _index_ended_jobs,
    _add_webhooks,
    _add_forgetting,
)


def migrate(db: sqlite3.Connection) -> None:
    """Each step in a transaction."""
    for number, step in enumerate(MIGRATIONS[version(db) :], start=version(db) + 1):
        db.execute("BEGIN IMMEDIATE")
        with db:
            step(db)
            db.execute(f"PRAGMA user_version = {number}")


def version(db: sqlite3.Connection) -> int:
    found: int = db.execute("PRAGMA main.user_version").fetchone()[0]
    return found


def columns(db: sqlite3.Connection, table: str) -> set[str]:
    """Empty if there is no such table."""
    return {row[1] for row in db.execute(f"PRAGMA main.table_info({table})")}
