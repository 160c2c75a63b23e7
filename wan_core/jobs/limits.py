"""Who is asking, how much each may ask, and whose turn is next. Pure functions over records; no clock, no disk."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wan_core.errors import BackendError
from wan_core.jobs.record import JobRecord
from wan_core.settings import Limits


@dataclass(frozen=True)
class Client:
    """Whoever sends jobs: an API key, a logged-in user, or an address; only a hash is kept."""

    id: str

    @classmethod
    def by_key(cls, key: str) -> "Client":
        return cls(_hashed("key", key))

    @classmethod
    def by_user(cls, user: str) -> "Client":
        return cls(_hashed("user", user))

    @classmethod
    def by_address(cls, address: str) -> "Client":
        return cls(_hashed("address", address))


def refuse_if_full(records: Sequence[JobRecord], client: Client, limits: Limits, *, per_client: bool) -> None:
    """Raise `BackendError("too_many_jobs")` if one more job of `client` would be too many."""
    waiting = [record for record in records if record.status == "queued"]
    if len(waiting) >= limits.waiting_jobs:
        sentence = f"{len(waiting)} jobs are waiting already. Try again in a minute."
        raise BackendError("too_many_jobs", sentence, retry_after_s=60)
    own = sum(record.client == client.id for record in waiting)
    if per_client and own >= limits.waiting_jobs_per_client:
        sentence = f"You have {own} jobs waiting already. Send the next one when one of them has begun."
        raise BackendError("too_many_jobs", sentence, retry_after_s=15)


def in_turn(records: Sequence[JobRecord], limits: Limits, *, per_client: bool) -> list[JobRecord]:
    """The queued records of one lane in the order they will run: clients take turns, then first come, first served.

    A client that has its share running already comes after everybody else.
    """
    ahead = Counter(record.client for record in records if record.status == "running")
    order: list[tuple[int, float, JobRecord]] = []
    for record in sorted((r for r in records if r.status == "queued"), key=lambda r: r.created_at):
        order.append((ahead[record.client] if per_client else 0, record.created_at, record))
        ahead[record.client] += 1
    return [record for _, _, record in sorted(order, key=lambda entry: entry[:2])]


def may_run(record: JobRecord, records: Sequence[JobRecord], limits: Limits, *, per_client: bool) -> bool:
    """Whether `record`'s client has fewer jobs running in this lane than one client may."""
    running = sum(other.client == record.client for other in records if other.status == "running")
    return not per_client or running < limits.running_jobs_per_client


def _hashed(kind: str, name: str) -> str:
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"
