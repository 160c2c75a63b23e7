"""Delete old jobs, orphaned files and, over the quota, the oldest frames and jobs.

Never touches an unfinished job or the frames it reuses. Only what may be deleted counts towards the quota.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.files import FileStore, expiry_of, is_unfinished, owner
from wan_core.jobs.rows import EndedJob
from wan_core.jobs.runner import JobRunner
from wan_core.jobs.store import JobStore
from wan_core.settings import Limits

log = logging.getLogger(__name__)

EVERY_S = 600.0
OFTEN_S = 5.0  # for what its owner wants gone at a time of their own
ORPHAN_AGE_S = 3600.0  # younger ones may belong to a job that is being accepted


class Housekeeping:
    """`now`: Unix seconds. `also`: in each round; `often`: every OFTEN_S."""

    def __init__(
        self,
        runner: JobRunner,
        store: JobStore,
        files: FileStore,
        limits: Limits,
        now: Callable[[], float] = time.time,
        also: Callable[[], None] | None = None,
        often: Callable[[], None] | None = None,
    ) -> None:
        self._runner, self._store, self._files, self._limits, self._now = runner, store, files, limits, now
        self._also, self._often = also, often
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._loop, name="housekeeping", daemon=True).start()

    def close(self) -> None:
        self._stop.set()

    def tidy(self) -> None:
        for job in [job for job in self._over() if self._is_old(job)]:
            with suppress(OSError):  # its row stays, so that the next round tries again
                self._forget(job.id)
        self._remove_orphans()
        self._make_room()

    def forget_due(self) -> None:
        """Forget the jobs and pictures whose owners set a time that is over: each, whatever becomes of the others."""
        jobs = self._store.to_be_forgotten()
        pictures = [path for path in self._files.all_pictures() if self._is_expired(path)]
        needed = self._needed() if jobs or pictures else set()
        for job_id in jobs:
            if job_id not in needed:
                with suppress(OSError, BackendError):  # the next round tries again
                    self._forget(job_id)
        for path in pictures:
            if owner(path) not in needed:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _is_expired(self, path: Path) -> bool:
        until = expiry_of(path.name)
        return until is not None and until <= self._now()

    def _loop(self) -> None:
        """Rounds of `tidy`, and more often what is due."""
        next_round = 0.0
        while True:
            try:
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + EVERY_S
                    self.tidy()
                    if self._also:
                        self._also()
                if self._often:
                    self._often()
                self.forget_due()
            except (OSError, BackendError):
                log.exception("housekeeping could not finish its round")
            if self._stop.wait(OFTEN_S):
                return

    def _over(self) -> list[EndedJob]:
        """Those whose frames no job needs, oldest first."""
        needed = {record.job.frames_of for record in self._runner.records.unfinished()}
        return [job for job in self._store.ended() if job.id not in needed]

    def _needed(self) -> set[str | None]:
        """Ids of unfinished jobs, their frames and pictures, and of what is set aside."""
        jobs = [record.job for record in self._runner.records.unfinished()]
        pictures = {picture for job in jobs for picture in job.files.values()}
        ids = {job.id for job in jobs} | {job.frames_of for job in jobs}
        return ids | pictures | self._store.set_aside_since(self._limits.keep_results_s)

    def _is_old(self, job: EndedJob) -> bool:
        return self._now() - job.finished_at > self._limits.keep_results_s

    def _forget(self, job_id: str) -> None:
        """Files first: on a full disk the row can go only after them."""
        for path in self._own_files(job_id):
            path.unlink(missing_ok=True)
        self._store.remove(job_id)
        self._runner.records.forget(job_id)

    def _own_files(self, job_id: str) -> list[Path]:
        """Without pictures that other jobs share."""
        return [*map(self._files.picture, self._store.own_pictures(job_id)), *self._files.of_job(job_id)]

    def _remove_orphans(self) -> None:
        for path in self._orphans():
            with suppress(OSError):  # renamed meanwhile, or not ours to delete
                if self._now() - path.stat().st_mtime > ORPHAN_AGE_S:
                    path.unlink()

    def _orphans(self) -> list[Path]:
        """Files of unknown jobs, and unfinished ones of jobs that are over."""
        files = self._files.all_files()  # before the ids: a file's row is older than the file
        known = self._store.picture_ids().union(self._store.ids())
        known |= self._store.set_aside_since(self._limits.keep_results_s)
        writing = {record.job.id for record in self._runner.records.unfinished()}
        return [
            path
            for path in files
            if owner(path) not in (writing if is_unfinished(path) and not self._files.is_picture(path) else known)
        ]

    def _make_room(self) -> None:
        """Orphans first, then raw frames, then whole jobs, oldest first."""
        needed = self._needed()
        orphans = set(self._orphans())
        bound = {path for path in orphans if self._files.is_picture(path)}  # it may await its job
        deletable = [path for path in self._files.all_files() if owner(path) not in needed and path not in bound]
        excess = sum(map(_size, deletable)) - self._limits.keep_bytes
        if excess > 0:
            excess -= _remove(*(orphans - bound))
        over = self._over()
        for job in over:
            if excess <= 0:
                return
            excess -= _remove(self._files.frames(job.id), self._files.interpolated_frames(job.id))
        for job in over:
            if excess <= 0:
                return
            excess -= sum(_size(path) for path in self._own_files(job.id))
            with suppress(OSError):
                self._forget(job.id)


def _remove(*paths: Path) -> int:
    """Return their bytes. One that cannot be deleted does not count towards the quota either."""
    freed = sum(map(_size, paths))
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return freed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
