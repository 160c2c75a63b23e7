"""The one door: whatever a visitor names as a picture, through every road in."""

import ast
import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.intake.pictures import encoded, photo, turned
from tests.intake.servers import answering, fetcher, serving
from wan_core import intake
from wan_core.errors import InputError
from wan_core.intake import Fetcher, PictureLimits
from wan_core.intake.addresses import Address

SMALL = PictureLimits(max_bytes=2_000)


async def read(source: str | Path, **options: Any) -> Image.Image:
    """The picture as it is."""
    return await intake.read(source, Image.Image.copy, **options)


def nobody_calls(address: Address) -> bool:
    raise AssertionError(f"a socket was wanted to {address}")


OFFLINE = Fetcher(nobody_calls)


def no_own_files(url: str) -> None:
    return None


def _refused(source: str | Path, **options: object) -> InputError:
    with pytest.raises(InputError) as refused:
        asyncio.run(read(source, fetch=OFFLINE, local=no_own_files, **options))  # type: ignore[arg-type]
    return refused.value


def test_a_picture_at_an_address_comes_out_upright() -> None:
    async def look() -> Image.Image:
        async with serving(answering(turned(photo(), 6, "JPEG"))) as server:
            url = f" http://pictures.example:{server.port}/photo.jpg\n"
            picture = await read(url, fetch=fetcher(server), local=no_own_files)
            assert "Accept: image/jpeg, image/png, image/webp" in server.requests[0]
            return picture

    assert (asyncio.run(look()).mode, asyncio.run(look()).size) == ("RGB", (32, 48))


def test_a_web_page_at_the_address_is_told_from_a_picture() -> None:
    async def look() -> None:
        async with serving(
            answering(b"<!doctype html><html>", "Content-Type: image/png", "Content-Length: 21")
        ) as server:
            await read(f"http://pictures.example:{server.port}/", fetch=fetcher(server), local=no_own_files)

    with pytest.raises(InputError) as refused:
        asyncio.run(look())
    assert (refused.value.type, refused.value.field) == ("image_load_error", "image_url")
    assert "web page" in refused.value.message


def test_a_data_uri_is_read_without_a_socket() -> None:
    source = "data:image/png;base64," + base64.b64encode(encoded(photo())).decode()
    assert asyncio.run(read(source, fetch=OFFLINE, local=no_own_files)).size == (48, 32)


def test_an_address_of_this_server_is_read_from_disk_without_a_socket(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(encoded(photo(), "JPEG"))
    own = {"https://me.example/cdn/files/1": tmp_path / "upload"}
    picture = asyncio.run(read("https://me.example/cdn/files/1", fetch=OFFLINE, local=own.get))
    assert picture.size == (48, 32)


def test_an_upload_of_this_server_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        asyncio.run(read("https://me.example/1", fetch=OFFLINE, local=lambda url: tmp_path / "gone"))
    assert refused.value.type == "file_download_error"


def test_a_file_from_the_upload_folder_is_read_whatever_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo(), "JPEG"))
    picture = asyncio.run(read(tmp_path / "photo.png", fetch=OFFLINE, local=no_own_files, uploads=tmp_path))
    assert picture.size == (48, 32)


def test_a_path_the_visitor_did_not_upload_is_refused(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret.png").write_bytes(encoded(photo()))
    assert _refused(tmp_path / "secret.png", uploads=tmp_path / "uploads").type == "file_download_error"


def test_no_path_is_taken_where_no_upload_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo()))
    assert _refused(tmp_path / "photo.png").type == "file_download_error"


def test_a_text_is_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo()))
    for source in (str(tmp_path / "photo.png"), (tmp_path / "photo.png").as_uri()):
        assert _refused(source, uploads=tmp_path).type == "file_download_error"


@pytest.mark.parametrize("road", ["data", "upload", "own"])
def test_every_road_has_the_same_limit_of_bytes(tmp_path: Path, road: str) -> None:
    content = encoded(photo()) + bytes(2_000)
    (tmp_path / "large.png").write_bytes(content)
    source: str | Path = {
        "data": "data:image/png;base64," + base64.b64encode(content).decode(),
        "upload": tmp_path / "large.png",
        "own": "https://me.example/1",
    }[road]
    with pytest.raises(InputError) as refused:
        asyncio.run(
            read(source, fetch=OFFLINE, local=lambda url: tmp_path / "large.png", uploads=tmp_path, limits=SMALL)
        )
    assert (refused.value.type, refused.value.context) == ("file_too_large", {"max_size": 2_000})


def test_the_refusal_stands_at_the_field_that_was_asked_for() -> None:
    assert _refused("nonsense", field="picture").field == "picture"


def test_after_any_refusal_the_next_honest_request_works() -> None:
    for source in ("", "data:image/png;base64,AAAA", "http://[", "data:x"):
        assert _refused(source).message
    test_a_data_uri_is_read_without_a_socket()


def test_the_room_imports_nothing_from_the_floors_above() -> None:
    allowed = ("wan_core.errors", "wan_core.intake", "PIL", "pillow_heif", "httpx")
    for file in Path(intake.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                standard = name.split(".")[0] in sys.stdlib_module_names
                assert standard or name.startswith(allowed), f"{file.name} imports {name}"


def test_the_child_reaches_nothing_but_pillow_and_its_own_files() -> None:
    folder, seen, waiting = Path(intake.__file__).parent, set[str](), ["decoder"]
    while waiting:
        seen.add(name := waiting.pop())
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert module.split(".")[0] in sys.stdlib_module_names or module.startswith(("PIL", "wan_core.intake."))
                waiting += [module.rpartition(".")[2]] if module.startswith("wan_core") else []
        waiting = [module for module in waiting if module not in seen]
    assert seen == {"decoder", "boxes", "colour", "exif", "hdr", "icc", "jpeg", "png", "truncation"}
