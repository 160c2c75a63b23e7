"""The worker process: `python -m wan_core.backends.worker`."""

import queue
import sys
import threading
from typing import IO

from wan_core import logs, settings
from wan_core.backends.command_server import CommandServer, take_stdout
from wan_core.backends.messages import (
    Cancel,
    Check,
    Command,
    Expand,
    Expanded,
    Happened,
    NeedsFreshProcess,
    Passed,
    Run,
)
from wan_core.clips import ClipWorker
from wan_core.events import Job


class WorkerServer(CommandServer):
    """Runs one job at a time, beside the thread that reads commands."""

    def __init__(self, worker: ClipWorker, commands: IO[str], answers: IO[str]) -> None:
        super().__init__(commands, answers)
        self._worker = worker
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._stops: dict[str, threading.Event] = {}

    def serve(self) -> None:
        threading.Thread(target=self.listen, args=(self._obey,), name="commands", daemon=True).start()
        while True:
            self._run(self._jobs.get())

    def _obey(self, command: Command) -> None:
        match command:
            case Run(job):
                self._stops[job.id] = threading.Event()
                self._jobs.put(job)
            case Cancel(job_id):
                if job_id in self._stops:
                    self._stops[job_id].set()
            case Check():
                self.answer_beside(command.id, lambda: self._check(command))
            case Expand():
                self.answer_beside(command.id, lambda: self._expand(command))

    def _run(self, job: Job) -> None:
        if self._worker.needs_fresh_process(job):
            self.send(NeedsFreshProcess(job.id))
            del self._stops[job.id]
            return
        with self.report_errors(job.id):
            for event in self._worker.run(job, self._stops[job.id].is_set):
                self.send(Happened(job.id, event))
        del self._stops[job.id]

    def _check(self, question: Check) -> Passed:
        self._worker.check(question.picture, question.prompt)
        return Passed(question.id)

    def _expand(self, question: Expand) -> Expanded:
        written = self._worker.expand(question.picture, question.prompt)
        return Expanded(question.id, written.prompt, written.note or "")


def main() -> None:
    host = settings.load()
    logs.set_up(host.log_level)
    answers = take_stdout()  # first: what loads may print
    WorkerServer(ClipWorker(host), sys.stdin, answers).serve()


if __name__ == "__main__":
    main()
