"""What happens to every request before a route sees it: one spelling of its path, and no relaying.

Plain ASGI, so that streams stay streams. The page's own requests pass through untouched.
"""

import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.api.addressing import PREFIXES, parse_target
from wan_core.api.refusals import http_refusal, refusal_response

RELAYS = ("/gradio_api/file=", "/gradio_api/file/")
UNUSED = (
    "/gradio_api/process_recording",
    "/gradio_api/component_server",
    "/gradio_api/deep_link",
    "/gradio_api/vibe-",
)
EXPOSED = ", ".join(
    (
        "x-fal-request-id",
        "x-fal-error-type",
        "x-fal-request-timeout-type",
        "x-fal-retryable",
        "x-fal-needs-retry",
        "x-fal-queue-position",
        "retry-after",
        "etag",
        "content-range",
        "accept-ranges",
    )
)
"""What scripts of other origins may read: fal's client decides by these whether to send a request again."""
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
            refusal = http_refusal(400, UNKNOWN_TARGET)
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


class NoUnusedRoutes:
    """Refuses what Gradio offers and the page has no use for: one of these routes starts ffmpeg, one writes files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(UNUSED):
            refusal = http_refusal(404, "This server does not offer that.", "path_not_found")
            return await refusal_response(refusal)(scope, receive, send)
        await self._app(scope, receive, send)


def _with_request_id(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-expose-headers"] = EXPOSED
            if "x-fal-request-id" not in headers:
                headers["x-fal-request-id"] = str(uuid.uuid4())
        await send(message)

    return sending
