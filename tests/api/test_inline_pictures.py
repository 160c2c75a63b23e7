"""Pictures written out inside a request: read as they were sent, whatever the chunks, and gone when the job is made."""

import asyncio
import base64
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.conftest import BODY, Twin, a_twin
from tests.support.jobs import NO_FLOOR
from wan_core.api import local_file
from wan_core.api.inline_pictures import SplitBody
from wan_core.api.refusals import Refusal
from wan_core.api.upload_room import UploadRoom
from wan_core.api.uploads import UploadFolder
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.files import UPLOADED, FileStore
from wan_core.settings import Limits

LONG = bytes(range(256)) * 1000
SUBMIT = f"/queue/{IMAGE_TO_VIDEO.id}"


def uri(content: bytes = LONG, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def split(
    folder: Path, body: bytes, sizes: list[int], limits: Limits = NO_FLOOR
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The values of `body`, sent by chunks of these sizes over and over, and the files that were cut out of it."""

    async def write() -> tuple[dict[str, Any], dict[str, bytes]]:
        uploads = UploadFolder(folder, UploadRoom([folder], limits))
        with ExitStack() as files:
            parts, rest, number = SplitBody(uploads, files, limits), body, 0
            while rest:
                size = sizes[number % len(sizes)]
                await parts.write(rest[:size])
                rest, number = rest[size:], number + 1
            values = json.loads(parts.finish())
            parts.refuse_stray_pictures(values, ["image_url", "end_image_url"])
            return values, {path.name: path.read_bytes() for path in folder.iterdir()}

    return asyncio.run(write())


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1_000, 100_000) | st.integers(1, 50), min_size=1, max_size=5).filter(
        lambda s: max(s) > 900
    ),
    slashes=st.booleans(),
    blank=st.integers(0, 5000),
)
def test_a_picture_is_cut_out_whole_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], slashes: bool, blank: int
) -> None:
    folder = tmp_path_factory.mktemp("uploads")
    body = json.dumps({"prompt": "p" * blank, "image_url": uri(), "seed": 5})
    body = body.replace("/", r"\/") if slashes else body
    values, files = split(folder, body.encode(), sizes)
    ((name, content),) = files.items()
    assert values == {"prompt": "p" * blank, "image_url": UPLOADED + name, "seed": 5}
    assert content == LONG and name.endswith(".bin"), "what it is, the gate says"
    assert not list(folder.iterdir()), "nothing is left"


def in_lines(uri: str) -> str:
    head, _, text = uri.partition(",")
    return head + "," + "\n".join(text[start : start + 76] for start in range(0, len(text), 76))


@pytest.mark.parametrize(
    "spelling",
    [
        uri(kind="image/jpg"),
        uri(kind="application/octet-stream"),
        uri(kind="image/png;name=a.png"),
        uri(kind=""),
        in_lines(uri()),
        uri().rstrip("="),
        uri().replace("+", "%2B").replace("/", "%2F"),
    ],
    ids=["jpg", "octets", "named", "no type", "lines", "no padding", "percent"],
)
@pytest.mark.parametrize("size", [997, 64_000])
def test_a_long_picture_may_be_spelt_as_a_short_one(tmp_path: Path, spelling: str, size: int) -> None:
    values, files = split(tmp_path, json.dumps({"image_url": spelling}).encode(), [size])
    assert files[values["image_url"].removeprefix(UPLOADED)] == LONG


def test_two_pictures_are_two_files(tmp_path: Path) -> None:
    body = json.dumps({"image_url": uri(), "end_image_url": uri(LONG[::-1], "image/webp")}).encode()
    values, files = split(tmp_path, body, [60_000])
    names = [values[field].removeprefix(UPLOADED) for field in ("image_url", "end_image_url")]
    assert [files[name] for name in names] == [LONG, LONG[::-1]]


def test_a_short_body_stays_as_it_is(tmp_path: Path) -> None:
    body = {"image_url": uri(b"short"), "prompt": "a"}
    assert split(tmp_path, json.dumps(body).encode(), [7]) == (body, {})


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"image_url": "http://example.com/" + "a" * 300_000}, "Without pictures"),
        ({"image_url": uri(), "prompt": "x" * 300_000}, "Without pictures"),
        ({"image_url": "data:text/html," + "A" * 300_000}, "Without pictures"),
        ({"prompt": uri()}, "outside"),
        ({"x": [uri()]}, "outside"),
        ({"image_url": [uri()]}, "outside"),
        ({f"k{number}": uri() for number in range(5)}, "more than 4"),
        ({"image_url": uri() + "!"}, "base64"),
        ({"image_url": uri() + "A"}, "base64"),
        ({"image_url": uri(LONG + b"1") + "AAAA"}, "base64"),
        ({"image_url": uri().replace("A", " ", 1)}, "base64"),
    ],
    ids=range(11),
)
def test_what_is_no_picture_in_its_place_is_refused_and_leaves_nothing(
    tmp_path: Path, body: dict[str, Any], fault: str
) -> None:
    with pytest.raises((InputError, Refusal), match=fault):
        split(tmp_path, json.dumps(body).encode(), [64_000])
    assert not list(tmp_path.iterdir())


def test_a_picture_above_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    limits = replace(NO_FLOOR, max_upload_bytes=2_000_000)
    assert split(tmp_path, json.dumps({"image_url": uri(bytes(2_000_000))}).encode(), [64_000], limits)[1]
    with pytest.raises(InputError, match="larger than 2 MB"):
        split(tmp_path, json.dumps({"image_url": uri(bytes(2_000_001))}).encode(), [64_000], limits)
    assert not list(tmp_path.iterdir())


def test_a_job_reads_the_picture_and_keeps_nothing_of_how_it_came(data: FileStore) -> None:
    with a_twin(data) as twin:
        seen: list[tuple[Any, bytes]] = []
        read = twin.house.jobs._read_picture

        async def look(source: str | Path, use: Any) -> Any:
            path = local_file(data)(str(source))
            assert path is not None
            seen.append((source, path.read_bytes()))
            return await read(source, use)

        twin.house.jobs._read_picture = look
        record = twin.house.jobs.get(twin.submit(image_url=uri()))
        assert record is not None and record.job.inputs.image_url == ""
        assert [content for _, content in seen] == [LONG]
        assert not list(data.uploads.iterdir())


def test_an_upload_that_is_not_there_cannot_be_named(twin: Twin, data: FileStore) -> None:
    for name in ("upload:", "upload:x", "upload:../jobs.db", "upload:/etc/passwd"):
        assert local_file(data)(name) is None


def test_a_refused_request_leaves_no_file(twin: Twin, data: FileStore) -> None:
    answer = twin.http.post(SUBMIT, json=BODY | {"image_url": uri(), "num_frames": 3})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "num_frames"]
    assert not list(data.uploads.iterdir())
