"""When a job that is added now would begin. Pure."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wan_core.events import Job, Step
from wan_core.jobs.record import JobRecord


@dataclass(frozen=True)
class Outlook:
    """`ahead`: jobs that began or begin before it; `wait_s`: seconds until it begins, about.

    `at_once`: how many jobs of one visitor run at a time. `trouble`: why none can begin, a sentence.
    """

    ahead: int = 0
    wait_s: float = 0.0
    at_once: int = 1
    trouble: str = ""


def wait_s(running: Sequence[float], queued: Sequence[float], workers: int) -> float:
    """Seconds until one of `workers` is free. `running`: what is left of each job, `queued`: what each takes, in turn.

    Each job goes to the worker that is free first.
    """
    busy = sorted(running)[max(0, len(running) - workers) :]
    free = [0.0] * (workers - len(busy)) + busy
    if not free:
        return 0.0
    for seconds in queued:
        heapq.heapreplace(free, free[0] + seconds)
    return free[0]


def seconds_left(record: JobRecord, seconds_of: Callable[[Job], float], now: float) -> float:
    """Of a running job: what it says itself, else what is left of its estimate; at least one. `now`: Unix seconds."""
    last = next((event for event in reversed(record.events) if isinstance(event, Step)), None)
    if last is not None and last.seconds_left is not None:
        return max(1.0, last.seconds_left)
    begun = record.started_at if record.started_at is not None else now
    return max(1.0, seconds_of(record.job) - (now - begun))
