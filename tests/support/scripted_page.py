"""The whole page in a thread, over a scripted engine whose clips play: for the browser tests that need many runs.

A prompt may steer its run: "takes 3 s" is as slow as it says, "fails" fails, "waits" runs until it is cancelled.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tests.support.app import free_port
from tests.support.fake_backend import FakeBackend
from tests.support.jobs import NO_FLOOR, House, a_house
from wan_core import api, cutting, encoding, intake, ui
from wan_core.errors import BackendError, Cancelled
from wan_core.estimator import Estimator
from wan_core.events import Event, Finished, Job, JobOptions, Preview, Result, Stage, Step
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs.record import JobRecord
from wan_core.profiles import Choice, Machine, profiles
from wan_core.settings import Settings
from wan_core.timing import frames_between, timing
from wan_core.ui.sections import Fal
from wan_core.ui.theme import app_options

NO_CARD = Machine()
CARD = Machine("NVIDIA H100", 80 * 2**30)
FAILURE = "The card's memory is full. Try 480p."


class ScriptedEngine(FakeBackend):
    """Clips of 16 frames a second, grey from black to white, as small as can be."""

    def run(self, job: Job) -> Iterator[Event]:
        self.ran.append(job.id)
        stop = self._stops.setdefault(job.id, threading.Event())
        prompt = job.inputs.prompt
        if "fails" in prompt:
            yield Stage("loading")
            raise BackendError("out_of_memory", FAILURE)
        slow = re.search(r"takes (\d+) s", prompt)
        seconds = float(slow[1]) if slow else 1e9 if "waits" in prompt else 0.0
        yield from self.make_slowly(job, stop, seconds)

    def make_slowly(self, job: Job, stop: threading.Event, seconds: float) -> Iterator[Event]:
        steps = max(4, round(min(seconds, 600) * 4))
        yield Stage("sampling")
        if seconds:
            Image.new("RGB", (64, 36), "teal").save(self.files.preview(job.id), "WEBP")
            yield Preview()
        for step in range(steps):
            if stop.wait(seconds / steps):
                raise Cancelled()
            yield Step("sampling", step + 1, steps, seconds * (steps - step - 1) / steps)
        shown, fps = _shown(job), timing(job.inputs).fps
        if job.frames_of is None:
            kept = [np.full((36, 64, 3), _grey(job, number), np.uint8) for number in range(job.inputs.num_frames)]
            np.save(self.files.frames(job.id), np.stack(kept))
        self.files.clip(job.id).write_bytes(clip(shown, fps))
        yield Finished(
            Result(job.inputs.prompt, job.inputs.seed or 0, Size(64, 36), len(shown), fps, job.options.engine)
        )


def _shown(job: Job) -> list[int]:
    """The grey of each frame of the clip: that of the kept frame at or before it."""
    inputs, cut = job.inputs, job.options.cut
    count = cutting.shown_frames(cutting.delivered(inputs, cut), cut.ending, frames_between(inputs))
    return [_grey(job, cutting.kept_frame(inputs, cut, at)[0] - 1) for at in range(count)]


def _grey(job: Job, number: int) -> int:
    return 255 * number // job.inputs.num_frames


def clip(shown: list[int], fps: int) -> bytes:
    import tempfile
    from pathlib import Path

    grey = (np.full((36, 64, 3), each, np.uint8) for each in shown)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        encoding.encode(grey, path, size=Size(64, 36), fps=fps, quality="low", write_mode="fast")
        return path.read_bytes()


@dataclass
class ScriptedPage:
    """`jobs`: those accepted since the last `forget`."""

    home: str
    house: House
    forgotten: int = 0

    @property
    def jobs(self) -> list[JobRecord]:
        with closing(sqlite3.connect(self.house.jobs.files.database)) as database:
            ids = [job_id for (job_id,) in database.execute("SELECT id FROM jobs ORDER BY created_at")]
        records = [self.house.jobs.get(job_id) for job_id in ids[self.forgotten :]]
        return [record for record in records if record is not None]

    def forget(self) -> None:
        for record in self.house.runner.records.unfinished():
            self.house.jobs.cancel(record)
        self.forgotten += len(self.jobs)


@contextmanager
def scripted_page(
    data: FileStore,
    *,
    machine: Machine = NO_CARD,
    engine: str = "miniature",
    settings: Settings | None = None,
    fal: Fal = "closed",
    per_client: bool = False,
    **parts: Any,
) -> Iterator[ScriptedPage]:
    """Serve it on loopback. `parts` go to `ui.build`."""
    host = (settings or Settings()).model_copy(update={"data_dir": data.root})
    read = partial(intake.read, fetch=intake.Fetcher(), local=api.local_file(data), uploads=ui.uploads_folder())
    with a_house(data, ScriptedEngine(data), NO_FLOOR, read, per_client=per_client) as house:
        page = ui.build(house.jobs, host, Estimator(machine), Choice(profiles()[engine], "It suits."), fal=fal, **parts)
        http = api.build(house.jobs, host, JobOptions(engine))
        _, address, _ = page.queue(max_size=100, default_concurrency_limit=None).launch(
            server_port=free_port(), prevent_thread_lock=True, quiet=True, **app_options(http.routes, http.middleware)
        )
        try:
            yield ScriptedPage(address.rstrip("/"), house)
        finally:
            page.close()
