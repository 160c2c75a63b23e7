"""The child process: what it may do, what is believed of its answer, and how many there are."""

import asyncio
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.intake.pictures import decoded, encoded, gate, on_disk, photo, refusal
from wan_core.errors import BackendError
from wan_core.intake import decoding, images
from wan_core.intake.decoder import PICTURE_LIMITS
from wan_core.intake.formats import FORMATS

DECODER_FOLDER = decoding._DECODER_FOLDER


def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let `program` answer in the decoder's place."""
    main = textwrap.indent(program, "    ")
    (tmp_path / "decoder.py").write_text(f"import os, sys\ndef opener(format): pass\ndef main():\n{main}\n")
    (tmp_path / "forking.py").symlink_to(DECODER_FOLDER / "forking.py")
    monkeypatch.setattr(decoding, "_DECODER_FOLDER", tmp_path)


@pytest.fixture(autouse=True)
def no_idle_process() -> Iterator[None]:
    decoding._close_idle()
    yield
    decoding._close_idle()


@pytest.mark.parametrize(
    "program",
    [
        "os.abort()",
        "os._exit(0)",
        "os.kill(os.getpid(), 9)",
        "print('hello')",
        "print('picture 1 1 1')",
        "print('picture 99999 99999')",
        "print('picture 0 5')",
        "print('picture ' + '9' * 100_000)",
        "print('surprise 1 1')",
        "print('\\udcff')",
    ],
)
def test_a_child_that_dies_or_lies_is_a_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    impostor(tmp_path, monkeypatch, program)
    assert refusal(encoded(photo())).type == "image_load_error"


def test_a_child_that_hangs_is_ended_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impostor(tmp_path, monkeypatch, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: pass")
    refused = refusal(encoded(photo()), replace(PICTURE_LIMITS, wall_s=0.5))
    assert "too long" in refused.message
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_pixels_that_did_not_fit_on_the_disk_are_this_servers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor(tmp_path, monkeypatch, "print('picture 4 4', flush=True)\nos._exit(1)")
    with pytest.raises(BackendError) as failed:
        gate(encoded(photo()))
    assert failed.value.type == "storage_full"


def test_the_child_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    impostor(
        tmp_path,
        monkeypatch,
        "assert set(os.environ) <= {'LC_CTYPE'} and os.getcwd() == '/'\nprint('picture 1 1\\nabc', end='')",
    )
    assert gate(encoded(photo())).getpixel((0, 0)) == (97, 98, 99)


@pytest.mark.parametrize("format", [format.pillow for format in FORMATS])
def test_the_child_can_open_nothing_and_grow_no_further_once_it_is_locked(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = DECODER_FOLDER / "decoder.py"
    impostor(
        tmp_path,
        monkeypatch,
        f"""
import socket, importlib.util
sys.modules["wan_core.intake"].__path__ = [{str(decoder.parent)!r}]
spec = importlib.util.spec_from_file_location("decoder", {str(decoder)!r})
decoder = sys.modules["decoder"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(decoder)
decoder.opener({format!r})
decoder.lock(decoder.PictureLimits())
tries = [lambda: open("/etc/hostname"), lambda: open("/tmp/x", "w"), socket.socket, lambda: bytes(2 * 10**9), os.pipe]
for attempt in tries:
    try:
        attempt()
    except (OSError, MemoryError):
        continue
    os._exit(1)
decoder.answer("picture", (1, 1))
sys.stdout.buffer.write(b"abc")
""",
    )
    assert gate(encoded(photo())).size == (1, 1)


def test_however_many_visitors_come_two_children_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    run_child = images._run_child

    def counted(*arguments: Any) -> None:
        nonlocal running, most
        with lock:
            running, most = running + 1, max(most, running + 1)
        try:
            run_child(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(images, "_run_child", counted)

    async def visit() -> list[Image.Image]:
        files = [on_disk(encoded(photo())) for _ in range(8)]
        return await asyncio.gather(*(decoded(file) for file in files))

    assert [picture.size for picture in asyncio.run(visit())] == [(48, 32)] * 8
    assert most == 2


def test_the_event_loop_goes_on_while_a_picture_is_decoded() -> None:
    async def turns() -> int:
        task = asyncio.create_task(decoded(on_disk(encoded(photo()))))
        count = 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        await task
        return count

    assert asyncio.run(turns()) > 100


def test_a_visitor_who_leaves_is_let_go_and_the_file_closed_when_the_child_is_done() -> None:
    async def leave() -> None:
        files = [on_disk(encoded(photo())) for _ in range(4)]
        tasks = [asyncio.create_task(decoded(file)) for file in files]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        async with asyncio.timeout(30):
            while not all(file.closed for file in files):
                await asyncio.sleep(0.01)

    asyncio.run(leave())


def test_no_more_than_one_decoded_picture_is_in_memory_until_it_is_used() -> None:
    held, most, lock = 0, 0, threading.Lock()

    def use(picture: Image.Image) -> None:
        nonlocal held, most
        with lock:
            held, most = held + 1, max(most, held + 1)
        picture.resize((640, 640)).save(BytesIO(), "PNG")
        with lock:
            held -= 1

    async def visit() -> None:
        await asyncio.gather(*(images.decode(on_disk(encoded(photo())), use) for _ in range(8)))

    asyncio.run(visit())
    assert most == 1
