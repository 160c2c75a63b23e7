"""fal's storage as both clients use it: token and post, initiate and put; sizes, names, age and room."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from tests.api.conftest import Twin
from tests.support.jobs import NO_FLOOR
from wan_core import intake
from wan_core.api import local_file
from wan_core.api.keys import Passes
from wan_core.api.upload_room import UploadRoom
from wan_core.api.uploads import UploadFolder
from wan_core.errors import BackendError
from wan_core.files import FileStore
from wan_core.settings import Limits

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
ROOM = NO_FLOOR.max_upload_bytes


def initiate(twin: Twin, kind: str = "image/png", name: str = "a.png") -> dict[str, str]:
    body = {"file_name": name, "content_type": kind}
    answer = twin.http.post("/rest/storage/upload/initiate?storage_type=fal-cdn-v3", json=body)
    assert answer.status_code == 200
    return dict(answer.json())


def put(twin: Twin, url: str, content: bytes = PNG) -> int:
    return twin.http.put(url, content=content, headers={"content-type": "image/png"}).status_code


def test_a_token_and_a_post_make_a_public_file(twin: Twin) -> None:
    token = twin.http.post("/rest/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)
    assert token["base_url"] == "http://127.0.0.1:7860/cdn"
    headers = {"authorization": f"{token['token_type']} {token['token']}", "content-type": "image/png"}
    answer = twin.http.post("/cdn/files/upload", content=PNG, headers=headers | {"x-fal-file-name": "../../a.sh"})
    url = answer.json()["access_url"]
    assert url.startswith("http://127.0.0.1:7860/cdn/files/") and url.endswith(".png") and "sh" not in url
    served = twin.http.get(url)
    assert served.content == PNG and served.headers["content-type"] == "image/png"
    assert served.headers["x-content-type-options"] == "nosniff"


def test_an_initiated_file_is_put_without_a_key_and_found_again(twin: Twin) -> None:
    places = initiate(twin)
    assert put(twin, places["upload_url"]) == 200
    assert twin.http.get(places["file_url"]).content == PNG
    assert put(twin, places["upload_url"], b"again") == 200, "a client whose answer was lost puts once more"


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "BMP", "WEBP", "PNG", "JPEG"])
def test_every_kind_of_picture_that_an_upload_may_be_is_read_later(twin: Twin, data: FileStore, kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (320, 200), "teal").save(out, kind)
    places = initiate(twin, f"image/{kind.lower()}")
    assert put(twin, places["upload_url"], out.getvalue()) == 200
    reading = intake.read(
        places["file_url"], lambda picture: picture.size, fetch=intake.Fetcher(), local=local_file(data)
    )
    assert asyncio.run(reading) == (320, 200)


def test_a_put_needs_the_pass_of_its_own_address(twin: Twin) -> None:
    one, other = initiate(twin), initiate(twin)
    stolen = one["upload_url"].split("?")[0] + "?" + other["upload_url"].split("?")[1]
    for url in (one["file_url"], stolen, one["upload_url"] + "0", one["file_url"] + "?pass=9999999999.00"):
        assert put(twin, url) == 403


def test_whatever_is_uploaded_is_never_served_as_a_page(twin: Twin) -> None:
    places = initiate(twin, "text/html", "evil.html")
    put(twin, places["upload_url"], b"<script>")
    served = twin.http.get(places["file_url"])
    assert served.headers["content-type"] == "application/octet-stream"
    assert served.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("extra", [0, 1])
def test_25_mb_are_taken_and_one_byte_more_is_not(twin: Twin, extra: int) -> None:
    places = initiate(twin)
    answer = twin.http.put(places["upload_url"], content=bytes(ROOM + extra))
    assert answer.status_code == (413 if extra else 200)
    assert (twin.http.get(places["file_url"]).status_code == 404) == bool(extra)


def test_an_undeclared_length_is_counted(twin: Twin) -> None:
    places = initiate(twin)
    answer = twin.http.put(places["upload_url"], content=(bytes(1_000_000) for _ in range(26)))
    assert answer.status_code == 413
    fault = answer.json()["detail"][0]
    assert fault["type"] == "file_too_large" and fault["ctx"] == {"max_size": ROOM}
    assert list(twin.house.jobs.files.uploads.iterdir()) == [], "nothing of it is left"


@pytest.mark.parametrize(
    "path", ["/rest/storage/upload/initiate-multipart?storage_type=fal-cdn-v3", "/cdn/files/upload/multipart"]
)
def test_a_file_in_parts_is_too_large_from_the_start(twin: Twin, path: str) -> None:
    answer = twin.http.post(path, json={"file_name": "a", "content_type": "image/png"})
    assert answer.status_code == 413 and answer.json()["detail"][0]["type"] == "file_too_large"


def test_an_uploaded_address_is_a_file_on_disk_whatever_the_host_is_called(twin: Twin, data: FileStore) -> None:
    places = initiate(twin)
    put(twin, places["upload_url"])
    find, name = local_file(data), places["file_url"].rpartition("/")[2]
    path = data.uploads / name
    for url in (places["file_url"], f"https://x.hf.space/cdn/files/{name}", f"https://v3.fal.media/files/{name}?a=1"):
        assert find(url) == path


def test_a_clip_of_this_server_is_found_too_and_nothing_else(twin: Twin, data: FileStore) -> None:
    find, clip_id = local_file(data), twin.ended(twin.submit())
    assert find(f"http://127.0.0.1:7860/files/{clip_id}.mp4") == data.clip(clip_id)
    for url in (
        f"file:///files/{clip_id}.mp4",
        f"{clip_id}.mp4",
        f"http://a/{clip_id}.mp4",
        "http://a/files/../jobs.db",
        "http://a/files/%2e%2e%2fjobs.db",
        f"http://a/files/{clip_id}.png",
        "http://[/files/a.mp4",
        "data:image/png;base64,AAAA",
        "",
    ):
        assert find(url) is None


def test_passes_end() -> None:
    clock = [1000.0]
    passes = Passes(now=lambda: clock[0])
    given = passes.issue("a", 10)
    assert passes.allows("a", given) and not passes.allows("b", given) and not Passes().allows("a", given)
    clock[0] = 1011.0
    assert not passes.allows("a", given)
    for odd in ("", ".", "9", "٣.", "9999999999", given.upper() + "é", "1e9." + given):
        assert not passes.allows("a", odd)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def cut_off() -> AsyncIterator[bytes]:
    yield b"half"
    raise ConnectionError


def aged(path: Path, age_s: float, content: bytes = b"x") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def kept(folder: Path, limits: Limits = NO_FLOOR) -> UploadFolder:
    return UploadFolder(folder, UploadRoom([folder], limits))


def test_a_full_disk_takes_no_file(tmp_path: Path) -> None:
    folder = kept(tmp_path, replace(NO_FLOOR, free_disk_bytes=10**18))
    with pytest.raises(BackendError) as refusal:
        asyncio.run(folder.write("a", chunks(b"x"), 1))
    assert refusal.value.type == "storage_full" and list(tmp_path.iterdir()) == []


def test_a_file_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    with pytest.raises(BackendError):
        asyncio.run(folder.write("a", cut_off(), 10))
    assert list(tmp_path.iterdir()) == []
    asyncio.run(folder.write("a", chunks(b"one ", b"two"), 7))
    assert (tmp_path / "a").read_bytes() == b"one two"
