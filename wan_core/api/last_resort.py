"""What holds for every answer of the port: no browser guesses its type, and no fault leaves the app as an exception.

An exception that left the app would be printed with whatever it quotes of the request, and would cut the connection.
"""

import logging

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.api.refusals import error_response, unexpected_response
from wan_core.errors import storage_error

log = logging.getLogger(__name__)


class LastResort:
    """Adds `nosniff` and turns an exception of the app behind into one log line and a sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = False

        async def send_safely(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                MutableHeaders(scope=message)["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except ClientDisconnect:
            return
        except Exception as error:
            log.exception("%s %.200r failed", scope["method"], scope["path"])
            if began:
                raise  # half an answer must not look like a whole one
            full = storage_error(error)
            answer = error_response(full) if full else unexpected_response()
            await answer(scope, receive, send_safely)
