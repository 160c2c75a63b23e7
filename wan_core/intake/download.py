"""Download from addresses that strangers typed. Knows nothing of pictures, jobs or settings.

Guarantees: each hop resolves its name once and is refused unless every address passes the rule; the connection goes to
a checked address, with TLS verified against the name; no proxy, cookie, credential or compression; one deadline and one
byte limit. Failed downloads raise `InputError`.
"""

import asyncio
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from ipaddress import ip_address
from pathlib import Path
from typing import IO

import httpx

from wan_core.intake.addresses import Address, AddressRule, public_addresses_only
from wan_core.intake.refusals import Refused, reported_at, too_large
from wan_core.intake.storing import store

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_USER_AGENT = "wan-image-to-video"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 1 << 20
_ADDRESSES_TRIED = 4


@dataclass(frozen=True)
class FetchLimits:
    """`total_s` runs from the first lookup to the last byte."""

    total_s: float = 20.0
    redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})


@cache
def _lookups() -> ThreadPoolExecutor:
    """Own threads: a silent name server must not exhaust the event loop's."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="lookup")


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """In the operating system's order of preference."""
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_lookups(), lookup)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Fetcher:
    """Keeps no connection between calls; may serve several event loops.

    `hosts`: names allowed on every hop, with subdomains; empty allows any. `tls`: None is httpx's default.
    `address_rule` and `resolver`: for tests, no setting reaches them.
    """

    def __init__(
        self,
        address_rule: AddressRule = public_addresses_only,
        resolver: Resolver = system_resolver,
        limits: FetchLimits = FetchLimits(),
        *,
        hosts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits
        self._address_rule = address_rule
        self._resolver = resolver
        self._hosts = tuple(hosts)
        self._given_tls = tls

    async def fetch(
        self, url: str, into: IO[bytes], *, max_bytes: int, accept: str = "*/*", field: str = "image_url"
    ) -> int:
        """Write the body to `into` and return its length; after an error `into` may hold a part.

        Raises InputError at `field`, BackendError on a full disk.
        """
        with reported_at(field):
            try:
                async with asyncio.timeout(self.limits.total_s):
                    return await self._follow(url, into, max_bytes, accept)
            except TimeoutError as error:
                raise Refused("file_download_error", self._too_slow()) from error
            except (httpx.InvalidURL, ValueError) as error:
                raise Refused("file_download_error", _NO_ADDRESS) from error
            except (httpx.HTTPError, httpx.StreamError, OSError) as error:
                raise Refused("file_download_error", _NO_CONNECTION) from error

    async def fetch_to(
        self, url: str, target: Path, *, max_bytes: int, accept: str = "*/*", field: str = "video"
    ) -> int:
        """Like `fetch`, into the file `target`, which appears complete or not at all; its folder must exist."""
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
            async with self._answer(hop, accept) as response:
                if response.status_code not in _REDIRECTS:
                    return await _receive(response, into, max_bytes)
                hop = _next_hop(hop, response)
        raise Refused("file_download_error", f"The address redirects more than {self.limits.redirects} times.")

    @asynccontextmanager
    async def _answer(self, url: httpx.URL, accept: str) -> AsyncIterator[httpx.Response]:
        addresses = await self._checked_addresses(url)
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            requests = [self._pinned(url, address, accept) for address in addresses[:_ADDRESSES_TRIED]]
            response = await _first_answer(transport, requests)
            try:
                yield response
            finally:
                await response.aclose()

    async def _checked_addresses(self, url: httpx.URL) -> list[Address]:
        """Look up once. Unknown and non-public names get the same sentence."""
        self._check(url)
        host = url.raw_host.decode("ascii")
        try:
            found = [ip_address(answer) for answer in await self._resolver(host, _port(url))]
        except (OSError, ValueError) as error:
            raise Refused("file_download_error", _not_public(host)) from error
        if not found or not all(self._address_rule(address) for address in found):
            raise Refused("file_download_error", _not_public(host))
        return found

    def _check(self, url: httpx.URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("file_download_error", _NO_ADDRESS)
        if url.userinfo:
            raise Refused("file_download_error", "The address carries a user name or password. Leave it out.")
        if _port(url) not in self.limits.ports:
            raise Refused("file_download_error", f"This server fetches from {self._ports()} only, not from another.")
        if self._hosts and not any(f".{url.host}".endswith(f".{host}") for host in self._hosts):
            raise Refused("file_download_error", f"This server fetches such files from {self._hosts[0]} only.")

    def _pinned(self, url: httpx.URL, address: Address, accept: str) -> httpx.Request:
        """Connect to `address`; the Host header and certificate check use the name."""
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": _USER_AGENT,
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        extensions = {
            "sni_hostname": url.raw_host.decode("ascii").rstrip("."),
            "timeout": httpx.Timeout(self.limits.total_s).as_dict(),
        }
        return httpx.Request("GET", url.copy_with(host=str(address)), headers=headers, extensions=extensions)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context(trust_env=False)

    def _ports(self) -> str:
        return "port " + " or ".join(str(port) for port in sorted(self.limits.ports))

    def _too_slow(self) -> str:
        return f"The file did not arrive within {self.limits.total_s:g} seconds. Try again, or upload it instead."


_NO_ADDRESS = "This is not an address this server can fetch. Give one that starts with http:// or https://."
_NO_CONNECTION = "The other server broke off or could not be reached safely. Try again, or upload the file instead."


def _not_public(host: str) -> str:
    return f"{host[:80]!r} was not found on the public internet. Check the address, or upload the file instead."


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _first_answer(transport: httpx.AsyncHTTPTransport, requests: Sequence[httpx.Request]) -> httpx.Response:
    """Try the next address only if the connection fails."""
    for request in requests[:-1]:
        try:
            return await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await transport.handle_async_request(requests[-1])


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
