"""A row of the jobs' table, and how it is written and read. Knows no connection."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from wan_core.endpoints import ENDPOINTS
from wan_core.events import JOB, OUTCOME, Finished, Job, LogLevel, Outcome, Status


@dataclass(frozen=True)
class LogLine:
    """`at`: Unix seconds."""

    message: str
    level: LogLevel
    at: float


LOG_LINES: TypeAdapter[tuple[LogLine, ...]] = TypeAdapter(tuple[LogLine, ...])
STATUS: TypeAdapter[Status] = TypeAdapter(Status)
REMOTE: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Row:
    """`remote`: fal's handle."""

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
class Webhook:
    """Where the end of a job is told.

    `origin`, `queue`: this server's addresses, as the caller knows them. `user`: the caller, as a hash.
    """

    url: str
    origin: str
    queue: str
    user: str


@dataclass(frozen=True)
class NewJob:
    """`owner_pays`: use the owner's key if the job runs on fal."""

    job: Job
    client: str
    pool: str
    start_within_s: float | None = None
    owner_pays: bool = False
    webhook: Webhook | None = None


@dataclass(frozen=True)
class EndedJob:
    """Without reading its row. `finished_at`: Unix seconds."""

    id: str
    finished_at: float


def queued_row(new: NewJob, created_at: float) -> Row:
    start_by = None if new.start_within_s is None else created_at + new.start_within_s
    return Row(new.job, new.client, new.pool, "queued", 0, created_at, None, None, (), None, None, start_by)


def read_row(found: sqlite3.Row) -> Row:
    """Raises ValueError for what this version cannot read."""
    job = JOB.validate_json(found["job"])
    if job.endpoint not in ENDPOINTS:
        raise ValueError(f"unknown endpoint {job.endpoint}")
    outcome = OUTCOME.validate_json(found["outcome"]) if found["outcome"] else None
    status = STATUS.validate_python(found["status"])
    if (outcome is None) != (status in ("queued", "running")):
        raise ValueError(f"{status}, but {'no' if outcome is None else 'an'} outcome")
    return Row(
        job=job,
        client=found["client"],
        pool=found["pool"],
        status=status,
        attempts=found["attempts"],
        created_at=found["created_at"],
        started_at=found["started_at"],
        finished_at=found["finished_at"],
        logs=LOG_LINES.validate_json(found["logs"]),
        outcome=outcome,
        remote=REMOTE.validate_json(found["remote"]) if found["remote"] else None,
        start_by=found["start_by"],
    )


def without_texts(job: Job, outcome: Outcome) -> tuple[Job, Outcome]:
    """Both without prompts and addresses."""
    empty = dict.fromkeys(("prompt", "negative_prompt", *job.files), "")
    if isinstance(outcome, Finished):
        outcome = replace(outcome, result=replace(outcome.result, prompt=""))
    return replace(job, inputs=job.inputs.model_copy(update=empty)), outcome


def logs_text(logs: Sequence[LogLine]) -> str:
    return LOG_LINES.dump_json(tuple(logs)).decode()
