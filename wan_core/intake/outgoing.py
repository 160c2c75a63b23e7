"""Requests to addresses that strangers typed. Knows nothing of pictures, jobs or settings.

A name is resolved once and refused unless every address passes the rule; the connection goes to a checked address, with
TLS verified against the name. No proxy, cookie, credential or compression.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from ipaddress import ip_address

import httpx

from wan_core.intake.addresses import Address, AddressRule, public_addresses_only
from wan_core.intake.refusals import Refused

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_USER_AGENT = "wan-image-to-video"
_ADDRESSES_TRIED = 4
NO_ADDRESS = "This is not an address this server can fetch. Give one that starts with http:// or https://."


@dataclass(frozen=True)
class FetchLimits:
    """`total_s` runs from the first lookup to the last byte."""

    total_s: float = 20.0
    redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})


FETCH_LIMITS = FetchLimits()


class NameNotFound(Refused):
    """Nobody knows the name now; later somebody may."""


@cache
def _lookups() -> ThreadPoolExecutor:
    """Own threads: a silent name server must not exhaust the event loop's."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="lookup")


async def system_resolver(host: str, port: int) -> Sequence[str]:
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_lookups(), lookup)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Outgoing:
    """Keeps no connection between requests; may serve several event loops.

    `hosts`: with subdomains; empty allows any. `address_rule` and `resolver` are for tests.
    """

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
        self._address_rule = address_rule
        self._resolver = resolver
        self._hosts = tuple(hosts)
        self._given_tls = tls

    @asynccontextmanager
    async def answer(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """One hop, the body unread. Raises Refused, or what httpx raises."""
        addresses = await self._checked_addresses(url)
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            tried = addresses[:_ADDRESSES_TRIED]
            requests = [self._pinned(method, url, address, headers, content) for address in tried]
            response = await _first_answer(transport, requests)
            try:
                yield response
            finally:
                await response.aclose()

    def check(self, url: httpx.URL) -> None:
        """Raises Refused, whatever the name resolves to."""
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("file_download_error", NO_ADDRESS)
        if url.userinfo:
            raise Refused("file_download_error", "The address carries a user name or password. Leave it out.")
        if _port(url) not in self.limits.ports:
            raise Refused("file_download_error", f"This server fetches from {self._ports()} only, not from another.")
        if self._hosts and not any(f".{url.host}".endswith(f".{host}") for host in self._hosts):
            raise Refused("file_download_error", f"This server fetches such files from {self._hosts[0]} only.")

    async def _checked_addresses(self, url: httpx.URL) -> list[Address]:
        """Unknown and non-public names get the same sentence."""
        self.check(url)
        host = url.raw_host.decode("ascii")
        try:
            found = [ip_address(answer) for answer in await self._resolver(host, _port(url))]
        except (OSError, ValueError) as error:
            raise NameNotFound("file_download_error", _not_public(host)) from error
        if not found or not all(self._address_rule(address) for address in found):
            raise Refused("file_download_error", _not_public(host))
        return found

    def _pinned(
        self, method: str, url: httpx.URL, address: Address, headers: Mapping[str, str], content: bytes | None
    ) -> httpx.Request:
        """Connects to `address`; Host header and certificate check use the name."""
        own = {"Host": url.netloc.decode("ascii"), "User-Agent": _USER_AGENT}
        ours = {**own, **headers, "Accept-Encoding": "identity", "Connection": "close"}
        extensions = {
            "sni_hostname": url.raw_host.decode("ascii").rstrip("."),
            "timeout": httpx.Timeout(self.limits.total_s).as_dict(),
        }
        there = url.copy_with(host=str(address))
        return httpx.Request(method, there, headers=ours, content=content, extensions=extensions)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context(trust_env=False)

    def _ports(self) -> str:
        return "port " + " or ".join(str(port) for port in sorted(self.limits.ports))


def _not_public(host: str) -> str:
    return f"{host[:80]!r} was not found on the public internet. Check the address, or upload the file instead."


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _first_answer(transport: httpx.AsyncHTTPTransport, requests: Sequence[httpx.Request]) -> httpx.Response:
    """The next address only if the connection fails."""
    for request in requests[:-1]:
        try:
            return await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await transport.handle_async_request(requests[-1])
