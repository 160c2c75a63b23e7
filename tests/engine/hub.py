"""A Hugging Face Hub on loopback: one repository at one revision out of a folder, as the hub's client asks for it.

It can be told to lose files after a number of bytes. Only what `snapshot_download` uses is there.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `folder` as `repo`. `asked` lists the files that were downloaded; `breaks` cuts off every shard."""

    daemon_threads = True

    def __init__(self, folder: Path, repo: str) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.repo = folder, repo
        self.asked: list[str] = []
        self.breaks = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def tree(self) -> list[dict[str, Any]]:
        return [self._entry(path) for path in sorted(self.folder.rglob("*")) if path.is_file()]

    def _entry(self, path: Path) -> dict[str, Any]:
        content = path.read_bytes()
        entry: dict[str, Any] = {"type": "file", "path": str(path.relative_to(self.folder)), "size": len(content)}
        entry["oid"] = hashlib.sha1(content).hexdigest()
        if path.suffix == ".safetensors":
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return entry


class Answers(BaseHTTPRequestHandler):
    """The four requests of a download: the revision, its tree, a file's head and its body."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        hub = self.server
        if path.startswith(f"api/models/{hub.repo}/tree/") and path.endswith(REVISION):
            self._json(200, hub.tree())
        elif path in (f"api/models/{hub.repo}", f"api/models/{hub.repo}/revision/main"):
            self._json(200, {"id": hub.repo, "sha": REVISION, "siblings": []})
        elif path.startswith(f"{hub.repo}/resolve/{REVISION}/"):
            self._file(hub.folder / path.split(f"{REVISION}/", 1)[1], body)
        elif path.startswith(f"api/models/{hub.repo}/"):
            self._json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _file(self, path: Path, body: bool) -> None:
        content = path.read_bytes()
        self.send_response(200)
        for name, value in {
            "X-Repo-Commit": REVISION,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Content-Length": str(len(content)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.server.breaks and path.suffix == ".safetensors":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif body:
            self.server.asked.append(path.name)
            self.wfile.write(content)

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
        """Says nothing."""


@contextmanager
def serving(folder: Path, repo: str) -> Iterator[Hub]:
    hub = Hub(folder, repo)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
