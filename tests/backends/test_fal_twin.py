"""Both ends of fal's protocol against each other: the fal backend runs its jobs on this server's own HTTP API.

Run as a module, this file is the twin: the real routes and the real picture gate, with a scripted engine behind them.
"""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from tests.support.fake_backend import FakeBackend, wait_for_stop
from tests.support.faulty_fal import HASTE
from tests.support.jobs import NO_FLOOR, OPTIONS, a_house, a_request
from wan_core import encoding, intake
from wan_core.backends.fal import FalBackend, Hosts, files
from wan_core.errors import BackendError, Cancelled, InputError
from wan_core.events import Event, Finished, Job, JobOptions, Log, Result, Stage, Step
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.rows import NewJob
from wan_core.jobs.store import JobStore
from wan_core.settings import Settings

pytestmark = pytest.mark.client
ROOT = Path(__file__).parents[2]
KEY = "twin:key"


def twin(root: Path) -> None:
    """Serve until killed; the first line of the output is the address."""
    from starlette.applications import Starlette

    from tests.support.serving import serving
    from wan_core import api

    data = FileStore(root)
    read = partial(intake.read, fetch=intake.Fetcher(), local=api.local_file(data))
    settings = Settings(data_dir=root, api_keys=SecretStr(KEY))
    with a_house(data, Engine(data), read_picture=read) as house:
        built = api.build(house.jobs, settings, OPTIONS)
        with serving(Starlette(routes=built.routes, middleware=built.middleware)) as address:
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            threading.Event().wait()


class Engine(FakeBackend):
    """Makes a real clip of three frames; `forever` never ends, `refused` is refused."""

    def __init__(self, data: FileStore) -> None:
        super().__init__(data)
        self.scripts = {"forever": wait_for_stop, "refused": self.refuse}

    def refuse(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("checking")
        raise InputError("prompt", "content_policy_violation", "The prompt cannot be used.")

    def make_clip(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        yield Step("sampling", 1, 1)
        frames, clip, size = [np.zeros((48, 64, 3), np.uint8)] * 3, self.files.clip(job.id), Size(64, 48)
        encoding.encode(frames, clip, size=size, fps=16, quality="low", write_mode="fast")
        assert job.inputs.seed is not None
        yield Finished(Result(f"{job.inputs.prompt}, as used", job.inputs.seed, size, 3, 16, job.options.engine))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("twin")
    command = [sys.executable, "-W", "ignore", "-m", "tests.backends.test_fal_twin", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def store(data: FileStore) -> Iterator[JobStore]:
    store = JobStore(data.database)
    yield store
    store.close()


def a_backend(address: str, store: JobStore, data: FileStore, key: str = KEY) -> FalBackend:
    hosts = Hosts(f"{address}/queue", f"{address}/rest", ("127.0.0.1",))
    limits = intake.FetchLimits(ports=frozenset({int(address.rsplit(":", 1)[1])}))
    fetcher = intake.Fetcher(lambda found: found == ip_address("127.0.0.1"), limits=limits, hosts=hosts.media)
    settings = Settings(FAL_KEY=key)  # type: ignore[call-arg, arg-type]
    budget, keys = FalBudget(store, settings, per_client=False), FalKeys(store, settings.fal_key)
    return FalBackend(store, keys, budget, data, NO_FLOOR, hosts=hosts, fetcher=fetcher, timeouts=HASTE)


def a_job(store: JobStore, data: FileStore, **values: object) -> Job:
    job_id = str(uuid.uuid4())
    Image.effect_noise((320, 240), 50).convert("RGB").save(data.picture(job_id))
    inputs, options = a_request(seed=2**53 - 1, **values), JobOptions("a14b", "fal")
    job = Job(job_id, inputs, Size(832, 480), options, {"image_url": job_id})
    store.add(NewJob(job, "client", "fal", owner_pays=True))
    return job


@pytest.mark.parametrize("inline_bytes", [7_000_000, 10], ids=["data URI", "upload"])
def test_a_job_that_runs_on_the_twin_gives_the_same_result(
    address: str, store: JobStore, data: FileStore, inline_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_INLINE_BYTES", inline_bytes)
    job = a_job(store, data, prompt="a lion")
    told = list(a_backend(address, store, data).run(job))
    last = told[-1]
    assert isinstance(last, Finished)
    assert (last.result.prompt, last.result.seed) == ("a lion, as used", 2**53 - 1)
    assert encoding.probe(data.clip(job.id)).frames == 3
    assert last.result.fal_url is not None and last.result.fal_url.startswith(f"{address}/files/")
    assert Log("sampling: 1 of 1") in told


def test_a_job_on_the_twin_is_cancelled_there(address: str, store: JobStore, data: FileStore) -> None:
    backend, told = a_backend(address, store, data), list[Event]()
    job = a_job(store, data, prompt="forever")
    with pytest.raises(Cancelled):
        for event in backend.run(job):
            told.append(event)
            if isinstance(event, Log) and event.message == "Sampling.":
                backend.cancel(job.id)
    assert not [event for event in told if isinstance(event, Log) and event.level == "WARN"], "fal confirmed it"


def test_a_refusal_of_the_twin_comes_back_to_its_field(address: str, store: JobStore, data: FileStore) -> None:
    with pytest.raises(InputError) as caught:
        list(a_backend(address, store, data).run(a_job(store, data, prompt="refused")))
    assert (caught.value.field, caught.value.type) == ("prompt", "content_policy_violation")
    assert caught.value.message == "fal refused prompt: The prompt cannot be used."


def test_a_wrong_key_is_explained(address: str, store: JobStore, data: FileStore) -> None:
    with pytest.raises(BackendError, match="fal does not accept the key"):
        list(a_backend(address, store, data, "wrong:key").run(a_job(store, data)))


if __name__ == "__main__":
    twin(Path(sys.argv[1]))
