"""The worker process: `python -m wan_core.backends.worker`. Commands come in on stdin, answers go out on stdout.

One line of JSON each: `{"run": job}`, `{"cancel": id}`, `{"expand": {id, picture, prompt}}` in; `{"id", "line"}` (an
event), `{"id", "error"}` or `{"id", "prompt", "note"}` out. The model code may print what it likes: the real stdout is
put aside first. When stdin ends, the app is gone and so is this process.
"""

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

from wan_core import generate, settings
from wan_core.engine import loading, sampling
from wan_core.errors import BackendError, Cancelled, InputError
from wan_core.events import Event, FramesMade, Job, to_json
from wan_core.profiles import profiles
from wan_core.settings import Settings

log = logging.getLogger(__name__)

UNEXPECTED = "The engine failed unexpectedly. The job's id is in the server's log; please try again."


class Maker:
    """Makes clips one after the other with the engine a job names; the last engine stays loaded."""

    def __init__(self, host: Settings) -> None:
        self._host = host
        self._engine: loading.Engine | None = None

    def run(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        def make_frames(job: Job, prompt: str) -> Iterator[Event]:
            yield from self._make_frames(job, prompt, stop)

        yield from generate.run(job, make_frames, self._host.data, stop.is_set)

    def _make_frames(self, job: Job, prompt: str, stop: threading.Event) -> Iterator[Event]:
        heard: list[Event] = []
        engine = self._ready_engine(job.engine, heard)
        yield from heard
        raw = self._host.data.frames(job.id)
        yield from sampling.sample(engine, job, prompt, raw, stop.is_set)
        yield FramesMade(raw)

    def _ready_engine(self, name: str, heard: list[Event]) -> loading.Engine:
        if self._engine is None or self._engine.profile.name != name:
            self._engine = None
            self._engine = loading.load(profiles()[name], self._host, heard.append)
        return self._engine


class Desk:
    """Reads commands, keeps one job running, and answers; the two sides are threads of one process."""

    def __init__(self, host: Settings, commands: IO[str], answers: IO[str]) -> None:
        self._maker = Maker(host)
        self._commands = commands
        self._answers = answers
        self._mutex = threading.Lock()
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._stops: dict[str, threading.Event] = {}

    def serve(self) -> None:
        """Work until the app is gone."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        while True:
            self._run(self._jobs.get())

    def _listen(self) -> None:
        for line in self._commands:
            self._obey(json.loads(line))
        os._exit(0)

    def _obey(self, command: dict[str, Any]) -> None:
        match command:
            case {"run": plain}:
                job = Job.from_json(json.dumps(plain))
                self._stops[job.id] = threading.Event()
                self._jobs.put(job)
            case {"cancel": job_id}:
                if job_id in self._stops:
                    self._stops[job_id].set()

    def _run(self, job: Job) -> None:
        stop = self._stops[job.id]
        try:
            for event in self._maker.run(job, stop):
                self._answer(job.id, line=to_json(event))
        except InputError as error:
            self._refuse(job.id, "input", error.type, error.message, error.field)
        except BackendError as error:
            self._refuse(job.id, "backend", error.type, error.message)
        except Cancelled as error:
            self._refuse(job.id, "cancelled", "cancelled", error.message)
        except Exception:  # the model code may raise anything; the visitor gets a sentence, the log the rest
            log.exception("job %s failed", job.id)
            self._refuse(job.id, "backend", "internal_server_error", UNEXPECTED)
        finally:
            del self._stops[job.id]

    def _refuse(self, job_id: str, kind: str, type: str, message: str, field: str = "") -> None:
        self._answer(job_id, error={"kind": kind, "type": type, "message": message, "field": field})

    def _answer(self, talk_id: str, **content: object) -> None:
        with self._mutex:
            self._answers.write(json.dumps({"id": talk_id, **content}) + "\n")
            self._answers.flush()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="worker %(levelname)s %(name)s: %(message)s")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints goes to stderr from here on
    Desk(settings.load(), sys.stdin, answers).serve()


if __name__ == "__main__":
    main()
