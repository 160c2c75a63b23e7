"""What one hostile body costs everybody else: how long another visitor waits, and how far the process grows.

    python -m benchmarks.bodies [--only NAME]

Each case is sent to `python app.py` by a raw socket while another visitor asks for a small page as fast as it is
answered. Printed: the status of the hostile request, the longest wait of the other visitor, and the growth of the
process at its peak. Aims: at most 100 ms more than before, at most 50 MB.
"""

import argparse
import base64
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.intake.pictures import flat_png
from tests.support.app import App, running_app
from wan_core.endpoints import IMAGE_TO_VIDEO

SMALL_PAGE = "/robots.txt"
SIZE = 34_000_000
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Case:
    """A body, made when it is needed, and where it goes; `copies` of it at once."""

    path: str
    body: Callable[[], bytes]
    content_type: str = JSON
    copies: int = 1


def keys_of_an_object() -> bytes:
    return b"{" + b",".join(b'"k%07d":0' % number for number in range(SIZE // 13)) + b"}"


def empty_objects() -> bytes:
    return b'{"session_hash":"a","fn_index":0,"data":[' + b",".join([b"{}"] * (SIZE // 3)) + b"]}"


def just_few_enough_objects() -> bytes:
    return b'{"session_hash":"a","fn_index":0,"data":[' + b",".join([b"{}"] * 9_990) + b"]}"


def zeros() -> bytes:
    return b'{"data":[' + b"0," * (SIZE // 2) + b"0]}"


def data_uri(escape: bytes = b"") -> bytes:
    """A submission with a picture of 25 MB as a data URI; `escape` fills the picture instead of base64."""
    filling = escape * (SIZE // len(escape) - 100) if escape else b"A" * (25_000_000 // 3 * 4)
    return b'{"prompt":"a","image_url":"data:image/png;base64,' + filling + b'"}'


def long_address() -> bytes:
    return json.dumps({"prompt": "a", "image_url": "http://example.com/" + "a" * SIZE}).encode()


def forty_megapixels() -> bytes:
    """A submission with a picture of few bytes and many pixels."""
    picture = base64.b64encode(flat_png(8000, 5000)).decode()
    return json.dumps({"prompt": "a", "num_frames": 17, "image_url": f"data:image/png;base64,{picture}"}).encode()


def form_of(part: bytes) -> bytes:
    return part * (25_000_000 // len(part)) + b"--x--\r\n"


def one_file() -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return head + bytes(24_900_000) + b"\r\n--x--\r\n"


SUBMIT = f"/queue/{IMAGE_TO_VIDEO.id}"
FIELD = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
CASES = {
    "join, 34 MB of keys": Case("/gradio_api/queue/join", keys_of_an_object),
    "join, 34 MB of objects": Case("/gradio_api/queue/join", empty_objects),
    "join, four times 34 MB of objects": Case("/gradio_api/queue/join", empty_objects, copies=4),
    "join, forty times 9,990 objects": Case("/gradio_api/queue/join", just_few_enough_objects, copies=40),
    "run, 34 MB of zeros": Case("/gradio_api/run/image_to_video", zeros),
    "call, 34 MB of zeros": Case("/gradio_api/call/image_to_video", zeros),
    "MCP, 34 MB of objects": Case("/gradio_api/mcp/", empty_objects),
    "login, 34 MB": Case("/login", zeros, "application/x-www-form-urlencoded"),
    "upload, a picture of 25 MB": Case("/gradio_api/upload", one_file, FORM),
    "upload, 25 MB of fields": Case("/gradio_api/upload", lambda: form_of(FIELD), FORM),
    "upload, 25 MB of newlines": Case("/gradio_api/upload", lambda: b"--x\r\n" + b"\r\n" * 12_000_000, FORM),
    "submit, a data URI of 25 MB": Case(SUBMIT, data_uri),
    "submit, four data URIs of 25 MB": Case(SUBMIT, data_uri, copies=4),
    "submit, thirty pictures of 40 MP": Case(SUBMIT, forty_megapixels, copies=30),
    "submit, 34 MB of escapes": Case(SUBMIT, lambda: data_uri(rb"\u0041")),
    "submit, 34 MB of zeros": Case(SUBMIT, zeros),
    "submit, an address of 34 MB": Case(SUBMIT, long_address),
}


def send(home: str, case: Case, body: bytes) -> str:
    """The status line that the hostile request got, or what happened instead."""
    parts = urlsplit(home)
    assert parts.hostname and parts.port
    head = f"POST {case.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {case.content_type}\r\n"
    head += f"Content-Length: {len(body)}\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=300) as line:
        try:
            line.sendall(head.encode())
            line.sendall(body)
        except OSError:
            pass  # an answer may have come before the body was sent
        try:
            return line.recv(65536).partition(b"\r\n")[0].decode()
        except OSError as error:
            return type(error).__name__


def longest_wait(home: str, until: threading.Event) -> float:
    """The longest time that an answer took until then, in seconds."""
    longest = 0.0
    with httpx.Client(base_url=home, timeout=300) as http:
        while not until.is_set():
            began = time.monotonic()
            http.get(SMALL_PAGE)
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.002)
    return longest


def resident_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def measure(app: App, name: str, case: Case) -> None:
    body, over = case.body(), threading.Event()
    Path(f"/proc/{app.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before = resident_mb(app.process.pid)
    with ThreadPoolExecutor() as pool:
        quiet, usual = threading.Event(), None
        usual = pool.submit(longest_wait, app.home, quiet)
        time.sleep(0.5)
        quiet.set()
        waiting = pool.submit(longest_wait, app.home, over)
        time.sleep(0.1)
        statuses = list(pool.map(lambda _: send(app.home, case, body), range(case.copies)))
        time.sleep(0.3)
        over.set()
    more = waiting.result() - usual.result()
    grown = peak_mb(app.process.pid) - before
    print(f"{name:36} {statuses[0]:40} others wait {more * 1000:6.0f} ms more · +{grown:5.0f} MB", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parsed()
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder), GRADIO_TEMP_DIR=folder + "/gradio") as app:
        for name, case in CASES.items():
            if asked.only in name:
                measure(app, name, case)
