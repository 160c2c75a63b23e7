"""What happens to every request before a route sees it: one spelling of its path, a cap on its body, no relaying.

Plain ASGI, so that streams stay streams. The page's own requests pass through untouched but for the cap.
"""

import asyncio
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.api.addressing import PREFIXES, parse_target
from wan_core.api.refusals import http_refusal, refusal_response, too_large
from wan_core.settings import Limits

RELAYS = ("/gradio_api/file=", "/gradio_api/file/")
PAGE_UPLOADS = "/gradio_api/upload"  # Gradio caps these itself, file by file
DRAINED = 4  # times the cap: a body that is a little too large is read on, or its sender would not hear the answer
DRAIN_DEADLINE_S = 60
UNKNOWN_TARGET = "x-fal-target-url must name fal.run, queue.fal.run, rest.fal.ai or v3.fal.media."


class Dispatch:
    """Rewrites the path to the one that is meant; every answer of ours carries a request id that browsers may read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            target = parse_target(scope["path"], Headers(scope=scope))
        except ValueError:
            refusal = http_refusal(
                400, "x-fal-target-url must name fal.run, queue.fal.run, rest.fal.ai or v3.fal.media."
            )
            return await refusal_response(refusal)(scope, receive, _with_request_id(send))
        if not target.path.startswith(PREFIXES):
            return await self._app(scope, receive, send)
        scope = {**scope, "path": target.path}
        if target.query is not None:
            scope["query_string"] = target.query.encode("latin-1")
        await self._app(scope, receive, _with_request_id(send))


class NoRelay:
    """Refuses to fetch a stranger's address: Gradio would, for everybody, and hand over what it got."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(RELAYS) and ":/" in scope["path"]:
            refusal = http_refusal(403, "This server hands out no files of other servers.", "forbidden")
            return await refusal_response(refusal)(scope, receive, send)
        await self._app(scope, receive, send)


class BodyCaps:
    """Answers 413 to a body over the cap of its path, whatever the app behind would have made of it."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cap = self._cap(scope)
        if cap is None:
            return await self._app(scope, receive, send)
        body = CappedBody(scope, receive, send, cap)
        if body.declared > cap:
            return await body.refuse()
        await body.passed_to(self._app)

    def _cap(self, scope: Scope) -> int | None:
        if scope["type"] != "http" or scope["path"].startswith(PAGE_UPLOADS):
            return None
        if scope["path"].startswith("/cdn/"):
            return self._limits.max_upload_bytes
        if scope["path"].startswith(("/rest/", "/jobs/", "/files/", "/api/")):
            return self._limits.max_other_body_bytes
        return self._limits.max_body_bytes


class CappedBody:
    """One request's body, counted as it comes in. Once it is refused, the app behind is heard no more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, cap: int) -> None:
        self._scope, self._receive, self._send, self._cap = scope, receive, send, cap
        self._seen = 0
        self._ended = self._answered = self._refused = False
        length = Headers(scope=scope).get("content-length", "")
        self.declared = int(length) if length.isdecimal() and len(length) < 20 else 0

    async def passed_to(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if not self._refused:  # an app whose body broke off may complain; its visitor has the answer already
                raise

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        message = await self._next()
        if self._seen <= self._cap:
            return message
        await self.refuse()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._answered = True
        if not self._refused:
            await self._send(message)

    async def refuse(self) -> None:
        self._refused = True
        if not self._answered:
            await self._drain()
            await refusal_response(too_large(self._cap))(self._scope, self._receive, self._send)

    async def _drain(self) -> None:
        most = self._cap * DRAINED
        if self.declared > most:
            return
        try:
            async with asyncio.timeout(DRAIN_DEADLINE_S):
                while not self._ended and self._seen <= most:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self._ended = not message.get("more_body")
        return message


def _with_request_id(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-expose-headers"] = "x-fal-request-id"
            if "x-fal-request-id" not in headers:
                headers["x-fal-request-id"] = str(uuid.uuid4())
        await send(message)

    return sending
