"""fal on loopback: queue, upload store and clips behind one port.

Counts submissions (POSTs received) and charges (jobs accepted). `then` queues replies for a place (`submit`, `status`,
`result`, `cancel`, `initiate`, `store`, `clip`); `always` sets a permanent one.
"""

import json
import socket
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

from wan_core.backends.fal import Hosts, Timeouts
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.intake import Fetcher, FetchLimits

APP = "fal-ai/wan"
HASTE = Timeouts(poll_s=0.01, answer_s=5, send_s=5, silence_s=0.1, longest_pause_s=0.02)

Reply = Callable[["Call"], None]


class FaultyFal:
    """`life`: answers to successive status polls; the last repeats."""

    def __init__(self, port: int, clip: bytes) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.hosts = Hosts(f"{self.base}/queue", f"{self.base}/rest", ("127.0.0.1",))
        self.port = port
        self.clip = clip
        self.life: Sequence[dict[str, Any]] = (in_queue(2), in_progress("sampling"), completed("sampling", "done"))
        self.submissions = self.charges = self.cancels = self.polls = 0
        self.arguments: dict[str, Any] = {}
        self.stored = b""
        self.keys: dict[str, str | None] = {}
        self.output: dict[str, Any] = {"video": {"url": f"{self.base}/clip.mp4"}, "prompt": "as used", "seed": 7}
        self._next: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._always: dict[str, Reply] = {}

    def fetcher(self) -> Fetcher:
        """Treat 127.0.0.1 as public."""
        limits = FetchLimits(total_s=5, ports=frozenset({self.port}))
        return Fetcher(lambda address: address == ip_address("127.0.0.1"), limits=limits, hosts=self.hosts.media)

    def then(self, place: str, *replies: Reply) -> None:
        self._next[place].extend(replies)

    def always(self, place: str, reply: Reply) -> None:
        self._always[place] = reply

    def charge(self, call: "Call") -> None:
        """Accept without answering."""
        self.take()

    def take(self) -> dict[str, Any]:
        """From here on the job is charged."""
        self.charges += 1
        request_id = str(uuid.uuid4())
        url = f"{self.hosts.queue}/{APP}/requests/{request_id}"
        urls = {"response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}
        return {"status": "IN_QUEUE", "request_id": request_id, "queue_position": 2, **urls}

    def answer(self, call: "Call") -> None:
        place = call.place
        self.keys[place] = call.headers.get("Authorization")
        if place == "submit":
            self.submissions += 1
            self.arguments = json.loads(call.body)
        elif place == "cancel":
            self.cancels += 1
        waiting = self._next[place]
        reply = waiting.popleft() if waiting else self._always.get(place, getattr(self, f"_{place}"))
        reply(call)

    def _submit(self, call: "Call") -> None:
        call.send(200, self.take())

    def _status(self, call: "Call") -> None:
        now = self.life[min(self.polls, len(self.life) - 1)]
        self.polls += 1
        call.send(200 if now["status"] == "COMPLETED" else 202, now)

    def _result(self, call: "Call") -> None:
        call.send(200, self.output)

    def _cancel(self, call: "Call") -> None:
        call.send(202, {"status": "CANCELLATION_REQUESTED"})

    def _initiate(self, call: "Call") -> None:
        call.send(200, {"upload_url": f"{self.base}/store/picture", "file_url": f"{self.base}/picture"})

    def _store(self, call: "Call") -> None:
        self.stored = call.body
        call.send(200, b"")

    def _clip(self, call: "Call") -> None:
        call.send(200, self.clip)

    def _unknown(self, call: "Call") -> None:
        call.send(404, {"detail": "Path not found"})


def in_queue(position: int) -> dict[str, Any]:
    return {"status": "IN_QUEUE", "queue_position": position, "logs": None}


def in_progress(*lines: str) -> dict[str, Any]:
    return {"status": "IN_PROGRESS", "logs": log_entries(lines)}


def completed(*lines: str, **more: Any) -> dict[str, Any]:
    return {"status": "COMPLETED", "logs": log_entries(lines), "metrics": {"inference_time": 1.5}, **more}


def log_entries(lines: Sequence[str]) -> list[dict[str, str]]:
    time = "2026-01-01T00:00:00Z"
    return [{"message": line, "level": "INFO", "source": "USER", "timestamp": time} for line in lines]


def says(status: int, body: object, **headers: str) -> Reply:
    """Send `body`: bytes as they are, else as JSON."""
    return lambda call: call.send(status, body, **headers)


def cut(call: "Call") -> None:
    call.cut()


def cut_short(call: "Call") -> None:
    """Drop the connection mid-answer."""
    call.send(200, b'{"status": ', length=1000)
    call.cut()


def nginx(status: int) -> Reply:
    """Answer as fal's front end does when fal is down; `fal_client` alone would retry."""
    page = f"<html><body><h1>{status} Bad Gateway</h1><center>nginx</center></body></html>"
    return says(status, page.encode(), content_type="text/html")


def held(until: threading.Event, reply: Reply) -> Reply:
    def wait(call: "Call") -> None:
        until.wait(20)
        reply(call)

    return wait


def both(*replies: Reply) -> Reply:
    def turn_order(call: "Call") -> None:
        for reply in replies:
            reply(call)

    return turn_order


class Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fal: ClassVar[FaultyFal]

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fal.answer(self)

    do_GET = do_POST = do_PUT = handle_any

    @property
    def place(self) -> str:
        path = urlsplit(self.path).path
        if self.command == "POST":
            return {f"/queue/{IMAGE_TO_VIDEO.id}": "submit", "/rest/storage/upload/initiate": "initiate"}.get(
                path, "unknown"
            )
        if path.startswith(f"/queue/{APP}/requests/"):
            last = path.rsplit("/", 1)[-1]
            return last if last in ("status", "cancel") else "result"
        return {"/store/picture": "store", "/clip.mp4": "clip"}.get(path, "unknown")

    def send(self, status: int, body: object, length: int | None = None, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def faulty_fal(clip: bytes) -> Iterator[FaultyFal]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneCall", (Call,), {}))
    server.daemon_threads = True
    server.block_on_close = False
    fal = FaultyFal(server.server_port, clip)
    server.RequestHandlerClass.fal = fal  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fal
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
