"""The worker process: `python -m wan_core.backends.worker`. Speaks `messages.py` over stdin and stdout.

Model code may print: the real stdout is set aside first. Exits when stdin ends.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from wan_core import logs, settings
from wan_core.backends.messages import (
    Answer,
    Cancel,
    Check,
    Command,
    Expand,
    Expanded,
    Happened,
    NeedsFreshProcess,
    Passed,
    Raised,
    Run,
    answer_line,
    read_command,
)
from wan_core.clips import ClipWorker
from wan_core.errors import ENGINE_FAILED, BackendError, WanError, storage_error, to_plain
from wan_core.events import Job

log = logging.getLogger(__name__)


class WorkerServer:
    """Runs one job at a time, beside the thread that reads commands."""

    def __init__(self, worker: ClipWorker, commands: IO[str], answers: IO[str]) -> None:
        self._worker = worker
        self._commands = commands
        self._answers = answers
        self._mutex = threading.Lock()
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._stops: dict[str, threading.Event] = {}

    def serve(self) -> None:
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        while True:
            self._run(self._jobs.get())

    def _listen(self) -> None:
        for line in self._commands:
            try:
                self._obey(read_command(line))
            except ValueError:
                log.error("a command cannot be read")
        os._exit(0)

    def _obey(self, command: Command) -> None:
        match command:
            case Run(job):
                self._stops[job.id] = threading.Event()
                self._jobs.put(job)
            case Cancel(job_id):
                if job_id in self._stops:
                    self._stops[job_id].set()
            case Check():
                self._answer_beside(command.id, lambda: self._check(command))
            case Expand():
                self._answer_beside(command.id, lambda: self._expand(command))

    def _run(self, job: Job) -> None:
        if self._worker.needs_fresh_process(job):
            self._send(NeedsFreshProcess(job.id))
            del self._stops[job.id]
            return
        with self._report_errors(job.id):
            for event in self._worker.run(job, self._stops[job.id].is_set):
                self._send(Happened(job.id, event))
        del self._stops[job.id]

    def _check(self, question: Check) -> Passed:
        self._worker.check(question.picture, question.prompt)
        return Passed(question.id)

    def _expand(self, question: Expand) -> Expanded:
        written = self._worker.expand(question.picture, question.prompt)
        return Expanded(question.id, written.prompt, written.note or "")

    def _answer_beside(self, question_id: str, answer: Callable[[], Answer]) -> None:
        def work() -> None:
            with self._report_errors(question_id):
                self._send(answer())

        threading.Thread(target=work, name=question_id, daemon=True).start()

    @contextmanager
    def _report_errors(self, question_id: str) -> Iterator[None]:
        try:
            yield
        except WanError as error:
            self._send(Raised(question_id, to_plain(error)))
        except Exception as error:  # model code may raise anything; details go to the log only
            log.exception("%s failed", question_id)
            fault = storage_error(error) or BackendError("internal_server_error", ENGINE_FAILED)
            self._send(Raised(question_id, to_plain(fault)))

    def _send(self, answer: Answer) -> None:
        with self._mutex:
            self._answers.write(answer_line(answer))
            self._answers.flush()


def main() -> None:
    host = settings.load()
    logs.set_up(host.log_level)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints goes to stderr from here on
    WorkerServer(ClipWorker(host), sys.stdin, answers).serve()


if __name__ == "__main__":
    main()
