"""Read back an mp4's frames and comment with ffmpeg alone."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from wan_core import encoding
from wan_core.frames import Frame


def decoded(path: Path) -> Iterator[Frame]:
    """Yield frames, (H, W, 3) uint8 RGB."""
    size = encoding.probe(path).size
    raw = _ffmpeg(path, "-f", "rawvideo", "-pix_fmt", "rgb24")
    yield from np.frombuffer(raw, np.uint8).reshape(-1, size.height, size.width, 3)


def comment_in(path: Path) -> str:
    """Return "" if there is none."""
    found = re.search(
        r"^comment=((?:\\.|[^\\\n])*)$", _ffmpeg(path, "-f", "ffmetadata").decode(), re.MULTILINE | re.DOTALL
    )
    return re.sub(r"\\(.)", r"\1", found.group(1), flags=re.DOTALL) if found else ""


def _ffmpeg(path: Path, *options: str) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), *options, "-"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
