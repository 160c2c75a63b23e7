"""Refuses addresses that Gradio would answer with a 500: `httpx.URL` takes at most 65,536 characters."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wan_core.ui.languages import preferred, speaking, translate

MAX_QUERY_BYTES = 60_000
SENTENCE = "This link is too long: its settings may have at most {most} characters; these have {count}."


class RefuseLongLinks:
    """Answers 414 with a sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count = len(scope.get("query_string", b""))
        if scope["type"] == "http" and count > MAX_QUERY_BYTES:
            with speaking(preferred(Headers(scope=scope).get("accept-language", ""))):
                said = translate(SENTENCE, most=f"{MAX_QUERY_BYTES:,}", count=f"{count:,}")
            return await PlainTextResponse(said, 414)(scope, receive, send)
        await self._app(scope, receive, send)
