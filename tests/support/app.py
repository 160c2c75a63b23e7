"""Run `python app.py` in its own process."""

import base64
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
from PIL import Image

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class App:
    """`home`: its address, no trailing slash."""

    home: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def running_app(
    data: Path, port: int | None = None, output: IO[bytes] | None = None, **variables: str
) -> Iterator[App]:
    """Yield once the page answers. What the app prints goes to `output`, else to the terminal."""
    port = port or free_port()
    own = {"GRADIO_SERVER_PORT": str(port), "WAN_DATA_DIR": str(data), "WAN_ENGINE": "miniature", "HF_HUB_OFFLINE": "1"}
    pipes = {"stdout": output, "stderr": output}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | own | variables, **pipes) as process:
        try:
            home = f"http://127.0.0.1:{port}"
            _wait_for(home, process)
            yield App(home, process)
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def data_uri(side: int = 64) -> str:
    stored = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((side, side)).save(stored, "PNG")
    return "data:image/png;base64," + base64.b64encode(stored.getvalue()).decode()


def outcome_of(status_url: str, patience_s: float = 240, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Poll until COMPLETED, through outages of the server."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            answer = httpx.get(status_url, params={"logs": "1"}, headers=headers, timeout=10)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code == 200:
            status: dict[str, Any] = answer.json()
            return status
        time.sleep(0.3)
    raise AssertionError(f"{status_url} was not completed within {patience_s:g} s")


def _wait_for(home: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            httpx.get(home, timeout=30).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the app has ended")
