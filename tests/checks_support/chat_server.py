"""An OpenAI-compatible chat server on loopback that can also answer in every wrong way."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass
class ChatServer:
    """`answer` decides what comes back; `released` ends every wait of a slow answer."""

    answer: Callable[["Handler"], None] = lambda handler: handler.say("ok")
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: Event = field(default_factory=Event)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    desk: ChatServer

    def do_POST(self) -> None:
        self.desk.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.desk.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.desk.paths.append(self.path)
        self.desk.answer(self)

    def say(self, content: object) -> None:
        """A completion whose only choice has this content."""
        self.reply(json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}))

    def reply(self, body: str, status: int = 200, kind: str = "application/json") -> None:
        data = body.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def wait(self) -> None:
        """Nothing at all, until the test is over."""
        self.desk.released.wait(30)
        self.close_connection = True

    def drip(self) -> None:
        """One byte every 50 ms, so that no single read ever takes long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.desk.released.wait(0.05):
            self.wfile.write(b" ")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def running() -> Iterator[ChatServer]:
    desk = ChatServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("DeskHandler", (Handler,), {"desk": desk}))
    desk.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield desk
    finally:
        desk.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
