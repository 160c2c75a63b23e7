"""A Hugging Face Hub on loopback that serves one repository at one revision from a folder."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`asked`: files downloaded; `questions`: listings requested.

    `breaks` cuts off every shard; `stalls` sends half of each file, the rest once `over` is set.
    """

    daemon_threads = True

    def __init__(self, folder: Path, repo: str, revision: str = REVISION) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.repo, self.revision = folder, repo, revision
        self.asked: list[str] = []
        self.questions = 0
        self.breaks = self.stalls = False
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def tree(self) -> list[dict[str, Any]]:
        return [self._entry(path) for path in sorted(self.folder.rglob("*")) if path.is_file()]

    def siblings(self) -> list[dict[str, Any]]:
        return [{"rfilename": entry["path"], "size": entry["size"]} for entry in self.tree()]

    def _entry(self, path: Path) -> dict[str, Any]:
        content = path.read_bytes()
        entry: dict[str, Any] = {"type": "file", "path": str(path.relative_to(self.folder)), "size": len(content)}
        entry["oid"] = hashlib.sha1(content).hexdigest()
        if path.suffix == ".safetensors":
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return entry


class Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        hub = self.server
        model = f"api/models/{hub.repo}"
        if path == f"{model}/tree/{hub.revision}":
            self._json(200, hub.tree())
        elif path in (model, f"{model}/revision/main", f"{model}/revision/{hub.revision}"):
            hub.questions += 1
            self._json(200, {"id": hub.repo, "sha": hub.revision, "siblings": hub.siblings()})
        elif path.startswith(f"{hub.repo}/resolve/{hub.revision}/"):
            self._file(path.split(f"{hub.revision}/", 1)[1], body)
        elif path.startswith(f"{model}/"):
            self._json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _file(self, name: str, body: bool) -> None:
        hub, path = self.server, self.server.folder / name
        content = path.read_bytes()
        self.send_response(200)
        for header, value in {
            "X-Repo-Commit": hub.revision,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Content-Length": str(len(content)),
        }.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            self._send(name, content)

    def _send(self, name: str, content: bytes) -> None:
        hub, half = self.server, len(content) // 2
        if hub.breaks and name.endswith(".safetensors"):
            self.wfile.write(content[:half])
            self.close_connection = True
            return
        hub.asked.append(name)
        self.wfile.write(content[:half])
        if hub.stalls:
            hub.over.wait(20)
        self.wfile.write(content[half:])

    def _json(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(text)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def serving(folder: Path, repo: str, revision: str = REVISION) -> Iterator[Hub]:
    hub = Hub(folder, repo, revision)
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        hub.shutdown()
        hub.server_close()
        thread.join()


@contextmanager
def closed_port() -> Iterator[str]:
    """Yield an address that refuses connections."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"
