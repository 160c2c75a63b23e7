"""The disk stays within its bounds, and nothing that is still needed is thrown away."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support.fake_backend import wait_for_stop
from tests.support.jobs import NO_FLOOR, House, a_house
from wan_core.files import FileStore
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.settings import Limits

DAY = 24 * 3600.0


@pytest.fixture
def house(data: FileStore) -> Iterator[House]:
    with a_house(data) as house:
        yield house


def tidy(house: House, limits: Limits = NO_FLOOR, at: float | None = None) -> None:
    now = time.time() if at is None else at
    Housekeeping(house.runner, house.store, house.jobs.files, limits, lambda: now).tidy()


def finished(house: House) -> JobRecord:
    record = house.submit()
    house.outcome(record)
    np.save(house.jobs.files.frames(record.job.id), np.zeros((17, 64, 64, 3), np.uint8))
    return record


def files_left(house: House, record: JobRecord) -> list[str]:
    files = house.jobs.files
    own = (*map(files.picture, record.job.files.values()), *files.of_job(record.job.id))
    return [path.suffix for path in own if path.exists()]


def test_a_fresh_result_is_kept(house: House) -> None:
    record = finished(house)
    tidy(house)
    assert files_left(house, record) == [".png", ".npy", ".mp4"]


def test_a_result_is_forgotten_after_a_day_with_everything_it_had(house: House) -> None:
    record = finished(house)
    tidy(house, at=(record.finished_at or 0) + DAY + 1)
    assert files_left(house, record) == [] and house.jobs.get(record.job.id) is None and not house.store.ids()


def test_a_running_job_is_left_alone_however_old(data: FileStore) -> None:
    with a_house(data) as house:
        house.backend.scripts["endless"] = wait_for_stop
        record = house.submit(prompt="endless")
        house.wait_until_running(record)
        tidy(house, replace(NO_FLOOR, keep_bytes=0), at=record.created_at + 9 * DAY)
        assert files_left(house, record) == [".png"] and house.jobs.get(record.job.id) is record


def test_over_the_quota_raw_frames_go_first(house: House) -> None:
    record = finished(house)
    frames = house.jobs.files.frames(record.job.id).stat().st_size
    everything = sum(path.stat().st_size for path in house.jobs.files.all_files())
    tidy(house, replace(NO_FLOOR, keep_bytes=everything - frames))
    assert files_left(house, record) == [".png", ".mp4"]


def test_still_over_the_quota_the_oldest_jobs_go(house: House) -> None:
    old, new = finished(house), finished(house)
    kept = house.jobs.files.clip(new.job.id).stat().st_size + house.jobs.files.picture(new.job.picture).stat().st_size
    tidy(house, replace(NO_FLOOR, keep_bytes=kept))
    assert files_left(house, old) == [] and house.jobs.get(old.job.id) is None
    assert ".mp4" in files_left(house, new)


def test_a_file_that_belongs_to_no_job_is_removed_once_it_is_an_hour_old(house: House) -> None:
    stray = house.jobs.files.clip("stray")
    stray.write_bytes(b"x")
    tidy(house)
    assert stray.exists(), "it may belong to a job that is being accepted"
    tidy(house, at=stray.stat().st_mtime + 3601)
    assert not stray.exists()


def test_a_huge_stray_file_costs_nobody_a_clip(house: House) -> None:
    record, files = finished(house), house.jobs.files
    room = sum(path.stat().st_size for path in files.all_files())
    stray = files.clip("stray")
    with stray.open("wb") as sparse:
        sparse.truncate(100 * 10**9)
    with files.picture("accepted-just-now").open("wb") as sparse:
        sparse.truncate(100 * 10**9)
    tidy(house, replace(NO_FLOOR, keep_bytes=room))
    assert files_left(house, record) == [".png", ".npy", ".mp4"] and not stray.exists()
    assert files.picture("accepted-just-now").exists(), "its job may be on the way"


def test_what_a_killed_worker_was_writing_goes_once_its_job_is_over(house: House) -> None:
    record, files = finished(house), house.jobs.files
    part = files.frames(record.job.id).with_name(f".{record.job.id}.npy.12ab.part")
    part.write_bytes(b"half")
    tidy(house, at=part.stat().st_mtime + 3601)
    assert not part.exists() and files_left(house, record) == [".png", ".npy", ".mp4"]


def test_every_kind_of_file_counts_towards_the_quota(house: House) -> None:
    record, files = finished(house), house.jobs.files
    room = sum(path.stat().st_size for path in files.all_files())
    files.interpolated_frames(record.job.id).write_bytes(bytes(1000))
    tidy(house, replace(NO_FLOOR, keep_bytes=room))
    assert not files.interpolated_frames(record.job.id).exists() and not files.frames(record.job.id).exists()
    assert files_left(house, record) == [".png", ".mp4"]


def test_the_frames_of_an_old_job_stay_while_another_finishes_them_again(data: FileStore) -> None:
    with a_house(data) as house:
        old = finished(house)
        house.backend.scripts["endless"] = wait_for_stop
        house.wait_until_running(house.submit(prompt="endless"))
        again = house.jobs.finish_again(old, {"video_quality": "low"}, Client.by_key("a"))
        tidy(house, replace(NO_FLOOR, keep_bytes=0), at=(old.finished_at or 0) + DAY + 1)
        assert again.job.frames_of == old.job.id and files_left(house, old) == [".png", ".npy", ".mp4"]


def test_what_cannot_be_deleted_keeps_nothing_else_from_going_in_its_time(house: House) -> None:
    stuck, loose = (finished(house) for _ in range(2))
    files = house.jobs.files
    with house.store.transaction() as db:
        db.execute("UPDATE jobs SET forget_at = 1")
    files.clip(stuck.job.id).unlink()
    files.clip(stuck.job.id).mkdir()  # as a file that is not ours, which `unlink` refuses
    ended = files.picture(f"{uuid.uuid4()}-1700000000")
    files.picture(f"{uuid.uuid4()}-1600000000").mkdir()
    ended.write_bytes(b"picture")
    Housekeeping(house.runner, house.store, files, NO_FLOOR).forget_due()
    assert house.store.ids() == {stuck.job.id} and files_left(house, loose) == [] and not ended.exists()


def test_an_old_file_that_cannot_be_deleted_stops_no_round(house: House) -> None:
    old = [finished(house), finished(house)]
    for record in old:
        house.jobs.files.clip(record.job.id).unlink()
    house.jobs.files.clip(old[0].job.id).mkdir()
    tidy(house, at=time.time() + DAY + 60)
    assert house.store.ids() == {old[0].job.id}
