"""Delete old jobs, orphaned files and, over the quota, the oldest frames and jobs: at start and every ten minutes.

Never touches an unfinished job or the frames it reuses.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.files import FileStore
from wan_core.jobs.record import JobRecord
from wan_core.jobs.runner import JobRunner
from wan_core.jobs.store import JobStore
from wan_core.settings import Limits

log = logging.getLogger(__name__)

EVERY_S = 600.0
ORPHAN_AGE_S = 3600.0  # younger files may belong to a job that is being accepted


class Housekeeping:
    """`now`: Unix seconds. `also`: called in each round."""

    def __init__(
        self,
        runner: JobRunner,
        store: JobStore,
        files: FileStore,
        limits: Limits,
        now: Callable[[], float] = time.time,
        also: Callable[[], None] | None = None,
    ) -> None:
        self._runner, self._store, self._files, self._limits, self._now = runner, store, files, limits, now
        self._also = also
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._loop, name="housekeeping", daemon=True).start()

    def close(self) -> None:
        self._stop.set()

    def tidy(self) -> None:
        for record in [record for record in self._over() if self._is_old(record)]:
            self._forget(record)
        self._remove_orphans()
        self._make_room()

    def _loop(self) -> None:
        while True:
            try:
                self.tidy()
                if self._also:
                    self._also()
            except (OSError, BackendError):
                log.exception("housekeeping could not finish its round")
            if self._stop.wait(EVERY_S):
                return

    def _over(self) -> list[JobRecord]:
        """Ended jobs whose frames no job needs, oldest first."""
        known = list(self._runner.records.values())
        needed = {record.job.frames_of for record in known if not record.is_over}
        over = [record for record in known if record.is_over and record.job.id not in needed]
        return sorted(over, key=lambda record: record.finished_at or 0)

    def _is_old(self, record: JobRecord) -> bool:
        return self._now() - (record.finished_at or 0) > self._limits.keep_results_s

    def _forget(self, record: JobRecord) -> None:
        """Delete files first: on a full disk the row can go only after them."""
        self._runner.forget(record)
        for path in self._own_files(record):
            path.unlink(missing_ok=True)
        self._store.remove(record.job.id)

    def _own_files(self, record: JobRecord) -> list[Path]:
        """Leave out pictures that other jobs share."""
        others = [other for other in list(self._runner.records.values()) if other is not record]
        shared = {picture for other in others for picture in other.job.files.values()}
        own = [self._files.picture(picture) for picture in record.job.files.values() if picture not in shared]
        return [*own, *self._files.of_job(record.job.id)]

    def _remove_orphans(self) -> None:
        records = list(self._runner.records.values())
        known = {record.job.id for record in records}
        known |= {picture for record in records for picture in record.job.files.values()}
        known |= self._store.set_aside_since(self._limits.keep_results_s)
        for path in self._files.unowned_files(known):
            with suppress(FileNotFoundError):  # a temporary file was renamed meanwhile
                if self._now() - path.stat().st_mtime > ORPHAN_AGE_S:
                    path.unlink()

    def _make_room(self) -> None:
        """Delete raw frames first, then whole jobs, oldest first."""
        excess = sum(_size(path) for path in self._files.all_files()) - self._limits.keep_bytes
        for record in self._over():
            if excess <= 0:
                return
            frames = self._files.frames(record.job.id)
            excess -= _size(frames)
            frames.unlink(missing_ok=True)
        for record in self._over():
            if excess <= 0:
                return
            excess -= sum(_size(path) for path in self._own_files(record))
            self._forget(record)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
