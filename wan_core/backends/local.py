"""Run jobs in a worker process: a crash of model code costs one attempt.

A worker that is silent or busy for too long is killed and replaced.
"""

import logging
import math
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from wan_core import settings
from wan_core.backends.messages import (
    Answer,
    Cancel,
    Check,
    Command,
    Expand,
    Expanded,
    Happened,
    NeedsFreshProcess,
    Raised,
    Run,
    command_line,
    read_answer,
)
from wan_core.errors import BackendError, from_plain
from wan_core.events import Event, Finished, Job, Log, Stage
from wan_core.settings import APP_FOLDER, Limits

log = logging.getLogger(__name__)

WORKER = ["-m", "wan_core.backends.worker"]
CANCEL_PATIENCE_S = 30.0
LOST = "The worker process died."


class LocalBackend:
    """One job at a time; `expand` may run beside it. `environment`: the worker's own variables.

    `program`: the worker as arguments of Python, this app's own if empty.
    """

    def __init__(
        self,
        limits: Limits,
        wall_limit_s: Callable[[Job], float],
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (),
    ) -> None:
        self._program = program
        self._limits = limits
        self._environment = environment or {}
        self._wall_limit_s = wall_limit_s
        self._mutex = threading.Lock()
        self._worker: Worker | None = None

    def start(self) -> None:
        """Early: its imports take seconds."""
        self._ready_worker()

    def run(self, job: Job) -> Iterator[Event]:
        yield Stage("loading", "Waiting for the model's process.")
        deadline = time.monotonic() + self._wall_limit_s(job)
        worker = self._ready_worker()
        while not (yield from self._run_in(worker, job, deadline)):
            yield Log("The process holds another engine, or has lost its cards: a fresh one takes its place.")
            worker = self._replace(worker)

    def _run_in(self, worker: "Worker", job: Job, deadline: float) -> Generator[Event, None, bool]:
        """`False` if `worker` holds another engine and did nothing."""
        with worker.conversation(job.id, Run(job)) as answers:
            while True:
                event = self._next_event(worker, answers, deadline)
                if event is None:
                    return False
                yield event
                if isinstance(event, Finished):
                    return True

    def cancel(self, job_id: str) -> None:
        worker = self._worker
        if worker is not None and worker.pass_on_cancel(job_id):
            killer = threading.Timer(CANCEL_PATIENCE_S, worker.kill_if_busy, [job_id])
            killer.daemon = True
            killer.start()

    def check(self, picture: str, prompt: str) -> None:
        self._ask(Check(f"check-{uuid.uuid4()}", picture, prompt))

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        answer = self._ask(Expand(f"expand-{uuid.uuid4()}", picture, prompt))
        assert isinstance(answer, Expanded)
        return answer.prompt, answer.note

    def close(self) -> None:
        with self._mutex:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None

    def _ready_worker(self) -> "Worker":
        with self._mutex:
            if self._worker is not None and not self._worker.is_alive():
                self._worker.kill()  # dead already: this closes its pipes
                self._worker = None
            if self._worker is None:
                self._worker = Worker(self._program or WORKER, self._environment)
            return self._worker

    def _replace(self, worker: "Worker") -> "Worker":
        """Questions to the old one are asked again."""
        worker.replaced = True
        worker.kill()
        return self._ready_worker()

    def _ask(self, question: Check | Expand) -> Answer:
        while True:
            worker = self._ready_worker()
            with worker.conversation(question.id, question) as answers:
                try:
                    return next_answer(answers, self._limits.question_s)
                except queue.Empty:
                    raise BackendError("engine_unavailable", "No answer came in time. Try again.") from None
                except BackendError as error:
                    if error.type != "worker_lost" or not worker.replaced:
                        raise

    def _next_event(self, worker: "Worker", answers: "Answers", deadline: float) -> Event | None:
        """`None`: the worker holds another engine."""
        try:
            left = deadline - time.monotonic()
            answer = next_answer(answers, min(self._limits.heartbeat_timeout_s, left))
        except queue.Empty:
            worker.kill()
            raise BackendError("worker_lost", "The job took too long and was stopped.") from None
        if isinstance(answer, NeedsFreshProcess):
            return None
        assert isinstance(answer, Happened)
        return answer.event


Answers = queue.Queue[Answer | None]


def next_answer(answers: Answers, timeout_s: float) -> Answer:
    """Raises what the worker sends, BackendError `worker_lost` if it died, queue.Empty at the timeout (not if inf)."""
    answer = answers.get(timeout=None if timeout_s == math.inf else max(0.0, timeout_s))
    if answer is None:
        raise BackendError("worker_lost", LOST)
    if isinstance(answer, Raised):
        raise from_plain(answer.error)
    return answer


class Worker:
    """Python with `arguments`. Each conversation has a queue; `None` in it: the process died.

    `replaced`: ended on purpose.
    """

    replaced = False

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=APP_FOLDER,
            env=settings.with_variables(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",  # whatever is printed
        )
        self._mutex = threading.Lock()
        self._conversations: dict[str, Answers] = {}
        self._stopping: set[str] = set()
        self._gone = False
        self._pipe = threading.Lock()
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._listener = threading.Thread(target=self._listen, name="worker-answers", daemon=True)
        self._listener.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    @contextmanager
    def conversation(self, question_id: str, command: Command) -> Iterator[Answers]:
        answers: Answers = queue.Queue()
        with self._mutex:
            self._conversations[question_id] = answers
            if self._gone:
                answers.put(None)
        try:
            self._send(command)
            yield answers
        finally:
            with self._mutex:
                self._conversations.pop(question_id, None)
                self._stopping.discard(question_id)

    def pass_on_cancel(self, job_id: str) -> bool:
        """`False` if told before, or the job is not here."""
        with self._mutex:
            if job_id not in self._conversations or job_id in self._stopping:
                return False
            self._stopping.add(job_id)
        self._send(Cancel(job_id))
        return True

    def kill_if_busy(self, job_id: str) -> None:
        with self._mutex:
            busy = job_id in self._conversations
        if busy:
            log.warning("job %s did not stop when asked; its worker is killed", job_id)
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        with self._pipe, suppress(BrokenPipeError):
            self._stdin.close()

    def _send(self, command: Command) -> None:
        try:
            with self._pipe:
                self._stdin.write(command_line(command))
                self._stdin.flush()
        except (BrokenPipeError, ValueError):
            log.warning("the worker is gone; its jobs will run again")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # the process died in mid-line
            self._deliver(line)
        self._process.wait()
        self._process.stdout.close()
        with self._mutex:
            self._gone = True
            for answers in self._conversations.values():
                answers.put(None)

    def _deliver(self, line: str) -> None:
        """Other lines are ignored: model code may print."""
        try:
            answer = read_answer(line)
        except ValueError:
            log.warning("the worker said %d characters that are no answer", len(line))
            return
        with self._mutex:
            waiting = self._conversations.get(answer.id)
        if waiting is not None:
            waiting.put(answer)
