"""Jobs and services for tests: real store and runner, scripted backend."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.fake_backend import FakeBackend
from wan_core import schema
from wan_core.backends import Backend
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.events import Event, Job, JobOptions, Outcome, Stage, Where
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.leftovers import Leftovers
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService, ReadPicture, Submission
from wan_core.jobs.store import JobStore
from wan_core.settings import Limits, Settings

MINIMAL = {"image_url": "https://example.com/a.png", "prompt": "a walk", "resolution": "480p", "num_frames": 17}
SHORT = {"num_inference_steps": 2, "interpolator_model": "none", "video_write_mode": "fast", "aspect_ratio": "1:1"}
OPTIONS = JobOptions("miniature")
MOST_FRAMES = int(IMAGE_TO_VIDEO.bounds("num_frames")[1])  # type: ignore[index]
NO_FLOOR = replace(Limits(), free_disk_bytes=0)


def a_request(**values: Any) -> schema.ImageToVideoInput:
    return IMAGE_TO_VIDEO.parse(MINIMAL | values)


def a_job(**values: Any) -> Job:
    inputs, job_id = a_request(**{"seed": 1} | values), str(uuid.uuid4())
    return Job(job_id, inputs, Size(832, 480), OPTIONS, {"image_url": job_id})


def job_with_picture(data: FileStore, **values: Any) -> Job:
    """Store its picture, too."""
    job = a_job(**SHORT | values)
    Image.linear_gradient("L").convert("RGB").resize((96, 64)).save(data.picture(job.picture))
    return job


async def grey_picture(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
    return use(Image.new("RGB", (640, 360), "grey"))


@dataclass
class House:
    """A service and everything behind it."""

    jobs: JobService
    store: JobStore
    runner: JobRunner
    backend: Any
    fal: Any = None

    def submit(self, client: str = "a", options: JobOptions = OPTIONS, **values: Any) -> JobRecord:
        return asyncio.run(self.jobs.submit(Submission(a_request(**values), options), Client.by_key(client)))

    def outcome(self, record: JobRecord) -> Outcome:
        """Wait for the end."""
        last = self.events(record)[-1]
        assert record.outcome is last
        return record.outcome

    def wait_until_running(self, record: JobRecord) -> None:
        async def first_stage() -> None:
            async for event in self.jobs.watch(record):
                if isinstance(event, Stage):
                    return

        asyncio.run(first_stage())

    def events(self, record: JobRecord) -> list[Event]:
        """Wait for the end."""

        async def collect() -> list[Event]:
            return [event async for event in self.jobs.watch(record)]

        return asyncio.run(collect())


def pool_of_place(where: Where, engine: str) -> str:
    return "fal" if where == "fal" else "local"


@contextmanager
def a_house(
    data: FileStore,
    backend: Backend | None = None,
    limits: Limits = NO_FLOOR,
    read_picture: ReadPicture = grey_picture,
    *,
    per_client: bool = False,
    concurrency: int = 1,
    varies: bool = False,
    checks_fal_jobs: bool = False,
    seconds_of: Callable[[Job], float] = lambda job: 0.0,
) -> Iterator[House]:
    """Run a service on `data`, with a scripted fal beside `backend`."""
    backend, scripted_fal = backend or FakeBackend(data), FakeBackend(data)
    pools = {"local": WorkerPool(backend, concurrency, varies), "fal": WorkerPool(scripted_fal, 1)}
    store = JobStore(data.database)
    on_end = Leftovers(store, data).remove
    runner = JobRunner(store, pools, limits, per_client=per_client, on_end=on_end, checks_fal_jobs=checks_fal_jobs)
    settings = Settings(FAL_KEY="key-of-the-owner")
    fal = {"budget": FalBudget(store, settings, per_client=per_client), "keys": FalKeys(store, settings.fal_key)}
    jobs = JobService(
        store, runner, data, limits, read_picture, pool_of_place, per_client=per_client, seconds_of=seconds_of, **fal
    )
    runner.start()
    try:
        yield House(jobs, store, runner, backend, scripted_fal)
    finally:
        runner.close()
        store.close()
