"""A full or read-only disk, wherever something is written: a sentence, never a traceback; free again, all is well."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import BODY, a_twin
from tests.intake.pictures import encoded, itself, photo
from tests.support.app import ROOT, data_uri
from tests.support.jobs import NO_FLOOR, SHORT, a_house
from tests.support.small_disk import fill, small_disk
from wan_core.backends.local import LocalBackend
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError
from wan_core.events import Failed, Finished
from wan_core.files import FileStore
from wan_core.intake.images import decode_now

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FileStore]:
    with small_disk(tmp_path / "disk", 8) as folder:
        yield FileStore(folder)


def test_a_job_on_a_full_disk_fails_with_a_sentence_and_leaves_nothing_and_the_next_one_is_made(
    disk: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_DATA_DIR", str(disk.root))
    with a_house(disk, LocalBackend(NO_FLOOR, lambda job: 300)) as house:
        picture = 700_000  # stored as it is, without compression
        for leave in (picture + 300_000, picture + 900_000):  # too little for the frames, and for the clip
            filler = fill(disk.root, leave)
            outcome = house.outcome(house.submit(**SHORT))
            assert isinstance(outcome, Failed | Finished)
            if isinstance(outcome, Failed):
                assert outcome.type == "storage_full" and outcome.message.endswith("disk is full.")
            filler.unlink()
        assert isinstance(house.outcome(house.submit(**SHORT)), Finished)


def test_a_submission_to_a_full_disk_is_503_with_a_sentence(disk: FileStore) -> None:
    with a_twin(disk) as twin:
        filler = fill(disk.root)
        answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY)
        assert answer.status_code == 503 and "disk is full" in answer.json()["message"]
        assert answer.headers["retry-after"]
        filler.unlink()
        assert twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY).status_code == 200


def test_a_full_temporary_folder_is_no_fault_of_the_picture(disk: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = disk.root / "picture.png"
    picture.write_bytes(encoded(photo(800, 800)))
    monkeypatch.setattr(tempfile, "tempdir", str(disk.root))
    for leave in (0, 20_000):
        filler = fill(disk.root, leave)
        with picture.open("rb") as file, pytest.raises(BackendError) as refused:
            decode_now(file, itself)
        assert refused.value.type == "storage_full"
        filler.unlink()


@pytest.mark.parametrize("in_the_way", ["data", "data/clips", "data/pictures"])
def test_a_data_folder_that_cannot_be_written_is_one_sentence_at_the_start(tmp_path: Path, in_the_way: str) -> None:
    file = tmp_path / in_the_way
    file.parent.mkdir(exist_ok=True)
    file.write_text("a file where a folder should be")
    command = [sys.executable, "-c", "import app; app.main()"]
    environment = {"WAN_DATA_DIR": str(tmp_path / "data"), "PATH": "/usr/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "set WAN_DATA_DIR to another folder" in done.stderr


def test_a_data_uri_is_not_kept_by_a_submission_that_found_no_room(disk: FileStore) -> None:
    with a_twin(disk) as twin:
        filler = fill(disk.root)
        twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | {"image_url": data_uri(256)})
        filler.unlink()
        assert not disk.all_files() and not list(disk.uploads.iterdir())
