"""Measure seconds from `python app.py` to a page that answers, and from there to the first example's clip.

Run: python -m benchmarks.startup
"""

import base64
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import httpx

from tests.support.app import App, outcome_of, running_app
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import presets
from wan_core.ui.examples import EXAMPLES


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as app:
        print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
        print(f"page ready: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        first_example(app)
        print(f"first example's clip: {time.monotonic() - began:.1f} s more")


def first_example(app: App) -> None:
    example = EXAMPLES[0]
    assert example.path is not None
    picture = "data:image/jpeg;base64," + base64.b64encode(example.path.read_bytes()).decode()
    values = presets()[example.preset].values
    answer = httpx.post(
        f"{app.home}/queue/{IMAGE_TO_VIDEO.id}",
        json=values | {"image_url": picture, "prompt": example.prompt},
        timeout=60,
    )
    done = outcome_of(answer.json()["status_url"])
    assert "error" not in done, done


if __name__ == "__main__":
    main()
