"""All uploads share one room, in all and for each visitor; the oldest make room, and what has no room is told so."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.api.test_uploads import aged
from tests.support.jobs import NO_FLOOR
from wan_core.api.body_guard import PAGE_UPLOAD
from wan_core.api.page_uploads import PageUploads
from wan_core.api.upload_room import UploadRoom
from wan_core.errors import BackendError
from wan_core.settings import Settings

SMALL = replace(NO_FLOOR, keep_bytes=10_000)  # a room of 1,000 bytes, 100 for each visitor


def take(room: UploadRoom, size: int, client: str = "a") -> None:
    async def hold() -> None:
        async with room.hold(size, client):
            pass

    asyncio.run(hold())


def test_files_are_kept_for_a_day_and_their_empty_folders_go_with_them(tmp_path: Path) -> None:
    old, young = aged(tmp_path / "hash" / "old.png", 90_000), aged(tmp_path / "lent" / "young.png", 80_000)
    UploadRoom([tmp_path], NO_FLOOR).tidy()
    assert not old.parent.exists() and young.exists()


def test_the_oldest_of_all_folders_make_room_but_young_ones_are_never_taken_away(tmp_path: Path) -> None:
    page, api = tmp_path / "page", tmp_path / "api"
    room = UploadRoom([page, api], SMALL)
    files = [aged(page / "1", 9000, bytes(600)), aged(api / "2", 8000, bytes(600)), aged(page / "3", 5, bytes(300))]
    take(room, 100)
    assert [file.exists() for file in files] == [False, True, True]
    with pytest.raises(BackendError, match="no room"):
        take(room, 900)
    assert [file.exists() for file in files] == [False, False, True], "those who ask for too much get no more either"


def test_files_that_are_still_coming_hold_their_room(tmp_path: Path) -> None:
    room = UploadRoom([tmp_path], SMALL)

    async def both() -> None:
        async with room.hold(600):
            with pytest.raises(BackendError):
                async with room.hold(600):
                    pass
        async with room.hold(400):
            pass

    asyncio.run(both())


def test_the_floor_counts_what_is_still_coming(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no room"):
        take(UploadRoom([tmp_path], replace(NO_FLOOR, keep_bytes=10**20)), 10**18)


def test_one_visitor_has_a_share_and_gets_it_back_after_ten_minutes(tmp_path: Path) -> None:
    clock = [1000.0]
    room = UploadRoom([tmp_path], SMALL, lambda: clock[0], per_client=True)
    take(room, 90)
    with pytest.raises(BackendError, match="One visitor") as refusal:
        take(room, 90)
    assert refusal.value.retry_after_s
    take(room, 90, "b")
    clock[0] += 601
    take(room, 90)


def test_a_file_that_vanishes_while_the_folders_are_read_is_no_fault(tmp_path: Path) -> None:
    def now() -> float:
        for path in tmp_path.glob("*.part"):
            path.unlink()
        return time.time()

    for name in ("a.part", "b.part"):
        (tmp_path / name).write_bytes(b"x")
    UploadRoom([tmp_path], NO_FLOOR, now).tidy()


@pytest.mark.parametrize("limits", [SMALL, replace(NO_FLOOR, free_disk_bytes=10**18)], ids=["quota", "floor"])
def test_an_upload_of_the_page_without_room_is_a_plain_sentence_and_never_reaches_gradio(
    tmp_path: Path, limits: object
) -> None:
    seen: list[bytes] = []

    async def keep(request: Request) -> Response:
        seen.append(await request.body())
        return PlainTextResponse("kept")

    room = UploadRoom([tmp_path], limits)  # type: ignore[arg-type]
    app = PageUploads(Starlette(routes=[Route(PAGE_UPLOAD, keep, methods=["POST"])]), room, Settings())
    with TestClient(app) as http:
        refused = http.post(PAGE_UPLOAD, content=bytes(2000))
        assert (refused.status_code, refused.text) == (503, "This server has no room for more files. Try again later.")
        assert refused.headers["retry-after"] == "600" and not seen
        if limits is SMALL:
            assert http.post(PAGE_UPLOAD, content=bytes(500)).text == "kept"


def test_an_upload_that_cannot_be_deleted_keeps_no_other_from_going_in_its_time(tmp_path: Path) -> None:
    stuck, ended = (tmp_path / f"{uuid4()}-{until}.png" for until in (1_600_000_000, 1_700_000_000))
    stuck.mkdir()
    ended.write_bytes(b"picture")
    for folder in ([tmp_path], [tmp_path / "none", tmp_path]):
        UploadRoom(folder, NO_FLOOR).drop_expired()
    assert [path.name for path in tmp_path.iterdir()] == [stuck.name]
