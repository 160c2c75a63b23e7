"""A server for `benchmarks.load`: this app with a quick fake backend, or bare Gradio with the same work.

    python -m benchmarks.load_server app|bare --data FOLDER [--job-s 0.2]

The app is the real one, with all that stands before its routes, except for the backend that its runner is given.
"""

import argparse
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

import app
from wan_core import logs, settings
from wan_core.errors import Cancelled
from wan_core.events import Event, Finished, Job, Result, Stage, Step
from wan_core.files import FileStore

STEPS = 4
CLIP = b"\0\0\0\x18ftypmp42" + bytes(20_000)


class QuickBackend:
    """A clip of some bytes in `job_s` seconds and four steps."""

    def __init__(self, files: FileStore, job_s: float) -> None:
        self._files, self._job_s = files, job_s
        self._stopped: set[str] = set()

    def start(self) -> None: ...

    def run(self, job: Job) -> Iterator[Event]:
        yield Stage("sampling")
        for step in range(1, STEPS + 1):
            time.sleep(self._job_s / STEPS)
            if job.id in self._stopped:
                raise Cancelled()
            yield Step("sampling", step, STEPS, (STEPS - step) * self._job_s / STEPS)
        self._files.clip(job.id).write_bytes(CLIP)
        assert job.inputs.seed is not None
        yield Finished(Result(job.inputs.prompt, job.inputs.seed, job.size, 17, 16, job.options.engine))

    def cancel(self, job_id: str) -> None:
        self._stopped.add(job_id)

    def check(self, picture: str, prompt: str) -> None: ...

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        return prompt, ""

    def close(self) -> None: ...


def bare_page(job_s: float) -> gr.Blocks:
    """What Gradio does for a picture, a prompt, and as many messages."""

    def work(picture: str, prompt: str) -> Iterator[str]:
        for step in range(1, STEPS + 1):
            time.sleep(job_s / STEPS)
            yield f"Step {step} of {STEPS}"

    page = gr.Blocks()
    with page:
        picture, prompt, shown = gr.Image(type="filepath"), gr.Textbox(), gr.HTML()
        gr.Button("Generate").click(work, [picture, prompt], [shown], concurrency_limit=1)
    return page


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("app", "bare"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--job-s", type=float, default=0.2)
    asked = parser.parse_args()
    host = settings.load()
    logs.set_up("ERROR")
    if asked.kind == "app":
        host = host.model_copy(update={"data_dir": asked.data})
        return app.serve(app.build_service(host, QuickBackend(host.files, asked.job_s)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bare_page(asked.job_s).queue(max_size=200).launch(ssr_mode=False, quiet=True)


if __name__ == "__main__":
    main()
