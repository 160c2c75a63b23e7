"""A route's handlers as one ASGI app that always answers: in fal's shapes, and never with a traceback.

An exception that left the app would make the server cut the connection, and the next request of a pooled client fail.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wan_core.api.refusals import Refusal, error_response, http_refusal, refusal_response, unexpected_response
from wan_core.endpoints import ENDPOINTS
from wan_core.errors import WanError, storage_error

log = logging.getLogger(__name__)

SIBLING = re.compile(r"/(?:run|queue)/(fal-ai/[\w./-]{1,200})", re.ASCII)
NO_STREAM = "{endpoint} has no {what}: submit it to the queue and follow its status, or its status as a stream."

Handler = Callable[[Request], Awaitable[Response]]


class MethodHandlers:
    """`handlers` by method; others get 405."""

    def __init__(self, **handlers: Handler) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._handler(request.method)(request)
        except Refusal as refusal:
            return refusal_response(refusal)
        except WanError as error:
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:  # the last line of defence: the visitor gets a sentence, the log the rest
            log.exception("%s %.200r failed", request.method, request.url.path)
            full = storage_error(error)
            return error_response(full) if full else unexpected_response()

    def _handler(self, method: str) -> Handler:
        handler = self._handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise http_refusal(405, "Method Not Allowed", allow=", ".join(self._handlers))
        return handler


class NotFound(MethodHandlers):
    """The answer to every path that is nothing."""

    def __init__(self) -> None:
        super().__init__()

    def _handler(self, method: str) -> Handler:
        return _refuse


async def _refuse(request: Request) -> NoReturn:
    if (asked := SIBLING.fullmatch(request.url.path)) is not None:
        raise http_refusal(404, _explain(asked[1]), "path_not_found")
    raise http_refusal(404, f"Path {request.url.path[:200]} not found", "path_not_found")


def _explain(asked: str) -> str:
    """What there is instead of the endpoint `asked`."""
    for endpoint in ENDPOINTS:
        for what in ("stream", "realtime"):
            if asked == f"{endpoint}/{what}":
                return NO_STREAM.format(endpoint=endpoint, what=what)
    return f"This server has {' and '.join(ENDPOINTS)}, and no {asked}."
