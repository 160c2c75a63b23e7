"""A worker whose clip is made by two processes, as on two cards: the same clip, and no loss beyond one attempt."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.conftest import tiny_pipeline
from tests.support.jobs import NO_FLOOR, job_with_picture
from wan_core.backends.local import LocalBackend
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Finished, Job, JobOptions, Log, Step
from wan_core.files import FileStore
from wan_core.geometry import Size

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

SHAPE = (17, 48, 32, 3)
TOLERANCE = 2  # grey levels, as in tests/engine/test_cards.py


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def backend_of(cards: int, model: Path, data: FileStore) -> LocalBackend:
    environment = {"WAN_MODEL": str(model), "WAN_DATA_DIR": str(data.root), "OMP_NUM_THREADS": "1"}
    return LocalBackend(NO_FLOOR, lambda job: 600, environment | {"WAN_CARDS_PER_CLIP": str(cards)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    return FileStore(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def backend(model: Path, data: FileStore) -> Iterator[LocalBackend]:
    """One for the whole file: its two processes start in many seconds."""
    made = backend_of(2, model, data)
    yield made
    made.close()


def a_clip(data: FileStore, steps: int = 4) -> Job:
    job = job_with_picture(data, num_inference_steps=steps, enable_safety_checker=False, acceleration="none")
    return replace(job, size=Size(32, 48), options=JobOptions("a14b"))


def made(backend: LocalBackend, job: Job, data: FileStore) -> np.ndarray:
    assert isinstance(list(backend.run(job))[-1], Finished)
    return np.load(data.frames(job.id)).astype(int)


def children(pid: int) -> list[int]:
    return [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]


def running(pid: int, module: str) -> list[int]:
    """Children of `pid` that run `module`."""
    return [each for each in children(pid) if module.encode() in Path(f"/proc/{each}/cmdline").read_bytes()]


def worker_and_helper() -> tuple[int, int]:
    (worker,) = running(os.getpid(), "wan_core.backends.worker")
    (helper,) = running(worker, "wan_core.engine.cards.helper")
    return worker, helper


def wait_for_end(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


def test_the_worker_makes_the_clip_of_a_worker_with_one_card_and_stops_between_steps(
    backend: LocalBackend, model: Path, data: FileStore
) -> None:
    job, single = a_clip(data), backend_of(1, model, data)
    try:
        wanted = made(single, job, data)
    finally:
        single.close()
    events = list(backend.run(job))
    assert Log("2 cards make each clip: 2 share the tokens of a pass (Ulysses).") in events
    assert [event.done for event in events if isinstance(event, Step) and event.stage == "sampling"] == [1, 2, 3, 4]
    assert abs(np.load(data.frames(job.id)).astype(int) - wanted).max() <= TOLERANCE
    before, long, stopped_at = worker_and_helper(), a_clip(data, steps=40), 0
    with pytest.raises(Cancelled):
        for event in backend.run(long):
            if isinstance(event, Step) and event.stage == "sampling":
                stopped_at = event.done
                backend.cancel(long.id)
    assert 0 < stopped_at < 40
    assert abs(made(backend, job, data) - wanted).max() <= TOLERANCE
    assert worker_and_helper() == before


def test_a_helper_that_dies_in_mid_clip_costs_one_attempt_and_the_worker_is_replaced(
    backend: LocalBackend, data: FileStore
) -> None:
    job, before = a_clip(data, steps=40), 0
    with pytest.raises(BackendError) as error:
        for event in backend.run(job):
            if isinstance(event, Step) and event.stage == "sampling" and not before:
                before, helper = worker_and_helper()
                os.kill(helper, signal.SIGKILL)
    assert error.value.type == "worker_lost" and "One of the 2 processes" in error.value.message
    assert made(backend, replace(a_clip(data), id=job.id), data).shape == SHAPE
    assert worker_and_helper()[0] != before


def test_a_helper_that_dies_between_clips_costs_nothing_and_one_that_hangs_ends_with_its_worker(
    backend: LocalBackend, data: FileStore
) -> None:
    made(backend, a_clip(data), data)
    before, helper = worker_and_helper()
    os.kill(helper, signal.SIGKILL)
    wait_for_end(helper)
    assert made(backend, a_clip(data), data).shape == SHAPE
    worker, helper = worker_and_helper()
    assert worker != before
    os.kill(helper, signal.SIGSTOP)
    backend.close()
    wait_for_end(helper)
