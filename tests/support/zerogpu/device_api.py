"""A loopback stand-in for the ZeroGPU device API that `spaces` calls.

`POST /_ctl {"mode": …}` sets the mode: ok, quota (lends for at most `left` seconds), quota-exceeded, illegal-duration,
queue-ok, queue-fail or 503. `GET /_log` lists the requests.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

STATE: dict[str, Any] = {"mode": "ok", "left": 30, "wait": 600, "queue_s": 0.5}
LOG: list[dict[str, Any]] = []


def not_in_bad_fork() -> bool:
    return False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._send(200, json.dumps(LOG).encode() if self.path == "/_log" else b"0")

    def do_POST(self) -> None:
        asked = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if asked.path == "/_ctl":
            STATE.update(json.loads(body))
            return self._send(200, b"{}")
        LOG.append({"path": asked.path, "query": query})
        return self._schedule(query) if asked.path == "/schedule" else self._send(200, b"{}")

    def _schedule(self, query: dict[str, str]) -> None:
        lent = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-fake", "allowToken": f"allow-{len(LOG)}"}
        mode = STATE["mode"]
        if mode == "quota":
            mode = "ok" if float(query["durationSeconds"]) <= STATE["left"] else "quota-exceeded"
        if mode == "ok":
            return self._send(200, json.dumps(lent).encode())
        if mode in ("quota-exceeded", "illegal-duration"):
            wait = -1 if mode == "illegal-duration" else STATE["wait"]
            refusal = json.dumps({"left": STATE["left"], "wait": wait}).encode()
            return self._send(429, refusal, {"X-Approve-Result": mode})
        if mode in ("queue-ok", "queue-fail"):
            return self._queue(lent if mode == "queue-ok" else None)
        return self._send(int(mode))

    def _queue(self, lent: dict[str, Any] | None) -> None:
        self.send_response(200)
        self.send_header("X-Queuing-Reason", "node")
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        end = time.monotonic() + STATE["queue_s"]
        while time.monotonic() < end:
            self.wfile.write(b"event: ping\n\n")
            self.wfile.flush()
            time.sleep(0.1)
        verdict = b"event: failed\n\n" if lent is None else f"event: succeeded\ndata: {json.dumps(lent)}\n\n".encode()
        self.wfile.write(verdict)
        self.close_connection = True

    def _send(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def start() -> int:
    """Serve in a thread; return the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
