"""The gate judges a picture when it is chosen; the page shows what the engine will see, or the sentence."""

import asyncio
import base64
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from tests.support.jobs import a_house
from wan_core import geometry, intake, ui
from wan_core.errors import BackendError
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.jobs.limits import Client
from wan_core.jobs.service import JobService
from wan_core.settings import Settings
from wan_core.ui.picture_check import PictureCheck, SeenPicture, cropped, picture_key, size_of

ASKED: list[object] = []


async def gate(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
    ASKED.append(source)
    return await intake.read(source, use, fetch=intake.Fetcher(), local=lambda url: None, uploads=ui.uploads_folder())


@pytest.fixture
def check(data: FileStore) -> Any:
    ASKED.clear()
    with a_house(data, read_picture=gate) as house, gr.Blocks():
        yield PictureCheck(house.jobs, Settings(), gr.State(), gr.HTML())


def read(
    check: PictureCheck, caller: gr.Request, picture: Path | None, address: str = "", seen: Any = None
) -> SeenPicture | None:
    async def last() -> Any:
        async for part in check.read(caller, seen, str(picture) if picture else None, address):
            shown = part
        return shown

    answer: SeenPicture | None = asyncio.run(last())[check.seen]
    return answer


@pytest.fixture
def turned(uploads: Path) -> Path:
    """A wide photo, red on its left, that its EXIF turns upright: red on top."""
    picture = Image.new("RGB", (320, 160), "blue")
    picture.paste("red", (0, 0, 100, 160))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(uploads / "turned.jpg", exif=exif, quality=95)
    return uploads / "turned.jpg"


def pixels(html: str) -> np.ndarray[Any, Any]:
    data = re.search(r'src="data:image/webp;base64,([^"]+)"', html)
    assert data
    return np.asarray(Image.open(BytesIO(base64.b64decode(data[1]))).convert("RGB")).astype(int)


def test_a_turned_photo_is_shown_upright_and_cropped_as_the_engine_crops_it(
    check: PictureCheck, caller: gr.Request, turned: Path
) -> None:
    seen = read(check, caller, turned)
    assert seen is not None and seen.size == Size(160, 320)
    shown = pixels(check.show(seen, str(turned), "", "480p", "1:1"))
    assert shown.shape == (240, 240, 3)
    upright = asyncio.run(gate(turned, lambda picture: picture))
    assert np.abs(shown - np.asarray(geometry.fit(upright, Size(240, 240))).astype(int)).mean() < 8
    tall = pixels(check.show(seen, str(turned), "", "480p", "9:16"))
    assert tall.shape[:2] == (240, 138) and tall[10, 60, 0] > 200, "red on top"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"not a picture", "not a picture"), (b"\xff\xd8\xff\xe0 cut off", "damaged")],
)
def test_a_file_that_cannot_be_used_gets_the_gates_sentence(
    check: PictureCheck, caller: gr.Request, uploads: Path, content: bytes, sentence: str
) -> None:
    file = uploads / "a.jpg"
    file.write_bytes(content)
    seen = read(check, caller, file)
    shown = check.show(seen, str(file), "", "480p", "auto")
    assert sentence in shown and 'class="said fault"' in shown
    assert size_of(seen, file) is None


def test_a_path_outside_the_uploads_is_not_looked_at(check: PictureCheck, caller: gr.Request) -> None:
    seen = read(check, caller, Path("/etc/hostname"))
    assert seen is not None and "not among the uploads" in seen.sentence


def test_an_address_is_judged_too_and_a_known_picture_is_not_read_again(
    check: PictureCheck, caller: gr.Request
) -> None:
    stored = BytesIO()
    Image.new("RGB", (64, 48), "teal").save(stored, "PNG")
    address = "data:image/png;base64," + base64.b64encode(stored.getvalue()).decode()
    seen = read(check, caller, None, f" {address} ")
    assert size_of(seen, address) == Size(64, 48)
    assert read(check, caller, None, address, seen) is seen and len(ASKED) == 1
    private = read(check, caller, None, "http://127.0.0.1/a.png", seen)
    assert private is not None and private.is_refused and private.sentence


def test_what_is_known_of_another_picture_is_not_shown(check: PictureCheck, caller: gr.Request, turned: Path) -> None:
    seen = read(check, caller, turned)
    assert check.show(seen, None, "https://example.com/a.png", "480p", "auto") == ""
    assert size_of(seen, "https://example.com/a.png") is None
    assert read(check, caller, None, "", seen) is None


def test_a_busy_server_is_no_fault_of_the_picture(check: PictureCheck, caller: gr.Request, turned: Path) -> None:
    seen = SeenPicture(picture_key(turned), sentence=busy().message)
    assert 'class="said small"' in check.show(seen, str(turned), "", "480p", "auto")


def busy() -> BackendError:
    return BackendError("too_many_jobs", "Too many pictures are being read now.")


def test_a_thumbnail_is_small(turned: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (640, 640, 3), np.uint8))
    stored = BytesIO()
    noise.save(stored, "JPEG")
    size, data = cropped(stored.getvalue(), Size(1280, 720))
    assert (size.width, size.height) == (240, 135) and len(data) < 60_000


def test_clients_get_their_share_of_the_gate_and_all_together_its_bound(data: FileStore, turned: Path) -> None:
    async def crowd(jobs: JobService, names: str) -> list[object]:
        asked = [jobs.preview_picture(turned, Client.by_key(name)) for name in names]
        return await asyncio.gather(*asked, return_exceptions=True)

    with a_house(data, read_picture=gate, per_client=True) as house:
        for names, refused in (("aaab", 1), ("abcdefghij", 2), ("aab", 0)):
            answers = asyncio.run(crowd(house.jobs, names))
            assert sum(isinstance(answer, BackendError) for answer in answers) == refused, names
    assert not any(path.suffix == ".png" for path in data.root.rglob("*")), "nothing is stored"
