"""Run queued jobs: claim → backend → finish, each pool in its own threads.

A job whose worker died is retried once; every job ends with a clip or a message; a change is stored before it is shown;
a failing store ends no thread.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from wan_core.backends import Backend, GroupBackend
from wan_core.errors import JOB_FAILED, BackendError, Cancelled, InputError, storage_error
from wan_core.events import Event, Failed, Finished, Heartbeat, Job, Log, Note, Outcome, Stage, Stopped
from wan_core.jobs.leftovers import may_have_frames
from wan_core.jobs.limits import may_run, turn_order
from wan_core.jobs.positions import Positions
from wan_core.jobs.record import JobRecord
from wan_core.jobs.records import Records
from wan_core.jobs.served import KNOWN_CLIENTS, Served
from wan_core.jobs.store import JobStore
from wan_core.settings import Limits

log = logging.getLogger(__name__)

LOCAL_CANNOT = frozenset({"out_of_memory", "quota_exceeded", "engine_unavailable", "worker_lost"})
NO_FRAMES = "The clip whose frames this one reuses was not made. Run the failed ones again."


@dataclass(frozen=True)
class WorkerPool:
    """`concurrency` 0: each job at once, in its own thread. `varies`: it is what `set_workers` says last."""

    backend: Backend
    concurrency: int
    varies: bool = False

    @property
    def runs_at_once(self) -> bool:
        return self.concurrency == 0 and not self.varies


def _ignore(job: Job, stage_seconds: Mapping[str, float]) -> None:
    """The default `on_local_clip`."""


def _ignore_end(job: Job, outcome: Outcome, last_stage: str | None) -> None:
    """The default `on_end`."""


class JobRunner:
    """`pools`: "local", "fal". `per_client`: apply limits to each client. `checks_fal_jobs`: check safety here first.

    `on_local_clip` gets a clip's stage seconds; `on_end` a saved outcome, before anybody is told.
    """

    def __init__(
        self,
        store: JobStore,
        pools: Mapping[str, WorkerPool],
        limits: Limits,
        *,
        per_client: bool,
        on_local_clip: Callable[[Job, Mapping[str, float]], None] = _ignore,
        on_end: Callable[[Job, Outcome, str | None], None] = _ignore_end,
        checks_fal_jobs: bool = False,
    ) -> None:
        self.records = Records(store)
        self._served = Served()
        self._positions = Positions()
        self._store = store
        self._pools = pools
        self._limits = limits
        self._per_client = per_client
        self._on_local_clip = on_local_clip
        self._on_end = on_end
        self._checks_fal_jobs = checks_fal_jobs
        self._changed = threading.Condition(threading.RLock())
        self._is_started = self._closing = False
        self._threads: list[threading.Thread] = []
        self._workers = {name: pool.concurrency for name, pool in pools.items()}
        self._serving: Counter[str] = Counter()
        self._trouble: dict[str, str] = {}

    def start(self) -> None:
        """Resume unfinished jobs, then serve."""
        self._store.release_orphans()
        self._served = Served(self._store.last_starts(KNOWN_CLIENTS))
        for row in self._store.unfinished_rows():
            self.records.add(JobRecord.from_row(row))
        with self._changed:
            self._is_started = True
            for name, pool in self._pools.items():
                pool.backend.start()
                self._spawn_serving(name)
        self._spawn("deadlines", self._keep_deadlines)
        self._spawn("positions", self._tell_positions)
        for record in self.records.unfinished():
            self._enqueue(record)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for pool in self._pools.values():
            pool.backend.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def add(self, *records: JobRecord) -> None:
        """The store must already have them. All are known before one begins: a group may be made in one go."""
        with self._changed:
            for record in records:
                self.records.add(record)
        for record in records:
            self._enqueue(record)

    def cancel(self, record: JobRecord) -> None:
        """At once while waiting, within a step while running."""
        with self._changed:
            record.cancel_requested = True
            waiting = record.status == "queued"
        if waiting:
            self._finish(record, Stopped())
        else:
            self._pools[record.pool].backend.cancel(record.job.id)

    def set_workers(self, pool: str, count: int, trouble: str = "") -> None:
        """How many jobs of a pool that varies may run at a time from now on; those that run go on.

        `trouble`: why none can begin, a sentence for those who wait.
        """
        with self._changed:
            self._workers[pool], self._trouble[pool] = count, trouble
            if self._is_started and not self._closing:
                self._spawn_serving(pool)
                self._publish_positions(pool)
            self._changed.notify_all()

    def workers(self, pool: str) -> int:
        """How many jobs of the pool may run at a time."""
        return self._workers[pool]

    def trouble(self, pool: str) -> str:
        """Why no job of the pool can begin; empty if it can."""
        return self._trouble.get(pool, "")

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        """See `Backend.expand`."""
        return self._pools["local"].backend.expand(picture, prompt)

    def _enqueue(self, record: JobRecord) -> None:
        if record.pool not in self._pools:
            sentence = f"This server cannot run jobs on {record.pool} any more."
            self._finish(record, Failed("engine_unavailable", sentence))
        elif self._pools[record.pool].runs_at_once:
            if not self._has_its_source(record):
                return  # `_finish` of the source enqueues it
            self._spawn(f"job-{record.job.id}", self._run_now, record)
        else:
            with self._changed:
                self._publish_positions(record.pool)
                self._changed.notify_all()

    def _serve(self, pool: str) -> None:
        while (record := self._next(pool)) is not None:
            self._drive(record)

    def _next(self, pool: str) -> JobRecord | None:
        """Blocks; `None` when closing."""
        with self._changed:
            while not self._closing:
                here = self.records.unfinished(pool)
                if sum(record.status == "running" for record in here) >= self._workers[pool]:
                    self._changed.wait()
                    continue
                for record in self._turn_order(pool, [each for each in here if self._has_its_source(each)]):
                    if may_run(record, here, self._limits, per_client=self._per_client) and self._claim(record):
                        self._publish_positions(pool)
                        return record
                self._changed.wait()
        return None

    def _has_its_source(self, record: JobRecord) -> bool:
        """Whether the job whose frames it reuses is over."""
        source = record.job.frames_of
        return source is None or source not in {other.job.id for other in self.records.unfinished()}

    def _keep_deadlines(self) -> None:
        with self._changed:
            while not self._closing:
                left = [seconds for record in self.records.unfinished() if (seconds := self._time_to_begin(record))]
                self._changed.wait(min(left, default=None))

    def _time_to_begin(self, record: JobRecord) -> float | None:
        """Seconds, at most an hour; `None` without a deadline. Fails an overdue job."""
        if record.start_by is None or record.status != "queued" or record.attempts:
            return None
        left = record.start_by - time.time()
        if left > 0:
            return min(left, 3600)
        asked = record.start_by - record.created_at
        self._finish(record, Failed("request_timeout", f"The request did not start within {asked:g} seconds."))
        return None

    def _run_now(self, record: JobRecord) -> None:
        with self._changed:
            claimed = self._claim(record)
        if claimed and record.context is not None:
            record.context.copy().run(self._drive, record)  # a copy: the last attempt's thread may still be in it
        elif claimed:
            self._drive(record)

    def _claim(self, record: JobRecord) -> bool:
        """A job that the store cannot mark fails: it would wait forever."""
        try:
            attempt = self._store.claim(record.job.id)
        except BackendError as error:
            self._finish(record, Failed(error.type, error.message))
            return False
        if attempt is not None:
            record.mark_running(attempt)
            self._served.note(record)
        return attempt is not None

    def _drive(self, record: JobRecord) -> None:
        try:
            self._attempt(record)
        except Exception as error:  # a job always ends, and the next one runs
            log.exception("job %s failed", record.job.id)
            fault = storage_error(error) or BackendError("internal_server_error", JOB_FAILED)
            self._finish(record, Failed(fault.type, fault.message))

    def _attempt(self, record: JobRecord) -> None:
        if record.attempts > self._limits.attempts and not self._store.remote(record.job.id):
            self._finish(record, Failed("worker_lost", "The job was begun twice and its worker died both times."))
            return
        source = self.records.get(record.job.frames_of) if record.job.frames_of else None
        if source is not None and not may_have_frames(source.outcome):
            self._finish(record, Failed("frames_not_kept", NO_FRAMES))
            return
        try:
            self._finish(record, self._events_of(record))
        except Cancelled:
            self._handle_stop(record)
        except InputError as error:
            self._finish(record, Failed(error.type, error.message, error.field))
        except BackendError as error:
            self._handle_error(record, error)

    def _events_of(self, record: JobRecord) -> Outcome:
        backend = self._pools[record.pool].backend
        if self._checks_fal_jobs and record.pool == "fal" and self._store.remote(record.job.id) is None:
            record.publish(Stage("checking"))
            self._check(record.job)
        for event in self._run(backend, record):
            if isinstance(event, Finished | Failed | Stopped):
                return event
            if not isinstance(event, Heartbeat):
                record.publish(event)
            if record.cancel_requested:
                backend.cancel(record.job.id)
        raise BackendError("worker_lost", "The worker stopped without a result.")

    def _run(self, backend: Backend, record: JobRecord) -> Iterator[Event]:
        if record.job.group is not None and isinstance(backend, GroupBackend):
            return backend.run_in_group(record.job, partial(self._coming, record.pool, record.job.group.id))
        return backend.run(record.job)

    def _coming(self, pool: str, group: str) -> list[str]:
        """The unfinished jobs of a group that wait for no other's frames, the first accepted first."""
        here = [each for each in self.records.unfinished(pool) if each.job.group and each.job.group.id == group]
        return [each.job.id for each in here if not each.cancel_requested and self._has_its_source(each)]

    def _check(self, job: Job) -> None:
        """Raises InputError if a picture or the prompt is refused here."""
        for field, picture in job.files.items():
            prompt = job.inputs.prompt if picture == job.picture else ""
            try:
                self._pools["local"].backend.check(picture, prompt)
            except InputError as error:
                raise (error.at(field) if error.field == "image_url" else error) from error

    def _handle_error(self, record: JobRecord, error: BackendError) -> None:
        """Retry, move to fal if allowed, or fail."""
        if self._closing or record.cancel_requested:
            self._handle_stop(record)
        elif error.type == "worker_lost" and record.attempts < self._limits.attempts:
            self._requeue(record, record.pool, Log(f"{error.message} The job runs again.", "WARN"))
        elif error.type in LOCAL_CANNOT and record.job.options.where == "fal_when_needed" and record.pool == "local":
            self._requeue(record, "fal", Note(f"Ran on fal, because this machine could not: {error.message}"))
        else:
            self._finish(record, Failed(error.type, error.message))

    def _handle_stop(self, record: JobRecord) -> None:
        """End a cancelled job; keep one that closing stopped."""
        if record.cancel_requested:
            self._finish(record, Stopped())
        elif self._closing:
            self._store.give_back(record.job.id)
        else:
            self._handle_error(record, BackendError("worker_lost", "The job was stopped before its end."))

    def _requeue(self, record: JobRecord, pool: str, why: Log | Note) -> None:
        with self._changed:
            self._store.requeue(record.job.id, pool)
            record.pool, record.status = pool, "queued"
            record.publish(why)
        self._enqueue(record)

    def _finish(self, record: JobRecord, outcome: Outcome) -> None:
        with self._changed:
            if record.is_over:
                return
            outcome = record.with_notes(outcome)
            is_saved = self._save_end(record, outcome)
            if is_saved:
                self._on_end(record.job, outcome, record.last_stage)
            self._positions.forget(record)
            self.records.end(record, is_saved=is_saved)  # before it is told: whoever hears of it finds the room it left
            record.mark_over(outcome)
            self._publish_positions(record.pool)
            self._changed.notify_all()
            followers = [other for other in self.records.unfinished() if other.job.frames_of == record.job.id]
        for other in followers:
            if other.status == "queued" and self._pools[other.pool].runs_at_once:
                self._enqueue(other)
        if isinstance(outcome, Finished) and record.pool == "local":
            self._on_local_clip(record.job, outcome.result.stage_seconds)

    def _save_end(self, record: JobRecord, outcome: Outcome) -> bool:
        try:
            self._store.finish(record.job.id, outcome, record.logs, record.job.options.keep_s)
        except BackendError:
            log.error("the end of job %s is not on disk; after a restart it would run again", record.job.id)
            return False
        return True

    def _turn_order(self, pool: str, here: Sequence[JobRecord]) -> list[JobRecord]:
        return turn_order(here, self._served.of_pool(pool), per_client=self._per_client)

    def _publish_positions(self, pool: str) -> None:
        order = self._turn_order(pool, self.records.unfinished(pool))
        self._positions.settle(order, time.monotonic(), self.trouble(pool))

    def _tell_positions(self) -> None:
        with self._changed:
            while not self._closing:
                self._changed.wait(self._positions.tell_late(time.monotonic()))

    def _spawn_serving(self, pool: str) -> None:
        """A thread for each worker; those that are too many wait."""
        for number in range(self._serving[pool], self._workers[pool]):
            self._spawn(f"pool-{pool}-{number}", self._serve, pool)
            self._serving[pool] += 1

    def _spawn(self, name: str, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)  # type: ignore[arg-type]
        self._threads = [alive for alive in self._threads if alive.is_alive()] + [thread]
        thread.start()
