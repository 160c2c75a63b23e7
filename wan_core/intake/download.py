"""Download from addresses that strangers typed. Knows nothing of pictures, jobs or settings.

Each hop is one request of `Outgoing`; one deadline and one byte limit. Failed downloads raise `InputError`.
"""

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import httpx

from wan_core.intake.addresses import AddressRule, public_addresses_only
from wan_core.intake.outgoing import FETCH_LIMITS, NO_ADDRESS, FetchLimits, Outgoing, Resolver, system_resolver
from wan_core.intake.refusals import Refused, reported_at, too_large
from wan_core.intake.storing import store

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 20
_NO_CONNECTION = "The other server broke off or could not be reached safely. Try again, or upload the file instead."


class Fetcher:
    """Keeps no connection; may serve several event loops. `hosts`: allowed on every hop. The rest is `Outgoing`'s."""

    def __init__(
        self,
        address_rule: AddressRule = public_addresses_only,
        resolver: Resolver = system_resolver,
        limits: FetchLimits = FETCH_LIMITS,
        *,
        hosts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits
        self._outgoing = Outgoing(address_rule, resolver, limits, hosts=hosts, tls=tls)

    async def fetch(
        self, url: str, into: IO[bytes], *, max_bytes: int, accept: str = "*/*", field: str = "image_url"
    ) -> int:
        """Return the length; after an error `into` may hold a part.

        Raises InputError at `field`, BackendError on a full disk.
        """
        with reported_at(field):
            try:
                async with asyncio.timeout(self.limits.total_s):
                    return await self._follow(url, into, max_bytes, accept)
            except TimeoutError as error:
                raise Refused("file_download_error", self._too_slow()) from error
            except (httpx.InvalidURL, ValueError) as error:
                raise Refused("file_download_error", NO_ADDRESS) from error
            except (httpx.HTTPError, httpx.StreamError, OSError) as error:
                raise Refused("file_download_error", _NO_CONNECTION) from error

    async def fetch_to(
        self, url: str, target: Path, *, max_bytes: int, accept: str = "*/*", field: str = "video"
    ) -> int:
        """`target` appears complete or not at all; its folder must exist."""
        partial_file = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with partial_file.open("xb", buffering=0) as into:
                length = await self.fetch(url, into, max_bytes=max_bytes, accept=accept, field=field)
            partial_file.replace(target)
        finally:
            partial_file.unlink(missing_ok=True)
        return length

    async def _follow(self, url: str, into: IO[bytes], max_bytes: int, accept: str) -> int:
        hop = httpx.URL(url)
        for _ in range(self.limits.redirects + 1):
            async with self._outgoing.answer("GET", hop, {"Accept": accept}) as response:
                if response.status_code not in _REDIRECTS:
                    return await _receive(response, into, max_bytes)
                hop = _next_hop(hop, response)
        raise Refused("file_download_error", f"The address redirects more than {self.limits.redirects} times.")

    def _too_slow(self) -> str:
        return f"The file did not arrive within {self.limits.total_s:g} seconds. Try again, or upload it instead."


def _next_hop(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    location = response.headers.get("location")
    if not location:
        raise Refused("file_download_error", "The address redirects to nowhere. Give the file's own address.")
    return url.join(location)


async def _receive(response: httpx.Response, into: IO[bytes], max_bytes: int) -> int:
    if response.status_code != 200:
        raise Refused("file_download_error", f"The other server answered {response.status_code} instead of the file.")
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Refused("file_download_error", "The other server sends the file compressed although asked not to.")
    if int(response.headers.get("content-length", "0")) > max_bytes:
        raise too_large(max_bytes)
    received = 0
    async for chunk in response.aiter_raw(_CHUNK_BYTES):
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        store(chunk, into)
    return received
