"""Serve an ASGI app on a loopback socket, in a thread."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import uvicorn


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """Yield the server's address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        scheme = "https" if config.is_ssl else "http"
        try:
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def sent(home: str, path: str, body: object, headers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Post `body` as JSON, and hang up at the end of the block without waiting for the answer."""
    with closing(HTTPConnection(urlsplit(home).netloc)) as connection:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
        yield
