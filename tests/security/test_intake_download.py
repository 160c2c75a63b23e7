"""What a hostile server may cost the web process."""

import asyncio
import os
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.intake.servers import Answer, answering, fetcher, serving
from wan_core.errors import InputError

pytestmark = pytest.mark.security

LIMIT = 25_000_000


def flooding(*headers: str) -> Answer:
    """A body without an end, a megabyte at a time."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode())
        while not writer.is_closing():
            writer.write(bytes(1_000_000))
            await writer.drain()

    return answer


def memory_mb() -> float:
    """The most memory this process has held since the last reset."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6


@pytest.mark.parametrize("headers", [["Connection: close"], ["Content-Length: 25000001"], ["Content-Encoding: gzip"]])
def test_a_flood_is_cut_off_at_the_limit_and_never_held_in_memory(headers: list[str]) -> None:
    async def fetch() -> int:
        async with serving(flooding(*headers)) as server:
            with TemporaryFile() as file:
                url = f"http://pictures.example:{server.port}/"
                with pytest.raises(InputError):
                    await fetcher(server, total_s=20).fetch(url, file, max_bytes=LIMIT)
                return os.fstat(file.fileno()).st_size

    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mb()
    assert asyncio.run(fetch()) <= LIMIT
    assert memory_mb() - before <= 40


def test_fifty_floods_at_once_are_cut_off_and_leave_an_honest_download_alone() -> None:
    async def fetch() -> tuple[int, bytes]:
        async with serving(flooding("Connection: close")) as hostile, serving(answering(b"honest")) as honest:
            fetch = fetcher(hostile, honest, total_s=20)
            url = "http://pictures.example:{}/".format
            with TemporaryFile() as file, BytesIO() as picture:
                floods = [fetch.fetch(url(hostile.port), file, max_bytes=1_000_000) for _ in range(50)]
                results = asyncio.gather(*floods, return_exceptions=True)
                await fetch.fetch(url(honest.port), picture, max_bytes=6)
                cut_off = [isinstance(result, InputError) for result in await results]
                return cut_off.count(True), picture.getvalue()

    assert asyncio.run(fetch()) == (50, b"honest")
