"""A static page with a grid of clips whose frames carry their number, to be read back from the pixels on show."""

import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from wan_core import encoding
from wan_core.geometry import Size
from wan_core.ui.explore import assets

BITS, BLOCK = 8, 16
SIZE = Size(BITS * BLOCK + 64, 112)
ACTIONS = {"settings": "Settings", "promote": "Promote", "star": "Star", "hide": "Hide", "download": "Download",
           "use-frame": "Use this frame", "link": "Copy link"}  # fmt: skip
THEME = Path(assets.HERE / "export.html").read_text("utf-8").split("<style>")[1].split("</style>")[0]

READ_FRAMES = """videos => {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width: 8, height: 1});
  const paper = canvas.getContext('2d', {willReadFrequently: true});
  return videos.map(video => {
    const scale = video.videoWidth / 192;
    for (let bit = 0; bit < 8; bit++) {
      const [left, side] = [(16 * bit + 4) * scale, 8 * scale];
      paper.drawImage(video, left, side / 2, side, side, bit, 0, 1, 1);
    }
    const pixels = paper.getImageData(0, 0, 8, 1).data;
    let number = 0;
    for (let bit = 0; bit < 8; bit++) number += (pixels[4 * bit] > 127) << bit;
    return number;
  });
}"""
"""JavaScript: the numbers of the frames on show."""


def counted_clip(path: Path, frames: int, fps: int, tint: Sequence[int] = (70, 90, 160), speed: float = 2) -> Path:
    """`frames` frames; the upper edge tells the number in eight blocks, a bar moves by `speed` pixels a frame."""
    drawn = (_frame(number, tint, speed) for number in range(frames))
    encoding.encode(drawn, path, size=SIZE, fps=fps, quality="high", write_mode="fast")
    return path


def _frame(number: int, tint: Sequence[int], speed: float) -> np.ndarray:
    frame = np.empty((SIZE.height, SIZE.width, 3), np.uint8)
    frame[:] = np.linspace(0.4, 1, SIZE.height)[:, None, None] * np.array(tint)
    left = round(number * speed) % (SIZE.width - 12)
    frame[40:100, left : left + 12] = 240
    for bit in range(BITS):
        frame[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    frame[:BLOCK, BITS * BLOCK :] = 0
    return frame


def cell(job: str, place: tuple[int, int, int], **data: object) -> str:
    """One cell as the app writes it."""
    facts = {"job": job, "column": place[0], "row": place[1], "page": place[2], "state": "done", "label": job} | data
    status = facts.pop("status", "")
    attributes = " ".join(f'data-{name.replace("_", "-")}="{_plain(value)}"' for name, value in facts.items())
    buttons = "".join(f'<button type="button" data-action="{name}">{word}</button>' for name, word in ACTIONS.items())
    return (
        f'<figure class="cell" {attributes}><video muted playsinline preload="none"></video>'
        f"<figcaption>{escape(str(facts['label']))}</figcaption>"
        f'<p class="status">{status}</p><div class="actions">{buttons}</div></figure>'
    )


def grid(cells: Sequence[str], **data: object) -> str:
    attributes = " ".join(f'data-{name.replace("_", "-")}="{_plain(value)}"' for name, value in data.items())
    return f'<section class="explore-grid" data-sweep="sweep" {attributes}>{"".join(cells)}</section>'


def write_page(folder: Path, body: str, name: str = "index.html", more: Callable[[], str] = str) -> Path:
    """A page with the app's styles and scripts, on the theme of the exported page."""
    page = folder / name
    root = (assets.HERE.parent / "root.js").read_text("utf-8")
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>Grid</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{THEME}{assets.styles()}</style><body>{body}<script>{root}{assets.scripts()}</script>{more()}</body></html>",
        "utf-8",
    )
    return page


def _plain(value: object) -> str:
    return escape(value if isinstance(value, str) else json.dumps(value), quote=True)
