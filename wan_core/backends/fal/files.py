"""What travels as a file: the picture there, the clip back. The clip comes in through `intake`, like all that is not
ours, and lies on our disk whole or not at all."""

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

MAX_INLINE_BYTES = 7_000_000  # as a data URI this is 9.3 MB of text; fal's toolkit takes up to 10 MiB
DOWNLOADS = 3


def image_url(picture: Path, store: Callable[[bytes, str], str]) -> str:
    """The job's picture as fal takes it: a data URI, or the address that `store` gives for bytes and media type."""
    content, media_type = picture_bytes(picture)
    if len(content) <= MAX_INLINE_BYTES:
        return fal_client.encode(content, media_type)
    return store(content, media_type)


def picture_bytes(path: Path) -> tuple[bytes, str]:
    """The PNG itself, or a fine JPEG where that is too big for a data URI; and its media type."""
    if path.stat().st_size <= MAX_INLINE_BYTES:
        return path.read_bytes(), "image/png"
    with Image.open(path) as picture, BytesIO() as buffer:
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
        return buffer.getvalue(), "image/jpeg"


class Collector:
    """Fetches clips from `hosts` (with their subdomains) and from nowhere else, of at most `max_bytes`."""

    def __init__(self, fetcher: Fetcher, hosts: tuple[str, ...], max_bytes: int, timeouts: Timeouts) -> None:
        self._fetcher, self._hosts, self._max_bytes, self._timeouts = fetcher, hosts, max_bytes, timeouts

    def collect(self, url: str, target: Path, token: CancelToken) -> EncodedClip:
        """Write the clip at `url` to `target`. Every error but Cancelled says where the clip lies.

        Raises:
            BackendError: the address is not fal's, the clip is too large, no video, or does not come.
            Cancelled: somebody wished to stop.
        """
        if not self._is_fals(url):
            raise BackendError("downstream_service_error", "fal named a clip outside its own hosts; it was not opened.")
        for attempt in range(DOWNLOADS):
            token.wait(attempt * self._timeouts.poll_s)
            if self._fetch(url, target, token):
                return _probe_clip(target, url)
        raise BackendError("file_download_error", f"The clip is ready but could not be fetched. It lies at {url}")

    def _fetch(self, url: str, target: Path, token: CancelToken) -> bool:
        """Whether the file is there now; `False` if it may come another time."""
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
    """Do `work`; end it with Cancelled if somebody wishes to stop meanwhile."""
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=poll_s))[0]:
        if token.requested.is_set():
            task.cancel()
            await asyncio.wait([task])
            raise Cancelled()
    await task


def _probe_clip(clip: Path, url: str) -> EncodedClip:
    """What the clip holds, by its packets. A file that is no mp4 is removed before anything tries to read it as one."""
    try:
        with clip.open("rb") as file:
            if file.read(8)[4:] == b"ftyp":
                return encoding.probe(clip)
    except (BackendError, ArithmeticError, LookupError, ValueError):
        pass
    clip.unlink()
    raise BackendError("downstream_service_error", f"What fal sent as the clip is no whole mp4. It lies at {url}")
