"""The status of Gradio's direct calls: it answers 500 to every fault, also to what its caller can mend."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.errors import UNEXPECTED

CALLS = ("/gradio_api/run/", "/gradio_api/api/")


class CallerFaults:
    """Makes the 500 of a direct call a 422, unless it tells of something unforeseen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(CALLS):
            return await self._app(scope, receive, send)
        held: list[Message] = []

        async def send_judged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 500:
                held.append(message)
                return
            while held:
                start = held.pop()
                mendable = UNEXPECTED.encode() not in message.get("body", b"")
                await send({**start, "status": 422 if mendable else 500})
            await send(message)

        await self._app(scope, receive, send_judged)
