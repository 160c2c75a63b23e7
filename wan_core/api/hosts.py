"""Which names this server answers to: one rule for the whole port, the page's routes included.

A server on loopback has no keys and no limits for each visitor, so only this machine may ask. A browser cannot lie
about `Host`: a page of a stranger whose name was pointed at 127.0.0.1 is recognised by it.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from wan_core.api.addressing import host_name, is_local, named_hosts
from wan_core.api.refusals import http_refusal, refusal_response
from wan_core.settings import Settings

FOREIGN = (
    "This server answers only to names of its own machine. If it is meant to be reached by another name, "
    "its owner sets WAN_PUBLIC_URL to that address."
)


class HostGuard:
    """Refuses requests that name a stranger's host, unless the owner has opened the server."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._only_local = settings.listens_on_loopback and not settings.is_opened
        self._public = _public_name(settings.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(Headers(scope=scope)):
            return await self._app(scope, receive, send)
        await refusal_response(http_refusal(403, FOREIGN, "forbidden"))(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        if not self._only_local or is_local(headers):
            return True
        return bool(self._public) and all(
            host_name(host) == self._public or is_local(Headers({"host": host})) for host in named_hosts(headers)
        )


def _public_name(url: str | None) -> str:
    try:
        return (urlsplit(url or "").hostname or "").lower()
    except ValueError:
        return ""
