"""Room for jobs that are being accepted, taken before a body or a picture is read. It counts as waiting jobs."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from wan_core.jobs.limits import Client, refuse_if_full
from wan_core.jobs.record import JobRecord
from wan_core.settings import Limits


@dataclass(eq=False)
class Place:
    """Room for `count` jobs of one client; `job_ids` have been made of it."""

    client: str
    count: int
    job_ids: set[str] = field(default_factory=set)

    def open(self, known: Collection[str]) -> int:
        """How many of its jobs are not `known` yet."""
        return self.count - sum(job_id in known for job_id in self.job_ids)


class Places:
    """Thread-safe; never waits for a disk."""

    def __init__(self, unfinished: Callable[[], Sequence[JobRecord]], limits: Limits, *, per_client: bool) -> None:
        self._unfinished = unfinished
        self._limits = limits
        self._per_client = per_client
        self._mutex = threading.Lock()
        self._taken: set[Place] = set()

    @contextmanager
    def reserve(self, client: Client, count: int = 1) -> Iterator[Place]:
        """Within the block. Raises BackendError `too_many_jobs`."""
        place = Place(client.id, count)
        with self._mutex:
            records = self._unfinished()
            known = {record.job.id for record in records}
            coming = [taken.client for taken in self._taken for _ in range(taken.open(known))]
            refuse_if_full(records, client, self._limits, per_client=self._per_client, count=count, coming=coming)
            self._taken.add(place)
        try:
            yield place
        finally:
            with self._mutex:
                self._taken.discard(place)
