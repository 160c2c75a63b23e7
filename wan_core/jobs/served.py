"""When each client was last served, by pool: the least recent goes first. Pure."""

from collections.abc import Mapping

from wan_core.jobs.limits import stream_of
from wan_core.jobs.record import JobRecord

KNOWN_CLIENTS = 10_000  # of a pool; beyond that, the least recent count as new


class Served:
    """`last_starts`: (pool, client) → Unix seconds, the last start last."""

    def __init__(self, last_starts: Mapping[tuple[str, str], float] | None = None) -> None:
        self._pools: dict[str, dict[str, float]] = {}
        for (pool, client), at in (last_starts or {}).items():
            self._pools.setdefault(pool, {})[client] = at

    def of_pool(self, pool: str) -> Mapping[str, float]:
        """Client or stream of jobs → Unix seconds."""
        return self._pools.get(pool, {})

    def note(self, record: JobRecord) -> None:
        served = self._pools.setdefault(record.pool, {})
        for name in (record.client, *(stream_of(record, per_client=each) for each in (True, False))):
            served.pop(name, None)  # in the order of the last start
            served[name] = record.started_at or 0
        while len(served) > KNOWN_CLIENTS:
            del served[next(iter(served))]
