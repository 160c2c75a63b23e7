"""A job in memory: status polls need no disk.

Written under the runner's lock, read from any thread; `watch` hands events to asyncio.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from wan_core.events import (
    Event,
    Failed,
    Finished,
    Job,
    Log,
    LogLevel,
    Note,
    Outcome,
    Queued,
    Stage,
    Status,
    Step,
    Stopped,
)
from wan_core.jobs.rows import LogLine, Row

Listener = tuple[asyncio.AbstractEventLoop, asyncio.Event]


@dataclass
class JobRecord:
    """Times are Unix seconds. `position`: jobs ahead. The job fails if not started by `start_by`."""

    job: Job
    client: str
    pool: str
    created_at: float
    status: Status = "queued"
    attempts: int = 0
    position: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    start_by: float | None = None
    events: list[Event] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    outcome: Outcome | None = None
    context: contextvars.Context | None = None
    cancel_requested: bool = False
    _listeners: set[Listener] = field(default_factory=set)
    _stages: list[tuple[str, float]] = field(default_factory=list)

    @classmethod
    def from_row(cls, row: Row) -> "JobRecord":
        record = cls(row.job, row.client, row.pool, row.created_at, row.status, row.attempts)
        record.started_at, record.finished_at, record.start_by = row.started_at, row.finished_at, row.start_by
        record.logs, record.outcome = list(row.logs), row.outcome
        if row.outcome is not None:
            record.events.append(row.outcome)
        return record

    @property
    def is_over(self) -> bool:
        return self.outcome is not None

    @property
    def error(self) -> Failed | None:
        return self.outcome if isinstance(self.outcome, Failed) else None

    def publish(self, event: Event) -> None:
        match event:
            case Queued(position, trouble):
                self.position = position
                if trouble and (not self.logs or self.logs[-1].message != trouble):
                    self._write(trouble, "WARN")
            case Stage(name, detail):
                self._stages.append((name, time.monotonic()))
                self._write(detail or STAGE_SENTENCES[name], "INFO")
            case Step(stage, done, total):
                self._write(f"{stage}: {done} of {total}", "INFO")
            case Log(message, level):
                self._write(message, level)
            case Note(message):
                self._write(message, "WARN")
            case Failed(_, message):
                self._write(message, "ERROR")
        self.events.append(event)
        if isinstance(event, Finished | Failed | Stopped):
            self.outcome = event  # after the event, so that who sees the end finds it
        self._wake()

    def with_notes(self, outcome: Outcome) -> Outcome:
        """With notes and stage times."""
        if not isinstance(outcome, Finished):
            return outcome
        said = (event.message for event in self.events if isinstance(event, Note))
        notes = tuple(dict.fromkeys((*self.job.notes, *said)))
        return Finished(replace(outcome.result, notes=notes, stage_seconds=self.stage_seconds()))

    def mark_over(self, outcome: Outcome) -> None:
        self.status = "cancelled" if isinstance(outcome, Stopped) else "failed"
        self.status = "done" if isinstance(outcome, Finished) else self.status
        self.finished_at = time.time()
        self.context = None
        self.publish(outcome)

    def mark_running(self, attempt: int) -> None:
        self.status, self.attempts, self.started_at = "running", attempt, time.time()
        self._stages.clear()

    @property
    def last_stage(self) -> str | None:
        """Of this attempt."""
        return self._stages[-1][0] if self._stages else None

    def stage_seconds(self) -> dict[str, float]:
        """Of this attempt, up to now."""
        ends = [began for _, began in self._stages[1:]] + [time.monotonic()] * bool(self._stages)
        seconds: dict[str, float] = {}
        for (name, began), ended in zip(self._stages, ends, strict=True):
            seconds[name] = round(seconds.get(name, 0) + ended - began, 2)
        return seconds

    async def watch(self) -> AsyncIterator[Event]:
        """Past events, then new ones, until the job is over."""
        seen = 0
        with self._listening() as wake:
            while True:
                wake.clear()
                is_over = self.is_over
                while seen < len(self.events):
                    seen += 1
                    yield self.events[seen - 1]
                if is_over:
                    return
                await wake.wait()

    async def watch_in_batches(self, every_s: float) -> AsyncIterator[list[Event]]:
        """As `watch`, but all events of at least `every_s` at once; the end comes without delay."""
        seen = 0
        with self._listening() as wake:
            while True:
                wake.clear()
                is_over, new = self.is_over, self.events[seen:]
                seen += len(new)
                if new:
                    yield new
                if is_over:
                    return
                await self._wait_for_more(wake, every_s if new else 0)

    @contextmanager
    def _listening(self) -> Iterator[asyncio.Event]:
        """Set whenever something happens to the job."""
        wake = asyncio.Event()
        listener = (asyncio.get_running_loop(), wake)
        self._listeners.add(listener)
        try:
            yield wake
        finally:
            self._listeners.discard(listener)

    async def _wait_for_more(self, wake: asyncio.Event, least_s: float) -> None:
        """Until something happened and `least_s` have passed, or the job is over."""
        earliest = asyncio.get_running_loop().time() + least_s
        await wake.wait()
        while not self.is_over:
            wake.clear()
            try:
                async with asyncio.timeout_at(earliest):
                    await wake.wait()
            except TimeoutError:
                return

    def _wake(self) -> None:
        for loop, wake in tuple(self._listeners):
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake.set)

    def _write(self, message: str, level: LogLevel) -> None:
        self.logs.append(LogLine(message, level, time.time()))


STAGE_SENTENCES = {
    "checking": "Checking picture and prompt.",
    "expanding": "Expanding the prompt.",
    "loading": "Loading the model.",
    "sampling": "Sampling.",
    "decoding": "Decoding the frames.",
    "interpolating": "Inserting frames.",
    "encoding": "Writing the mp4.",
    "fal": "Running on fal.",
}
