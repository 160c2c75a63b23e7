"""What is below every ASGI app: how long a request's headers may take, and answers that no app gives.

uvicorn waits for ever for the end of the headers. `limit_headers` corrects that by inheritance, for servers that are
configured elsewhere, as Gradio's is.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn import config

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as AutoHTTPProtocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADERS_S = 30.0
BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n"
    b"content-length: 31\r\nconnection: close\r\n\r\nThis is no valid HTTP request.\n"
)


class Connection(AutoHTTPProtocol):
    """Hangs up where no whole request came within `HEADERS_S` of the connection, or of the one before."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._keep_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._keep_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self.transport.write(BAD_REQUEST)
        self.transport.close()

    def _keep_deadline(self) -> None:
        """Run the clock exactly while a request is awaited; it is not wound up again by what drips."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_S, self._hang_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and self.transport.get_protocol() is self:
            self.transport.close()


def limit_headers() -> None:
    """Let every server of this process that is not told otherwise use `Connection`."""
    config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Connection.__name__}"
