"""Run jobs on a Ray cluster, through a process of its own (`ray.py`) that is started again whenever it ends.

The web process keeps the queue; it is told how many workers the cluster has, and why there are none.
"""

import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wan_core.backends.local import CANCEL_PATIENCE_S, Answers, Worker, next_answer
from wan_core.backends.messages import Answer, Check, ClusterState, Expand, Expanded, Happened, Run, Watch
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Event, Finished, Job
from wan_core.profiles import Machine
from wan_core.settings import Limits

log = logging.getLogger(__name__)

BRIDGE = ["-m", "wan_core.backends.ray"]
FIRST_STATE_S = 180.0
SILENCE_S = 60.0  # states come every second
RETRY_S = 5.0
UNREACHABLE = "The machines that make the clips cannot be reached now. Waiting clips begin when they are back."
NO_WORKER = "None of the machines that make the clips is there now. Waiting clips begin when one joins."
TOO_LONG = "The job took too long and was stopped."


@dataclass(frozen=True)
class Capacity:
    """`trouble`: why there are no workers, a sentence for visitors; empty if there are some."""

    workers: int
    trouble: str = ""


class Cluster:
    """The link to the cluster, kept alive. `program`: the workers' on its machines, this app's own if empty."""

    def __init__(self, program: Sequence[str] = ()) -> None:
        self._program = program
        self._on_change: Callable[[Capacity], None] = lambda capacity: None
        self._capacity = Capacity(0, UNREACHABLE)
        self._machine: Machine | None = None
        self._seen = threading.Event()
        self._closed = threading.Event()
        self._mutex = threading.Lock()
        self._link: Worker | None = None

    def start(self) -> None:
        threading.Thread(target=self._keep_link, name="cluster", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        with self._mutex:
            if self._link is not None:
                self._link.kill()

    def call_on_change(self, on_change: Callable[[Capacity], None]) -> None:
        """Let `on_change` hear of the capacity, now and from a thread whenever it changes."""
        with self._mutex:
            self._on_change = on_change
            on_change(self._capacity)

    @property
    def capacity(self) -> Capacity:
        return self._capacity

    def machine(self, patience_s: float) -> Machine | None:
        """The smallest of its machines; `None` if none has answered in time."""
        self._seen.wait(patience_s)
        return self._machine

    @property
    def link(self) -> Worker | None:
        """May be dead: whoever asks it hears so."""
        return self._link

    def _keep_link(self) -> None:
        while not self._closed.is_set():
            with self._mutex:
                if self._closed.is_set():
                    return
                link = self._link = Worker([*BRIDGE, *self._program], {})
            self._follow(link)
            link.kill()
            self._change(Capacity(0, UNREACHABLE))
            self._closed.wait(RETRY_S)

    def _follow(self, link: Worker) -> None:
        """Until it ends, or says nothing for too long."""
        patience_s = FIRST_STATE_S
        with link.conversation("cluster", Watch("cluster")) as answers:
            while True:
                try:
                    state = next_answer(answers, patience_s)
                except (queue.Empty, BackendError):
                    return
                assert isinstance(state, ClusterState)
                self._see(state)
                patience_s = SILENCE_S

    def _see(self, state: ClusterState) -> None:
        if state.workers and self._machine is None:
            self._machine = Machine(state.card, state.vram_bytes)
            self._seen.set()
        self._change(Capacity(state.workers, "" if state.workers else NO_WORKER))

    def _change(self, capacity: Capacity) -> None:
        if capacity != self._capacity:
            log.info("the cluster has %d workers", capacity.workers)
            with self._mutex:
                self._capacity = capacity
                self._on_change(capacity)


class ClusterBackend:
    """As many jobs at a time as the cluster has workers."""

    def __init__(self, cluster: Cluster, limits: Limits, wall_limit_s: Callable[[Job], float]) -> None:
        self._cluster = cluster
        self._limits = limits
        self._wall_limit_s = wall_limit_s

    def start(self) -> None:
        """Nothing to do: the cluster is started by who made it."""

    def run(self, job: Job) -> Iterator[Event]:
        link = self._cluster.link
        if link is None:
            raise BackendError("worker_lost", UNREACHABLE)
        with link.conversation(job.id, Run(job)) as answers:
            first = _next_event(answers, math.inf)  # until it comes, the job waits for a machine
            deadline = time.monotonic() + self._wall_limit_s(job)
            yield first
            try:
                yield from _events(answers, deadline)
            except queue.Empty:
                link.pass_on_cancel(job.id)
                yield from _last_events(answers)

    def cancel(self, job_id: str) -> None:
        if self._cluster.link is not None:
            self._cluster.link.pass_on_cancel(job_id)

    def check(self, picture: str, prompt: str) -> None:
        self._ask(Check(f"check-{uuid.uuid4()}", picture, prompt))

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        answer = self._ask(Expand(f"expand-{uuid.uuid4()}", picture, prompt))
        assert isinstance(answer, Expanded)
        return answer.prompt, answer.note

    def close(self) -> None:
        self._cluster.close()

    def _ask(self, question: Check | Expand) -> Answer:
        link, trouble = self._cluster.link, self._cluster.capacity.trouble
        if link is None or trouble:
            raise BackendError("engine_unavailable", trouble or UNREACHABLE)
        with link.conversation(question.id, question) as answers:
            try:
                return next_answer(answers, self._limits.question_s)
            except queue.Empty:
                raise BackendError("engine_unavailable", "No answer came in time. Try again.") from None


def _events(answers: Answers, deadline: float) -> Iterator[Event]:
    """Until `Finished`. Raises queue.Empty at the `deadline`, in seconds of time.monotonic."""
    while True:
        event = _next_event(answers, deadline)
        yield event
        if isinstance(event, Finished):
            return


def _last_events(answers: Answers) -> Iterator[Event]:
    """Of a job that took too long and was told to stop: once it has, its machine takes another.

    Raises BackendError `worker_lost` unless it has finished after all.
    """
    try:
        yield from _events(answers, time.monotonic() + 2 * CANCEL_PATIENCE_S)
    except (queue.Empty, Cancelled, BackendError):
        raise BackendError("worker_lost", TOO_LONG) from None


def _next_event(answers: Answers, deadline: float) -> Event:
    answer = next_answer(answers, deadline - time.monotonic())
    assert isinstance(answer, Happened)
    return answer.event
