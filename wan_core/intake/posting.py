"""Post messages to addresses that strangers typed."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address

import httpx

from wan_core.intake.addresses import AddressRule, public_addresses_only
from wan_core.intake.outgoing import FetchLimits, NameNotFound, Outgoing, Resolver, system_resolver
from wan_core.intake.refusals import Refused

POST_LIMITS = FetchLimits(total_s=15.0)


class Unreachable(Exception):
    """The message did not arrive; another try may help."""


class Poster:
    """Follows no redirect and reads no answer's body. `address_rule` and `resolver`: for tests."""

    def __init__(
        self,
        address_rule: AddressRule = public_addresses_only,
        resolver: Resolver = system_resolver,
        limits: FetchLimits = POST_LIMITS,
    ) -> None:
        self._limits = limits
        self._address_rule = address_rule
        self._outgoing = Outgoing(address_rule, resolver, limits)

    def accepts(self, url: str) -> bool:
        """As far as can be told without a name server."""
        try:
            parsed = httpx.URL(url)
            self._outgoing.check(parsed)
        except (httpx.InvalidURL, ValueError, Refused):
            return False
        return self._may_be_public(parsed.host)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer.

        Raises:
            Refused: nothing is ever posted there.
            Unreachable: no answer within the deadline.
        """
        try:
            async with asyncio.timeout(self._limits.total_s):
                async with self._outgoing.answer("POST", httpx.URL(url), headers, body) as response:
                    return response.status_code
        except (NameNotFound, TimeoutError, httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Unreachable(type(error).__name__) from error

    def _may_be_public(self, host: str) -> bool:
        try:
            return self._address_rule(ip_address(host))
        except ValueError:  # a name
            return True
