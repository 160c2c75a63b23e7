"""A backend that runs the script of each prompt, by default steps and a clip of a few bytes."""

import threading
from collections.abc import Callable, Iterator

from wan_core.errors import Cancelled, InputError
from wan_core.events import Event, Finished, Job, Result, Stage, Step
from wan_core.files import FileStore

Script = Callable[[Job, threading.Event], Iterator[Event]]


class FakeBackend:
    """`scripts` by prompt; `ran`: ids of started jobs, in order."""

    def __init__(self, data: FileStore, steps: int = 3) -> None:
        self.files = data
        self.steps = steps
        self.scripts: dict[str, Script] = {}
        self.ran: list[str] = []
        self.checked: list[str] = []
        self._stops: dict[str, threading.Event] = {}

    def start(self) -> None: ...

    def run(self, job: Job) -> Iterator[Event]:
        self.ran.append(job.id)
        stop = self._stops.setdefault(job.id, threading.Event())
        yield from self.scripts.get(job.inputs.prompt, self.make_clip)(job, stop)

    def cancel(self, job_id: str) -> None:
        if job_id in self._stops:
            self._stops[job_id].set()

    def check(self, picture: str, prompt: str) -> None:
        self.checked.append(prompt)
        if prompt == "forbidden":
            raise InputError("prompt", "content_policy_violation", "The safety check refused the prompt.")

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        return f"{prompt}, expanded", ""

    def close(self) -> None:
        for stop in self._stops.values():
            stop.set()

    def make_clip(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        for step in range(self.steps):
            if stop.is_set():
                raise Cancelled()
            yield Step("sampling", step + 1, self.steps, float(self.steps - step - 1))
        self.files.clip(job.id).write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
        assert job.inputs.seed is not None
        yield Finished(Result(job.inputs.prompt, job.inputs.seed, job.size, 17, 16, job.options.engine))


def wait_for_stop(job: Job, stop: threading.Event) -> Iterator[Event]:
    yield Stage("sampling")
    stop.wait()
    raise Cancelled()


def held_until(gate: threading.Event, then: Script) -> Script:
    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("loading")
        gate.wait()
        yield from then(job, stop)

    return script
