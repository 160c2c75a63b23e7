"""Room on the disk for what the page uploads: Gradio's own route takes anybody's files as long as the disk has room."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wan_core.api.body_guard import PAGE_UPLOAD
from wan_core.api.upload_room import UploadRoom
from wan_core.errors import BackendError
from wan_core.jobs.limits import client_of
from wan_core.settings import Settings


class PageUploads:
    """Refuses an upload before it is read when the disk or its visitor's share has no room: 503, as a plain sentence.

    The page shows the body of that answer as it is.
    """

    def __init__(self, app: ASGIApp, room: UploadRoom, settings: Settings) -> None:
        self._app, self._room, self._settings = app, room, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PAGE_UPLOAD or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        headers, peer = Headers(scope=scope), scope.get("client")
        client = client_of(headers, peer[0] if peer else None, self._settings)
        length = headers.get("content-length", "")
        size = int(length) if length.isdecimal() and len(length) < 20 else self._settings.limits.max_upload_bytes
        try:
            async with self._room.hold(size, client.id):
                await self._app(scope, receive, send)
        except BackendError as error:
            after = {"retry-after": str(error.retry_after_s)}
            await PlainTextResponse(error.message, 503, after)(scope, receive, send)
