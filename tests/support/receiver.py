"""A receiver of webhooks on loopback: it keeps what came and answers as told."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nacl.signing import VerifyKey  # not the library that signs


@dataclass(frozen=True)
class Delivered:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`statuses`: of the next answers, then 200. `location`: where its redirects lead."""

    port: int
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    delivered: list[Delivered] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=mine"

    def take(self, one: Delivered) -> int:
        with self._arrived:
            self.delivered.append(one)
            self._arrived.notify_all()
            return self.statuses.pop(0) if self.statuses else 200

    def wait_for(self, count: int) -> list[Delivered]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.delivered) >= count, timeout=60)
            return list(self.delivered)

    def wait_until(self, fits: Callable[[Delivered], bool]) -> Delivered:
        """The first that fits."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: any(map(fits, self.delivered)), timeout=60)
            return next(filter(fits, self.delivered))


@contextmanager
def receiving(*statuses: int, port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver(port, list(statuses))

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(Delivered(self.path, headers, body)))
            if receiver.location:
                self.send_header("location", receiver.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def verify(delivered: Delivered, jwks: Any) -> None:
    """As fal's documentation verifies. Raises nacl's BadSignatureError."""
    told = [delivered.headers[f"x-fal-webhook-{name}"] for name in ("request-id", "user-id", "timestamp")]
    message = "\n".join([*told, hashlib.sha256(delivered.body).hexdigest()]).encode()
    key = VerifyKey(base64.urlsafe_b64decode(jwks["keys"][0]["x"]))
    key.verify(message, bytes.fromhex(delivered.headers["x-fal-webhook-signature"]))
