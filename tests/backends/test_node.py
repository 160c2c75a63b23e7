"""A machine of a cluster, without the cluster: files come and go as parcels unless the folder is the app's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.app import ROOT
from tests.support.jobs import job_with_picture
from wan_core import logs
from wan_core.backends.messages import Check, Happened, Passed, Raised, Run, command_line, read_answer
from wan_core.backends.node import Item, NodeWorker, code_digest
from wan_core.backends.parcels import Parcel, pack, pack_inputs, unpack
from wan_core.errors import BackendError
from wan_core.events import Finished
from wan_core.files import FileStore

PROGRAM = ["-S", str(ROOT / "tests/support/sleeping_worker.py"), "0"]
TOKEN = "the app's folder"


@pytest.fixture(autouse=True)
def logs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's process sets up its log; this one is that of all tests."""
    monkeypatch.setattr(logs, "set_up", lambda level: None)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """The folder of a machine."""
    monkeypatch.setenv("WAN_DATA_DIR", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()
    return FileStore(tmp_path / "machine")


@pytest.fixture
def worker(machine: FileStore) -> Iterator[NodeWorker]:
    worker = NodeWorker(TOKEN, 2, PROGRAM)
    yield worker
    worker._backend.close()


def parcels_of(items: list[Item]) -> dict[str, Parcel]:
    return {item.kind: item for item in items if isinstance(item, Parcel)}


def test_pictures_go_out_and_preview_frames_and_clip_come_back_before_the_end(
    worker: NodeWorker, machine: FileStore, data: FileStore
) -> None:
    job = job_with_picture(data, seed=4)
    items = list(worker.run(command_line(Run(job)), pack_inputs(job, data)))
    came = parcels_of(items)
    assert set(came) == {"preview", "frames", "clip"}
    last = items[-1]
    assert isinstance(last, str)
    finished = read_answer(last)
    assert isinstance(finished, Happened) and isinstance(finished.event, Finished)
    assert (np.load(unpack(came["frames"], data)) == 4).all()
    assert not [path for path in machine.root.rglob("*.*") if path.is_file()], "nothing of the job stays there"


def test_the_frames_come_back_from_a_job_that_fails_after_them(worker: NodeWorker, data: FileStore) -> None:
    job = job_with_picture(data, prompt="boom")
    items = list(worker.run(command_line(Run(job)), pack_inputs(job, data)))
    assert set(parcels_of(items)) == {"preview", "frames"}
    last = items[-1]
    assert isinstance(last, str)
    raised = read_answer(last)
    assert isinstance(raised, Raised) and raised.error["type"] == "storage_full"


def test_in_a_folder_that_the_app_shares_nothing_is_copied_or_removed(machine: FileStore) -> None:
    machine.token.write_text(TOKEN)
    worker = NodeWorker(TOKEN, 2, PROGRAM)
    try:
        assert worker.describe().shares_folder and worker.describe().code == code_digest()
        job = job_with_picture(machine, seed=4)
        items = list(worker.run(command_line(Run(job)), []))
        assert not parcels_of(items)
        assert machine.clip(job.id).is_file() and (np.load(machine.frames(job.id)) == 4).all()
        assert machine.picture(job.picture).is_file()
    finally:
        worker._backend.close()


def test_a_job_that_reuses_frames_takes_them_along(worker: NodeWorker, data: FileStore) -> None:
    source = job_with_picture(data)
    data.frames(source.id).write_bytes(b"frames")
    job = replace(source, id="0" * 36, frames_of=source.id)
    assert [(parcel.kind, parcel.id) for parcel in pack_inputs(job, data)] == [
        ("picture", source.picture),
        ("frames", source.id),
    ]
    assert set(parcels_of(list(worker.run(command_line(Run(job)), pack_inputs(job, data))))) == {"clip"}


def test_questions_about_the_same_picture_and_a_job_with_it_do_not_share_a_file(
    worker: NodeWorker, data: FileStore
) -> None:
    job, here = job_with_picture(data), worker._files
    parcels = pack_inputs(job, data)
    of_a_job = unpack(parcels[0], here)
    asked: list[str] = []

    def check(picture: str, prompt: str) -> None:
        """Another question comes and goes while this one is answered."""
        asked.append(picture)
        if len(asked) == 1:
            worker.answer(command_line(Check("second", job.picture, "a walk")), parcels)
        assert here.picture(picture).read_bytes() == data.picture(job.picture).read_bytes()

    worker._backend.check = check  # type: ignore[method-assign]
    assert read_answer(worker.answer(command_line(Check("first", job.picture, "a walk")), parcels)) == Passed("first")
    assert len(asked) == 2
    assert here.all_pictures() == [of_a_job]


def test_a_parcel_that_finds_no_room_is_an_error_in_words_and_leaves_nothing(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.clip("a").write_bytes(bytes(1000))
    parcel = pack(data, "clip", "a")
    assert parcel is not None and pack(data, "clip", "b") is None
    data.clip("a").unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BackendError, match="disk is full"):
        unpack(parcel, data)
    assert not list(data.clip("a").parent.iterdir())
