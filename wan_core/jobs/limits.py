"""Clients, limits and turns. Pure: no clock, no disk."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address, IPv6Network, ip_address

from wan_core.errors import BackendError
from wan_core.jobs.record import JobRecord
from wan_core.settings import Limits, Settings


@dataclass(frozen=True)
class Client:
    """An API key, user or address, as a hash."""

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


def client_of(headers: Mapping[str, str], peer: str | None, settings: Settings, user: str | None = None) -> Client:
    """The logged-in user, else the address: the socket's, on a Space the proxy's last hop.

    An IPv6 /64 is one client: one visitor owns all of it.
    """
    if user:
        return Client.by_user(user)
    hops = [text for name, text in headers.items() if name.lower() == "x-forwarded-for"]
    if settings.space_id and hops:
        peer = hops[-1].rsplit(",", 1)[-1].strip()
    return Client.by_address(_network(peer or "unknown"))


def refuse_if_full(
    records: Sequence[JobRecord],
    client: Client,
    limits: Limits,
    *,
    per_client: bool,
    count: int,
    coming: Sequence[str],
) -> None:
    """Raises BackendError `too_many_jobs` for `count` more.

    `coming`: clients of jobs that are being accepted; they count as waiting. A group counts as one job, which waits
    while none of its jobs runs.
    """
    units = {unit_of(record): record for record in records if record.status == "queued"}
    units |= {unit_of(record): record for record in records if record.status == "running"}
    unfinished = list(units.values())
    waiting = [record.client for record in unfinished if record.status == "queued"] + list(coming)
    if len(waiting) + count > limits.waiting_jobs:
        raise _too_many(f"{len(waiting)} jobs are waiting already. Try again in a minute.", 60)
    if len(unfinished) + len(coming) + count > limits.unfinished_jobs:
        under_way = len(unfinished) + len(coming)
        raise _too_many(f"{under_way} jobs are under way already. Try again in a minute.", 60)
    if not per_client:
        return
    own_coming = coming.count(client.id)
    own_waiting = waiting.count(client.id)
    if own_waiting + count > limits.waiting_jobs_per_client:
        begun = "Send the next one when one of them has begun."
        raise _too_many(f"You have {own_waiting} jobs waiting already. {begun}", 15)
    own = sum(record.client == client.id for record in unfinished) + own_coming
    if own + count > limits.unfinished_jobs_per_client:
        raise _too_many(f"You have {own} jobs under way already. Send the next one when one of them is done.", 15)


def unit_of(record: JobRecord) -> str:
    """A group, or a job alone."""
    return record.job.group.id if record.job.group else record.job.id


def turn_order(records: Sequence[JobRecord], served: Mapping[str, float], *, per_client: bool) -> list[JobRecord]:
    """First come, first served, but groups take turns, and low priority is last.

    With `per_client`, a second job waits until every client had a first; then the least recently served goes first.
    `served`: client or `stream_of` → Unix seconds of their last start.
    """
    queued = _interleaved(records, served, per_client=per_client)
    if per_client:
        queued = _taken_in_turn(queued, records, served)
    return sorted(queued, key=lambda record: record.job.options.low_priority)


def _taken_in_turn(
    queued: Sequence[JobRecord], records: Sequence[JobRecord], served: Mapping[str, float]
) -> list[JobRecord]:
    running = Counter(record.client for record in records if record.status == "running")
    turn: dict[str, int] = {}
    for record in queued:
        turn[record.job.id] = running[record.client]
        running[record.client] += 1
    return sorted(queued, key=lambda record: (turn[record.job.id], served.get(record.client, 0), record.created_at))


def stream_of(record: JobRecord, *, per_client: bool) -> str:
    """A group, or a client's other jobs; first come, first served within."""
    if record.job.group is not None:
        return f"group:{record.job.group.id}"
    return f"jobs:{record.client}" if per_client else "jobs:"


def _interleaved(records: Sequence[JobRecord], served: Mapping[str, float], *, per_client: bool) -> list[JobRecord]:
    """One of every stream in turn, the least recently served first."""
    stream = partial(stream_of, per_client=per_client)
    begun = Counter(stream(record) for record in records if record.status == "running")
    turn: dict[str, int] = {}
    queued = sorted((record for record in records if record.status == "queued"), key=lambda record: record.created_at)
    for record in queued:
        turn[record.job.id] = begun[stream(record)]
        begun[stream(record)] += 1
    return sorted(queued, key=lambda each: (turn[each.job.id], served.get(stream(each), 0), each.created_at))


def may_run(record: JobRecord, records: Sequence[JobRecord], limits: Limits, *, per_client: bool) -> bool:
    running = sum(other.client == record.client for other in records if other.status == "running")
    return not per_client or running < limits.running_jobs_per_client


def _too_many(sentence: str, retry_after_s: int) -> BackendError:
    return BackendError("too_many_jobs", sentence, retry_after_s=retry_after_s)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _hashed(kind: str, name: str) -> str:
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"
