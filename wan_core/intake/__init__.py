"""The gate for everything untrusted: `read` a picture, or download a file with `Fetcher`.

Knows nothing of jobs, pages, settings or models.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TypeVar

from PIL import Image

from wan_core.intake.addresses import AddressRule, public_addresses_only
from wan_core.intake.data_uris import Base64File, data_uri_bytes, is_data_uri
from wan_core.intake.decoder import PICTURE_LIMITS, PictureLimits
from wan_core.intake.download import Fetcher
from wan_core.intake.formats import SUPPORTED_FORMATS
from wan_core.intake.images import decode
from wan_core.intake.outgoing import FetchLimits, Resolver
from wan_core.intake.posting import Poster, Unreachable
from wan_core.intake.refusals import Refused, reported_at
from wan_core.intake.storing import stored, unnamed_file
from wan_core.intake.uploads import open_regular, uploaded

__all__ = [
    "SUPPORTED_FORMATS",
    "AddressRule",
    "Base64File",
    "FetchLimits",
    "Fetcher",
    "Local",
    "PictureLimits",
    "Poster",
    "Refused",
    "Resolver",
    "Unreachable",
    "public_addresses_only",
    "read",
    "reported_at",
]

Local = Callable[[str], Path | None]
"""URL of this server's own upload or result → its file; None for others."""

T = TypeVar("T")


async def read(
    source: str | Path,
    use: Callable[[Image.Image], T],
    *,
    field: str = "image_url",
    fetch: Fetcher,
    local: Local,
    uploads: Path | None = None,
    limits: PictureLimits = PICTURE_LIMITS,
) -> T:
    """What `use` makes, in a thread, of one upright 8-bit RGB picture: first frame, transparency on white, no metadata.

    `source`: an http(s) URL, a data URI, or a `Path` under `uploads`; a `str` is never a path. Pictures above
    `limits.kept_pixels` are scaled down. Raises InputError at `field`, or BackendError `storage_full`.
    """
    with reported_at(field):
        file = await _opened(source, field, fetch, local, uploads, limits.max_bytes)
        return await decode(file, use, limits)


async def _opened(
    source: str | Path, field: str, fetch: Fetcher, local: Local, uploads: Path | None, max_bytes: int
) -> IO[bytes]:
    if isinstance(source, Path):
        return open_regular(_own(source, uploads), max_bytes)
    source = source.strip()
    if is_data_uri(source):
        return stored(await asyncio.to_thread(data_uri_bytes, source, max_bytes))
    path = local(source)
    if path is not None:
        return open_regular(path, max_bytes)
    return await _fetched(source, field, fetch, max_bytes)


def _own(path: Path, uploads: Path | None) -> Path:
    if uploads is None:
        raise Refused("file_download_error", "Files on this server cannot be named here. Upload the picture.")
    return uploaded(path, uploads)


async def _fetched(url: str, field: str, fetch: Fetcher, max_bytes: int) -> IO[bytes]:
    """To an unlinked file, so that 25 MB stay out of memory."""
    with ExitStack() as closing:
        file = closing.enter_context(unnamed_file())
        await fetch.fetch(url, file, max_bytes=max_bytes, accept=", ".join(SUPPORTED_FORMATS), field=field)
        closing.pop_all()
        return file
