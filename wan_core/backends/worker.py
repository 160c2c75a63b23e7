"""The worker process: `python -m wan_core.backends.worker`. Commands come in on stdin, answers go out on stdout.

One line of JSON each: `{"run": job}`, `{"cancel": id}`, `{"check": …}` and `{"expand": {id, picture, prompt}}` in;
`{"id", "line"}` (an event), `{"id", "error"}` or `{"id", …}` with the answer to a question out. The model code may
print what it likes: the real stdout is put aside first. When stdin ends, the app is gone and so is this process.
"""

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from PIL import Image

from wan_core import generate, settings
from wan_core.engine import loading, sampling
from wan_core.errors import ENGINE_FAILED, BackendError, WanError, to_plain
from wan_core.events import Event, FramesMade, Job, to_json
from wan_core.expansion import expander
from wan_core.interpolation import InterpolationPlan
from wan_core.profiles import profiles
from wan_core.run_in_thread import Emit, run_in_thread
from wan_core.safety import checks
from wan_core.settings import Settings

log = logging.getLogger(__name__)


class Maker:
    """Makes clips one after the other with the engine a job names; the last engine stays loaded."""

    def __init__(self, host: Settings) -> None:
        self._host = host
        self._engine: loading.Engine | None = None
        self._checks = checks.checks(host)
        self._expander = expander.expander(host)

    def run(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        """The events of `job`, see `generate.Recipe.run`."""
        make_frames = partial(self._make_frames, stop=stop)
        maker = generate.ClipMaker(make_frames, self._checks, self._expander, self._host.data, self._host.force_safety)
        yield from maker.run(job, stop.is_set)

    def check(self, picture: Path, prompt: str) -> dict[str, str]:
        """Nothing, or the refusal is raised."""
        with Image.open(picture) as opened:
            self._checks.picture(opened.convert("RGB"))
        self._checks.prompt(prompt)
        return {}

    def expand(self, picture: Path, prompt: str) -> dict[str, str]:
        """The prompt rewritten, and why it is unchanged if it is."""
        with Image.open(picture) as opened:
            written = self._expander.expand(opened.convert("RGB"), prompt)
        return {"prompt": written.prompt, "note": written.note or ""}

    def _make_frames(self, job: Job, prompt: str, between: InterpolationPlan, stop: threading.Event) -> Iterator[Event]:
        data = self._host.data
        raw = data.frames(job.frames_of or job.id)
        if job.frames_of is None:
            yield from self._sampled(job, prompt, raw, stop)
        if between.is_network:
            yield (yield from generate.insert(job, raw, between, data, stop.is_set))
        else:
            yield FramesMade(raw)

    def _sampled(self, job: Job, prompt: str, raw: Path, stop: threading.Event) -> Iterator[Event]:
        yield from run_in_thread(lambda emit: self._load(job.engine, emit), stop.is_set)
        assert self._engine is not None
        preview = self._host.data.preview(job.id)
        yield from sampling.sample(self._engine, job, prompt, raw, stop.is_set, preview)

    def _load(self, name: str, emit: Emit) -> None:
        profile = profiles()[name]
        self._engine = self._engine.for_profile(profile) if self._engine else None
        if self._engine is None:
            self._engine = loading.load(profile, self._host, emit)


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
            case {"check": question}:
                self._ask(self._maker.check, question)
            case {"expand": question}:
                self._ask(self._maker.expand, question)

    def _run(self, job: Job) -> None:
        with self._refusing(job.id):
            for event in self._maker.run(job, self._stops[job.id]):
                self._answer(job.id, line=to_json(event))
        del self._stops[job.id]

    def _ask(self, what: Callable[[Path, str], dict[str, str]], question: dict[str, str]) -> None:
        """Answer a question in a thread of its own, beside the job that runs."""

        def answer() -> None:
            with self._refusing(question["id"]):
                self._answer(question["id"], **what(Path(question["picture"]), question["prompt"]))

        threading.Thread(target=answer, name=question["id"], daemon=True).start()

    @contextmanager
    def _refusing(self, talk_id: str) -> Iterator[None]:
        """Whatever is raised becomes the answer."""
        try:
            yield
        except WanError as error:
            self._answer(talk_id, error=to_plain(error))
        except Exception:  # the model code may raise anything; the visitor gets a sentence, the log the rest
            log.exception("%s failed", talk_id)
            self._answer(talk_id, error=to_plain(BackendError("internal_server_error", ENGINE_FAILED)))

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
