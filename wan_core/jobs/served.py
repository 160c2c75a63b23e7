"""When each client was last served, by pool: the least recently served goes first. Pure."""

from collections.abc import Mapping

from wan_core.jobs.record import JobRecord

KNOWN_CLIENTS = 10_000  # of a pool; beyond that, who has waited longest counts as new


class Served:
    """`last_starts`: (pool, client) → Unix seconds, the last start last."""

    def __init__(self, last_starts: Mapping[tuple[str, str], float] | None = None) -> None:
        self._pools: dict[str, dict[str, float]] = {}
        for (pool, client), at in (last_starts or {}).items():
            self._pools.setdefault(pool, {})[client] = at

    def of_pool(self, pool: str) -> Mapping[str, float]:
        """Client → Unix seconds."""
        return self._pools.get(pool, {})

    def note(self, record: JobRecord) -> None:
        """`record` has just begun."""
        served = self._pools.setdefault(record.pool, {})
        served.pop(record.client, None)  # the order is that of the last start
        served[record.client] = record.started_at or 0
        if len(served) > KNOWN_CLIENTS:
            del served[next(iter(served))]
