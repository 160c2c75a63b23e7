"""Send pictures to fal; fetch clips through `intake`, whole or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import fal_client
from PIL import Image

from wan_core import encoding
from wan_core.backends.fal.retry import CancelToken, Timeouts
from wan_core.encoding import EncodedClip
from wan_core.errors import BackendError, Cancelled, InputError
from wan_core.intake import Fetcher

MAX_INLINE_BYTES = 7_000_000  # 9.3 MB as a data URI; fal's toolkit takes up to 10 MiB
DOWNLOADS = 3


def image_url(picture: Path, store: Callable[[bytes, str], str]) -> str:
    """A data URI, or what `store(bytes, media_type)` returns."""
    content, media_type = picture_bytes(picture)
    if len(content) <= MAX_INLINE_BYTES:
        return fal_client.encode(content, media_type)
    return store(content, media_type)


def picture_bytes(path: Path) -> tuple[bytes, str]:
    """With the media type: PNG, or JPEG if too big for a data URI."""
    if path.stat().st_size <= MAX_INLINE_BYTES:
        return path.read_bytes(), "image/png"
    with Image.open(path) as picture, BytesIO() as buffer:
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
        return buffer.getvalue(), "image/jpeg"


class Collector:
    """From `hosts` and their subdomains only."""

    def __init__(self, fetcher: Fetcher, hosts: tuple[str, ...], max_bytes: int, timeouts: Timeouts) -> None:
        self._fetcher, self._hosts, self._max_bytes, self._timeouts = fetcher, hosts, max_bytes, timeouts

    def collect(self, url: str, target: Path, token: CancelToken) -> EncodedClip:
        """Errors name the URL if it is fal's.

        Raises:
            BackendError: not fal's address, too large, no mp4, or not fetched in three tries.
            Cancelled: `token` was set.
        """
        if not self._is_fals(url):
            raise BackendError("downstream_service_error", "fal named a clip outside its own hosts; it was not opened.")
        for attempt in range(DOWNLOADS):
            token.wait(attempt * self._timeouts.poll_s)
            if self._fetch(url, target, token):
                return _probe_clip(target, url)
        raise BackendError("file_download_error", f"The clip is ready but could not be fetched. It lies at {url}")

    def _fetch(self, url: str, target: Path, token: CancelToken) -> bool:
        """`False` if a retry may help."""
        fetch = partial(self._fetcher.fetch_to, url, target, max_bytes=self._max_bytes, accept="video/*")
        try:
            asyncio.run(_run_until_cancelled(fetch(), token, self._timeouts.poll_s))
        except InputError as refused:
            if refused.type == "file_too_large":
                most = f"{self._max_bytes / 1_000_000:g} MB"
                sentence = f"The clip is larger than {most} and was not fetched. It lies at {url}"
                raise BackendError("file_too_large", sentence) from refused
            return False
        return True

    def _is_fals(self, url: str) -> bool:
        try:
            name = urlsplit(url).hostname or ""
        except ValueError:
            return False
        return any(f".{name}".endswith(f".{host}") for host in self._hosts)


async def _run_until_cancelled(work: Awaitable[object], token: CancelToken, poll_s: float) -> None:
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=poll_s))[0]:
        if token.requested.is_set():
            task.cancel()
            await asyncio.wait([task])
            raise Cancelled()
    await task


def _probe_clip(clip: Path, url: str) -> EncodedClip:
    """Deletes what is no mp4 before anything decodes it."""
    try:
        with clip.open("rb") as file:
            if file.read(8)[4:] == b"ftyp":
                return encoding.probe(clip)
    except (BackendError, ArithmeticError, LookupError, ValueError):
        pass
    clip.unlink()
    raise BackendError("downstream_service_error", f"What fal sent as the clip is no whole mp4. It lies at {url}")
