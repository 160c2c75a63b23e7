"""How long a sender of 1 kB/s holds a route: 25 at once on each, against `python app.py`.

    python -m benchmarks.drips

Printed for each route: how many got an answer, which, and after how many seconds the last one was let go. Aim: at the
deadline of its body (`Limits.body_deadline_s` for pictures, `small_body_deadline_s` for all else).
"""

import socket
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.app import running_app
from wan_core.endpoints import IMAGE_TO_VIDEO

SENDERS = 25
PART = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
PATIENCE_S = 345
PAGE_EVENT = "/gradio_api/queue/join"
ROUTES = {
    PAGE_EVENT: "application/json",
    "/gradio_api/upload": "multipart/form-data; boundary=x",
    f"/queue/{IMAGE_TO_VIDEO.id}": "application/json",
}


def drip(home: str, path: str) -> tuple[str, float]:
    """The status line that ended it, or `held`, and after how many seconds."""
    parts, began = urlsplit(home), time.monotonic()
    assert parts.hostname and parts.port
    length = 600_000 if path != PAGE_EVENT else 250_000  # else it would be refused at once
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {ROUTES[path]}\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=1) as line:
        line.sendall(f"{head}Content-Length: {length}\r\n\r\n{PART}".encode())
        while time.monotonic() - began < PATIENCE_S:
            try:
                answer = line.recv(4096)
            except TimeoutError:
                line.sendall(bytes(1000))
            else:
                return answer.partition(b"\r\n")[0].decode() or "closed", time.monotonic() - began
    return "held", time.monotonic() - began


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder), GRADIO_TEMP_DIR=folder + "/gradio") as app:
        with ThreadPoolExecutor(len(ROUTES) * SENDERS) as pool:
            ended = {path: [pool.submit(partial(drip, app.home, path)) for _ in range(SENDERS)] for path in ROUTES}
            for path, results in ended.items():
                found = [result.result() for result in results]
                longest = max(seconds for _, seconds in found)
                print(f"{path}: {dict(Counter(word for word, _ in found))}, the last after {longest:.0f} s", flush=True)
