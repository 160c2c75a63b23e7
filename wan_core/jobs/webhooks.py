"""Webhooks that wait for their delivery, in a table beside the jobs. Knows no network.

The message is written down with the first attempt: later ones say the same, whatever became of the job.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from wan_core.jobs.rows import NewJob, Webhook

INSERT = "INSERT INTO webhooks (job_id, url, origin, queue, user, due_at) VALUES (?, ?, ?, ?, ?, ?)"


class Database(Protocol):
    """What a `JobStore` offers."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def read(self, query: str, *values: object) -> list[sqlite3.Row]: ...


@dataclass(frozen=True)
class PendingWebhook:
    """The next attempt is due at `due_at`, in Unix seconds, once the job is over."""

    job_id: str
    webhook: Webhook
    attempts: int
    due_at: float
    body: str | None


class WebhookStore:
    """Any method may raise BackendError `storage_full`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending(self) -> list[PendingWebhook]:
        """Oldest first."""
        return [_pending(row) for row in self._database.read("SELECT * FROM webhooks ORDER BY rowid")]

    def write_body(self, job_id: str, body: str) -> None:
        with self._database.transaction() as db:
            db.execute("UPDATE webhooks SET body = ? WHERE job_id = ?", (body, job_id))

    def note_attempt(self, job_id: str, attempts: int, due_at: float) -> None:
        """`attempts`: those made; `due_at`: of the next."""
        with self._database.transaction() as db:
            db.execute("UPDATE webhooks SET attempts = ?, due_at = ? WHERE job_id = ?", (attempts, due_at, job_id))

    def remove(self, job_id: str) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM webhooks WHERE job_id = ?", (job_id,))


def add_webhooks(db: sqlite3.Connection, jobs: Iterable[NewJob], due_at: float) -> None:
    """In the transaction that adds `jobs`."""
    asked = [(new.job.id, new.webhook) for new in jobs if new.webhook]
    rows = [(job_id, hook.url, hook.origin, hook.queue, hook.user, due_at) for job_id, hook in asked]
    db.executemany(INSERT, rows)


def drop_webhooks_without_body(db: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """In the transaction that removes the jobs: later nobody can write the message."""
    ids = [(job_id,) for job_id in job_ids]
    db.executemany("DELETE FROM webhooks WHERE job_id = ? AND body IS NULL", ids)


def _pending(row: sqlite3.Row) -> PendingWebhook:
    webhook = Webhook(row["url"], row["origin"], row["queue"], row["user"])
    return PendingWebhook(row["job_id"], webhook, row["attempts"], row["due_at"], row["body"])
