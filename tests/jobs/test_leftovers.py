"""A job that ends without a clip leaves no file behind, unless its frames can still be used."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.fake_backend import FakeBackend, Script, wait_for_stop
from tests.support.jobs import OPTIONS, House, a_house, a_request
from wan_core.errors import BackendError, Cancelled, InputError
from wan_core.events import Event, Finished, Group, Job, Stage, StageName
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.service import Submission

DISK_FULL = BackendError("storage_full", "The clip could not be written: the disk is full.")
REFUSED = InputError("prompt", "content_policy_violation", "The clip was refused.")


def leave_files(data: FileStore, job: Job) -> None:
    """Every kind of file, whole and half written."""
    np.save(data.frames(job.id), np.zeros((2, 4, 4, 3), np.uint8))
    for path in (data.interpolated_frames(job.id), data.preview(job.id), data.clip(job.id)):
        path.write_bytes(b"x")
        path.with_name(f".{path.name}.12ab.part").write_bytes(b"x")


def ending(data: FileStore, stage: StageName, error: Exception | None) -> Script:
    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        leave_files(data, job)
        yield Stage(stage)
        if error is None:
            stop.wait()
            raise Cancelled
        raise error

    return script


def run(house: House, script: Script, *, cancels: bool = False) -> Job:
    backend = house.backend
    assert isinstance(backend, FakeBackend)
    backend.scripts["bad"] = script
    record = house.submit(prompt="bad")
    house.wait_until_running(record)
    if cancels:
        house.jobs.cancel(record)
    house.outcome(record)
    return record.job


def left(data: FileStore) -> list[str]:
    return sorted("".join(path.suffixes) for path in data.all_files())


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("sampling", None),
        ("interpolating", None),
        ("encoding", None),
        ("sampling", DISK_FULL),
        ("checking", REFUSED),
        ("sampling", RuntimeError()),
    ],
    ids=range(6),
)
def test_nothing_is_left_of_a_cancelled_or_failed_job(
    data: FileStore, stage: StageName, error: Exception | None
) -> None:
    with a_house(data) as house:
        run(house, ending(data, stage, error), cancels=error is None)
        assert left(data) == []


def test_a_cancelled_job_that_waited_leaves_no_picture(data: FileStore) -> None:
    with a_house(data) as house:
        house.backend.scripts["endless"] = wait_for_stop
        house.wait_until_running(house.submit(prompt="endless"))
        waiting = house.submit()
        house.jobs.cancel(waiting)
        assert not data.picture(waiting.job.picture).exists()


def test_frames_whose_encoding_failed_can_be_finished_again(data: FileStore) -> None:
    with a_house(data) as house:
        job = run(house, ending(data, "encoding", DISK_FULL))
        assert left(data) == [".npy", ".png"]
        failed = house.jobs.get(job.id)
        assert failed is not None
        again = house.jobs.finish_again(failed, {"video_quality": "low"}, Client.by_key("a"))
        house.backend.scripts.clear()
        assert again.job.frames_of == job.id and isinstance(house.outcome(again), Finished)


def test_the_picture_of_a_group_stays_for_making_its_jobs_again(data: FileStore) -> None:
    with a_house(data) as house:
        house.backend.scripts["bad"] = ending(data, "sampling", DISK_FULL)
        both = [Submission(a_request(prompt="bad", seed=seed), OPTIONS) for seed in (1, 2)]
        records = asyncio.run(house.jobs.submit_many(both, Client.by_key("a"), group=Group("sweep", 0, 2)))
        for record in records:
            house.outcome(record)
        assert left(data) == [".png"]
        house.backend.scripts.clear()
        (again,) = house.jobs.make_again(records[:1], Client.by_key("a"), None)
        assert isinstance(house.outcome(again), Finished)


def test_a_finished_job_keeps_no_preview(data: FileStore) -> None:
    def previewed(job: Job, stop: threading.Event) -> Iterator[Event]:
        data.preview(job.id).write_bytes(b"x")
        yield from backend.make_clip(job, stop)

    backend = FakeBackend(data)
    backend.scripts["good"] = previewed
    with a_house(data, backend) as house:
        house.outcome(house.submit(prompt="good"))
        assert left(data) == [".mp4", ".png"]
