"""Jobs by id: unfinished ones in memory, ended ones from the store. Thread-safe.

The cost of a job does not depend on how many have ended.
"""

import threading
from collections import OrderedDict

from wan_core.jobs.record import JobRecord
from wan_core.jobs.store import JobStore

KEPT_ENDED = 200  # the last to end or to be asked for


class Records:
    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._unfinished: dict[str, JobRecord] = {}
        self._unsaved: dict[str, JobRecord] = {}
        self._ended: OrderedDict[str, JobRecord] = OrderedDict()

    def unfinished(self, pool: str | None = None) -> list[JobRecord]:
        """Oldest first."""
        with self._mutex:
            return [record for record in self._unfinished.values() if pool is None or record.pool == pool]

    def get(self, job_id: str) -> JobRecord | None:
        """No disk for an unfinished job. Raises BackendError `storage_full`."""
        with self._mutex:
            known = self._unfinished.get(job_id) or self._unsaved.get(job_id) or self._ended.get(job_id)
            if known is not None:
                return known
        row = self._store.row(job_id)
        if row is None or row.outcome is None:
            return None
        with self._mutex:
            return self._keep(JobRecord.from_row(row))

    def add(self, record: JobRecord) -> None:
        with self._mutex:
            self._unfinished[record.job.id] = record

    def end(self, record: JobRecord, *, is_saved: bool) -> None:
        """`is_saved`: the store knows the outcome; else it stays here."""
        with self._mutex:
            if is_saved:
                self._keep(record)
            else:
                self._unsaved[record.job.id] = record
            self._unfinished.pop(record.job.id, None)

    def forget(self, job_id: str) -> None:
        with self._mutex:
            for known in (self._unfinished, self._unsaved, self._ended):
                known.pop(job_id, None)

    def _keep(self, record: JobRecord) -> JobRecord:
        """The one that is kept: two threads may have read the same row."""
        kept = self._ended.setdefault(record.job.id, record)
        self._ended.move_to_end(record.job.id)
        while len(self._ended) > KEPT_ENDED:
            self._ended.popitem(last=False)
        return kept
